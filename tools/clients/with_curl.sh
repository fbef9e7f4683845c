#!/usr/bin/env bash
# What a client with curl does with a hub: with_curl.sh URL
set -euo pipefail
channel=$1/channel/curl-$$
ask() { curl --silent --show-error --fail --max-time 30 "$@"; }

ask -X PUT "$channel" >/dev/null
item=$(ask "$channel" -H 'Content-Type: text/plain' -d one -o /dev/null -w '%header{location}' 2>/dev/null ||
    ask -i "$channel" -H 'Content-Type: text/plain' -d two | tr -d '\r' | sed -n 's/^location: //p')
[ -n "$item" ]
text=$(ask "$item")
[ "$text" = one ] || [ "$text" = two ]
# It follows redirects, asks for compression, and speaks HTTP/2 at once.
[ "$(ask -L --compressed "$channel/latest?stable=false")" = "$text" ]
[ "$(ask --http2-prior-knowledge "$item")" = "$text" ]
# Expect: 100-continue, which curl sends with large bodies; a form is one item.
head -c 3000000 /dev/zero >/tmp/hub-curl-$$
trap 'rm -f /tmp/hub-curl-$$' EXIT
ask -X POST "$channel" -H 'Expect: 100-continue' --data-binary @/tmp/hub-curl-$$ >/dev/null
ask "$channel" -F 'a=b' -F "file=@/tmp/hub-curl-$$" >/dev/null
ask -I "$channel/latest?stable=false" -L | tr -d '\r' | grep -qi '^x-item-length: 3000'
# Our own bulk answer is taken as a bulk insert.
kind=$(ask -o /tmp/hub-curl-$$ -w '%{content_type}' "$channel/latest/2?bulk=true&stable=false")
ask "$channel/bulk" -H "Content-Type: $kind" --data-binary @/tmp/hub-curl-$$ | grep -q 000001
ask -X DELETE "$channel"
echo "curl $(curl --version | head -n 1 | cut -d' ' -f2) is served"
