"""Leads some of what schemathesis makes up to channels and items that are there.

The rest stays made up. Which is which follows from the values alone, so that a seed gives the same
requests again.
"""

import os
import zlib

import schemathesis

# The path of an item below /channel: its channel, and the eight parts of its key.
NAMES = ["channel", "year", "month", "day", "hour", "minute", "second", "millisecond", "hash"]
ITEM = dict(zip(NAMES, os.environ["HUB_ITEM"].split("/")))


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Puts the names of what is there in place of made-up ones."""
    if not path_parameters or context.operation.method.upper() == "DELETE":
        # There are none; or what is there is to stay there.
        return path_parameters
    lot = zlib.crc32(repr(sorted(path_parameters.items(), key=str)).encode()) % 4
    # All of it, its channel alone, or nothing.
    known = NAMES if lot < 2 else NAMES[:1] if lot == 2 else []
    found = {name: ITEM[name] for name in known if name in path_parameters}
    return {**path_parameters, **found}
