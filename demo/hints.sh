#!/bin/sh
# Says what to try against a hub that is about to start. `make run` prints it.
url=${1:-http://localhost:8080}
cat <<HINTS

  The hub starts on $url, with its data in ./data. Ctrl-C stops it.
  In another shell:

    curl -X PUT $url/channel/hello                       # a channel
    curl $url/channel/hello -d 'first item'              # an item: the answer says where it is
    curl -L $url/channel/hello/latest                    # the newest item
    curl $url/channel/hello/latest/10                    # where the newest ten are
    curl -L "$url/channel/hello/time/minute?stable=false"   # what came this minute
    make demo                                                      # a month of real flights

HINTS
