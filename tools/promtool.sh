#!/usr/bin/env bash
# Sees to it that promtool is there, which tests the rules for alerts: prints its path. On Debian and
# Ubuntu it is unpacked out of Prometheus's package into the target folder, as that package brings a service.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
home=$target/promtool

if command -v promtool; then
    exit 0
fi
if [ ! -x "$home/usr/bin/promtool" ]; then
    if ! command -v apt-get >/dev/null; then
        echo "Missing: promtool. Install Prometheus, and put promtool on the PATH" >&2
        exit 1
    fi
    echo "Unpacking promtool into $home" >&2
    fetched=$(mktemp -d)
    trap 'rm -rf "$fetched"' EXIT
    fetch() { (cd "$fetched" && apt-get download -qq prometheus >log 2>&1); }
    # The lists may be old, or none may be there; only root can mend that.
    fetch || { [ "$(id -u)" -eq 0 ] && apt-get update -qq >"$fetched/log" 2>&1 && fetch; } || {
        cat "$fetched/log" >&2
        echo "promtool.sh: it was not fetched, see above; or install Prometheus yourself" >&2
        exit 1
    }
    mkdir -p "$target"
    rm -rf "$home.new" && mkdir "$home.new"
    dpkg-deb -x "$fetched"/prometheus_*.deb "$home.new"
    rm -rf "$home" && mv "$home.new" "$home"
fi
echo "$home/usr/bin/promtool"
