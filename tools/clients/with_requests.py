"""What a client with Python's requests does with a hub: `with_requests.py URL`."""

import sys
import uuid

import requests

hub = sys.argv[1]
channel = f"{hub}/channel/requests-{uuid.uuid4().hex[:8]}"

made = requests.put(channel, json={"description": "by requests", "tags": ["clients"]}, timeout=30)
assert made.status_code == 201, made.text
assert made.headers["Content-Type"] == "application/json"
assert made.json()["tags"] == ["clients"]

posted = requests.post(channel, data="one".encode(), headers={"Content-Type": "text/plain"}, timeout=30)
assert posted.status_code == 201, posted.text
item = posted.headers["Location"]
assert posted.json()["_links"]["self"]["href"] == item

# A generator makes the body chunked, and requests asks for compressed answers by itself.
large = b"all work and no play " * 100_000
chunks = (large[at:at + 65536] for at in range(0, len(large), 65536))
streamed = requests.post(channel, data=chunks, timeout=30)
assert streamed.status_code == 201, streamed.text
back = requests.get(streamed.headers["Location"], timeout=30)
assert back.content == large and back.headers["X-Item-Length"] == str(len(large))
assert back.headers.get("Content-Encoding") == "gzip", back.headers

# Redirects are followed.
latest = requests.get(f"{channel}/latest?stable=false", timeout=30)
assert latest.history[0].status_code == 303 and latest.content == large
first = requests.get(f"{channel}/earliest?stable=false", timeout=30)
assert first.text == "one" and first.url == item
assert first.links["next"]["url"] == f"{item}/next", first.links

boundary = uuid.uuid4().hex
parts = "".join(f"--{boundary}\r\nContent-Type: text/plain\r\n\r\npart {n}\r\n" for n in range(3))
kind = f'multipart/mixed; boundary="{boundary}"'
bulk = requests.post(f"{channel}/bulk", data=f"{parts}--{boundary}--", headers={"Content-Type": kind}, timeout=30)
assert bulk.status_code == 201, bulk.text
uris = bulk.json()["_links"]["uris"]
assert [requests.get(uri, timeout=30).text for uri in uris] == ["part 0", "part 1", "part 2"]
listed = requests.get(bulk.headers["Location"], timeout=30).json()["_links"]["uris"]
assert listed == uris, listed

again = {"Idempotency-Key": "requests-1"}
keys = {requests.post(channel, data="x", headers=again, timeout=30).headers["Location"] for _ in range(3)}
assert len(keys) == 1
assert requests.post(channel, data="y", headers=again, timeout=30).status_code == 422
assert requests.delete(channel, timeout=30).status_code == 202
print("requests:", requests.__version__, "is served")
