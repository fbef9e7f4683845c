#!/usr/bin/env bash
# Fuzzes every target for FUZZ_SECONDS (60) each. Needs cargo-fuzz, and a nightly toolchain or
# RUSTC_BOOTSTRAP=1.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install --locked cargo-fuzz
fi
if [ -z "${RUSTC_BOOTSTRAP:-}" ] && ! rustup toolchain list 2>/dev/null | grep -q nightly; then
    echo "fuzzing needs a nightly toolchain: rustup toolchain install nightly" >&2
    exit 1
fi
toolchain=
[ -n "${RUSTC_BOOTSTRAP:-}" ] || toolchain=+nightly
for target in path config log index multipart forwarded accept channel object; do
    echo "== $target for $seconds s"
    # What is found goes beside the seeds that are kept; a crash is kept under fuzz/artifacts.
    mkdir -p "fuzz/found/$target"
    cargo $toolchain fuzz run "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10
done
