#!/bin/sh
# Loads a month of flights into a running hub, then asks it one question of each kind and shows the
# answers. Every command that it prints can be pasted into a terminal as it is.
#
#   HUB_URL   where the hub is (http://localhost:8080)
#   HUB_BIN   the hub program (target/release/hub)
#
# Exits with 0 only if every question was answered as it should be.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
HUB_URL=${HUB_URL:-http://localhost:8080}
HUB_URL=${HUB_URL%/}
export HUB_URL
hub=${HUB_BIN:-$here/../target/release/hub}
channel=flights-UA
base=$HUB_URL/channel/$channel
lines=12

fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}

command -v curl >/dev/null || fail "curl is not installed"
[ -x "$hub" ] || fail "there is no program $hub: build it with 'cargo build --release', or set HUB_BIN"
curl -fsS -m 10 -o /dev/null "$HUB_URL/health" ||
    fail "no hub is ready at $HUB_URL: start one with 'make run', or set HUB_URL"

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
trap 'exit 130' INT TERM
asked=0
failed=0

# The answer with a list's entries a line each, and only its first lines.
show_answer() {
    sed -e 's/"uris":\["/"uris":[\
"/' -e 's/","http/",\
"http/g' "$answer" | cut -c 1-400 | awk -v most="$lines" '
        { sub(/\r$/, "") }
        NR <= most { print "    " $0 }
        END { if (NR > most) print "    ... (" NR - most " more lines)" }'
}

# query TITLE STATUS TEXT OPTIONS URL: asks, shows question and answer, and counts a failure if the
# status is another or the text is not in the answer.
query() {
    printf '\n# %s\ncurl %s %s\n' "$1" "$4" "$5"
    asked=$((asked + 1))
    : >"$answer"
    status=$(curl "$4" -m 60 -o "$answer" -w '%{http_code}' "$5") || status="no answer ($?)"
    show_answer
    if [ "$status" != "$2" ]; then
        failed=$((failed + 1))
        printf 'FAILED: status %s, not %s\n' "$status" "$2"
    elif ! grep -qF -- "$3" "$answer"; then
        failed=$((failed + 1))
        printf 'FAILED: there is no %s in the answer\n' "$3"
    fi
}

# Where the URL redirects to; nothing if it does not.
redirect() {
    curl -s -m 60 -o /dev/null -w '%{redirect_url}' "$1" || true
}

# The eight parts of the key that an item's URL ends with.
key_of() {
    printf '%s\n' "$1" | sed -n 's|^.*/\(\([0-9]\{1,\}/\)\{7\}[0-9A-Za-z]\{1,\}\)$|\1|p'
}

printf '# a month of flights, a channel for each airline\n'
printf '%s load flights %s\n' "$hub" "$here/flights-2013-01.csv.gz"
"$hub" load flights "$here/flights-2013-01.csv.gz"

# An item is stable a moment after it was stored; a hub with stable_seconds takes that long.
tries=30
until last=$(redirect "$base/latest") && [ -n "$last" ]; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || fail "$base/latest shows nothing after the load"
    sleep 1
done
first=$(redirect "$base/earliest")
key=$(key_of "$last")
first_key=$(key_of "$first")
[ -n "$key" ] && [ -n "$first_key" ] || fail "$last or $first does not end with an item's key"
second=$(printf '%s' "$key" | cut -d / -f 1-6)
minute=$(printf '%s' "$key" | cut -d / -f 1-5)
hour=$(printf '%s' "$key" | cut -d / -f 1-4)
day=$(printf '%s' "$key" | cut -d / -f 1-3)

query 'the channel' 200 '"flights"' -s "$base"
query 'its status: the latest and the earliest item' 200 "$key" -s "$base/status"
query 'where the latest item is' 303 "$key" -si "$base/latest"
query 'the latest item itself' 200 '"carrier":"UA"' -sL "$base/latest"
query 'the latest three' 200 "$key" -s "$base/latest/3"
query 'the earliest item' 200 '"carrier":"UA"' -sL "$base/earliest"
query 'the earliest three' 200 "$first_key" -s "$base/earliest/3"
query 'an item by its key, with headers' 200 '"carrier":"UA"' -si "$base/$key"
query 'the second in which the load ended' 200 "$key" -s "$base/$second"
query 'the minute' 200 "$key" -s "$base/$minute"
query 'the hour' 200 "$key" -s "$base/$hour"
query 'the day' 200 "$key" -s "$base/$day"
query 'forward: the item after the earliest' 200 '"carrier":"UA"' -sL "$base/$first_key/next"
query 'forward: the three after it' 200 '/channel/' -s "$base/$first_key/next/3"
query 'backward: the item before the latest' 200 '"carrier":"UA"' -sL "$base/$key/previous"
query 'backward: the three before it' 200 '/channel/' -s "$base/$key/previous/3"
query 'after the latest there is nothing yet' 200 '"uris"' -s "$base/$key/next/3"

if [ "$failed" -gt 0 ]; then
    fail "$failed of $asked questions were not answered as they should be"
fi
printf '\n%s questions, all answered. To watch a channel:\n%s tail %s\n' "$asked" "$hub" "$channel"
