// Coming in, talking and liking in both encodings; not coming in.

import WebSocket from "ws";
import { connect } from "liveroom-client";
import { assert, given, refused, until, viewer } from "./rig.mjs";

for (const codec of ["json", "msgpack"]) {
  const ann = await viewer("ann", { codec });
  const bob = await viewer("bob", { codec });
  assert.equal(ann.state.user, "ann");
  assert.equal(ann.state.states.get("room").status, "open");
  assert.ok(Math.abs(ann.serverNow() - Date.now()) < 60_000);

  const heard = bob.once("danmaku");
  const { id } = await ann.send(`你好 👋🏽 ${codec}`, { mode: "top", color: 0xff0000 });
  const said = await heard;
  assert.deepEqual([said.id, said.text, said.mode, said.color], [id, `你好 👋🏽 ${codec}`, "top", 0xff0000]);

  const before = bob.state.states.get("likes")?.total ?? 0;
  for (let i = 0; i < 7; i++) ann.like();
  await until(bob, () => bob.state.states.get("likes")?.total === before + 7);

  assert.equal(await refused(ann.send("")), "bad_request");
  assert.equal(await refused(ann.ask("no.such")), "unknown_op");
  assert.equal(await refused(ann.ask("room.close")), "unknown_op");
  await Promise.all([ann.close(), bob.close()]);
  assert.equal(ann.state.status, "ended");
}

const late = await viewer("ann");
assert.equal(late.state.snapshot.danmaku.length, 2);
await late.close();

const wrong = { url: given.url, room: given.room, token: "x.y.z", WebSocket };
const error = await connect(wrong).catch((reason) => reason);
assert.deepEqual([error.name, error.values.close ?? error.code], ["LiveError", 4401]);
assert.equal(
  await refused(connect({ url: given.url, room: "nowhere", token: "guest:x", WebSocket })),
  "no_room",
);
