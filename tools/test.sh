#!/usr/bin/env bash
# Runs every test there is. Needs a Rust toolchain and a C compiler. The tests of clusters run a real
# ZooKeeper and HAProxy, and schemathesis runs on Python, which are installed on Debian and Ubuntu if
# they are not there. With arguments, which cargo is given, it runs cargo's tests alone.
set -euo pipefail
cd "$(dirname "$0")/.."
# Where Debian keeps the programs of administrators.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
cargo=${CARGO:-cargo}

./tools/need.sh zookeeper haproxy network dns python clients
./tools/s3.sh install
./tools/promtool.sh >/dev/null
"$cargo" fmt --all --check
# The hub itself first: the tests of cluster-tests start it as a process, and put it under faults.
"$cargo" build --locked --package hub --features faults
"$cargo" test --locked --workspace --features hub/faults --no-fail-fast "$@"
# The contract once more, asked of the members of a cluster.
if [ $# -eq 0 ]; then
    HUB_TEST_HUBS=3 "$cargo" test --locked --workspace --features hub/faults --no-fail-fast --test api
    # The API from outside. Last, for tests above say more of what is wrong.
    ./tools/openapi.sh quick "${CARGO_TARGET_DIR:-target}/debug/hub"
fi
