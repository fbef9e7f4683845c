#!/usr/bin/env bash
# Sends a hub what its openapi.json allows, and much that it does not, and holds the answers to it:
#   tools/openapi.sh quick HUB      some thousand requests, the same each time
#   tools/openapi.sh full HUB       tens of thousands, others each time (OPENAPI_SEED repeats some)
# Before that it lets clients of other languages use it (tools/clients).
# HUB is the program. It needs Python 3.10 or later, Node and curl; what else it needs it installs below the target
# folder, in the versions of tools/openapi/requirements.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
size=${1:?quick or full}
hub=$(realpath "${2:?the hub program}")
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$PWD/tools/openapi

case $size in
quick) phases=examples,coverage,fuzzing examples=15 seed=1 ;;
full) phases=examples,coverage,fuzzing,stateful examples=400 seed=${OPENAPI_SEED:-$RANDOM} ;;
*)
    echo "openapi.sh: $size: not one of quick, full" >&2
    exit 2
    ;;
esac

# An environment for each list of versions, so that a new list is not mixed with an old one; moved to
# its place once it is whole.
wanted=$(cksum <"$tools/requirements.txt" | cut -d' ' -f1)
venv=$target/openapi-$wanted
if [ ! -f "$venv/whole" ]; then
    echo "Installing schemathesis into $venv" >&2
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$tools/requirements.txt"
    touch "$venv/whole"
fi

folder=$(mktemp -d)
pid=
finish() {
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

ops=127.0.0.1:$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# Whoever runs this may have settings of their own for a hub.
while IFS= read -r name; do unset "$name"; done < <(compgen -e | grep '^HUB_' || true)
HUB_HTTP_LISTEN=127.0.0.1:0 HUB_OPS_LISTEN=$ops HUB_NODE_DATA_DIR=$folder/data \
    HUB_SHUTDOWN_DELAY_SECONDS=0 "$hub" serve >"$folder/log" 2>&1 &
pid=$!

say() {
    echo "openapi.sh: $1; the end of the hub's log:" >&2
    tail -n 40 "$folder/log" >&2
    exit 1
}
url=
for _ in $(seq 300); do
    kill -0 "$pid" 2>/dev/null || say "the hub ended"
    url=$(sed -n 's|.*listening listen=\([^ ]*\).*|http://\1|p' "$folder/log")
    if [ -n "$url" ] && "$venv/bin/python" - "$url/health" 2>/dev/null <<'PYTHON'; then break; fi
import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=5)
PYTHON
    sleep 0.1
done
# An item to be found, in a channel that no example names, and with a tag that none names.
HUB_ITEM=$("$venv/bin/python" - "$url" <<'PYTHON'
import sys, urllib.request
channel = sys.argv[1] + "/channel/kept"
json = {"Content-Type": "application/json"}
ask = lambda method, data: urllib.request.urlopen(urllib.request.Request(channel, data, json, method=method))
ask("PUT", b'{"tags": ["kept"]}')
print(ask("POST", b"an item").headers["Location"].partition("/channel/")[2])
PYTHON
)
export HUB_ITEM

run() {
    # It writes beside where it is run.
    (cd "$folder" && PYTHONPATH=$tools "$venv/bin/schemathesis" --config-file "$tools/schemathesis.toml" \
        run "$url/openapi.json" --phases "$phases" --max-examples "$examples" --seed "$seed" "$@")
}
failed=0
# Clients that others wrote.
"$venv/bin/python" tools/clients/with_requests.py "$url" || failed=1
node tools/clients/with_fetch.mjs "$url" || failed=1
./tools/clients/with_curl.sh "$url" || failed=1
run || failed=1
# What is only answered to operators, where they ask.
run --url "http://$ops" --include-tag Internal || failed=1

! grep -q -e panicked -e 'a request failed inside' "$folder/log" || say "something failed inside the hub"
kill -TERM "$pid"
wait "$pid" || say "the hub ended with $?"
pid=
exit "$failed"
