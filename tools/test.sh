#!/usr/bin/env bash
# Runs every test there is. Needs a Rust toolchain and a C compiler, and installs nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

"$cargo" fmt --all --check
# The hub itself first: the tests of cluster-tests start it as a process.
"$cargo" build --locked --package hub
"$cargo" test --locked --workspace --no-fail-fast "$@"
