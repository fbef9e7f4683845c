// What a client with fetch does with a hub: `node with_fetch.mjs URL`.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

const hub = process.argv[2];
const channel = `${hub}/channel/fetch-${randomUUID().slice(0, 8)}`;

const made = await fetch(channel, { method: "PUT" });
assert.equal(made.status, 201);
assert.equal((await made.json()).ttlDays, 120);

const posted = await fetch(channel, { method: "POST", body: JSON.stringify({ n: 1 }), headers: { "content-type": "application/json" } });
assert.equal(posted.status, 201);
const item = posted.headers.get("location");
const found = await fetch(item);
assert.equal(found.headers.get("access-control-allow-origin"), "*");
assert.deepEqual(await found.json(), { n: 1 });

// A stream is sent in chunks, and a form as what it is: one item.
const stream = new ReadableStream({
  start(out) {
    for (let n = 0; n < 100; n += 1) out.enqueue(new TextEncoder().encode(`line ${n}\n`));
    out.close();
  },
});
const streamed = await fetch(channel, { method: "POST", body: stream, duplex: "half" });
assert.equal(streamed.status, 201);
assert.match(await (await fetch(streamed.headers.get("location"))).text(), /^line 0\n[^]*line 99\n$/);

const form = new FormData();
form.set("file", new Blob(["bytes"]), "name.txt");
const sent = await fetch(channel, { method: "POST", body: form });
assert.equal(sent.status, 201);
const back = await (await fetch(sent.headers.get("location"))).formData();
assert.equal(await back.get("file").text(), "bytes");

// Redirects are followed.
const latest = await fetch(`${channel}/latest?stable=false`);
assert.ok(latest.redirected && latest.url === sent.headers.get("location"));
const list = await (await fetch(`${channel}/earliest/9?stable=false`)).json();
assert.equal(list._links.uris.length, 3);
const preflight = await fetch(channel, { method: "OPTIONS" });
assert.equal(preflight.status, 200);
assert.equal((await fetch(channel, { method: "DELETE" })).status, 202);
console.log("fetch of Node", process.version, "is served");
