#!/usr/bin/env bash
# A server that speaks S3, for tests of the archive:
#   tools/s3.sh install            sees to it that it is there, below the target folder
#   tools/s3.sh serve ADDRESS PORT runs it, until it is stopped; it keeps everything in memory
# It needs Python 3.10 or later.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?install or serve}
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")

# An environment for each list of versions, so that a new list is not mixed with an old one; moved to
# its place once it is whole.
list=tools/s3/requirements.txt
venv=$target/s3-$(cksum <"$list" | cut -d' ' -f1)
if [ ! -f "$venv/whole" ]; then
    echo "Installing moto into $venv" >&2
    mkdir -p "$target"
    # Tests that run side by side must not install it twice.
    exec 9>"$venv.lock"
    flock 9
    if [ ! -f "$venv/whole" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$list"
        touch "$venv/whole"
    fi
    exec 9>&-
fi
case $what in
install) ;;
serve) exec "$venv/bin/python" -m moto.server -H "${2:?address}" -p "${3:?port}" ;;
*)
    echo "s3.sh: $what: not one of install, serve" >&2
    exit 2
    ;;
esac
