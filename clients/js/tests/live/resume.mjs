// Connections cut, workers that leave: nothing durable is missed or doubled.

import WebSocket from "ws";
import { assert, durables, please, until, viewer } from "./rig.mjs";

let open = 0;
let numbers = [];

class Counted extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("open", () => numbers.push(++open));
    this.addEventListener("close", () => numbers.push(--open));
  }
}

const ann = await viewer("ann", { random: () => 0.1, WebSocket: Counted });
const heard = durables(ann, ["gift.sent", "room.updated"]);
const start = ann.state.seq;
const greetings = [];
ann.on("sdk.reset", (greeting) => greetings.push(greeting));

const everything = async () => {
  const seq = await please("happen", { n: 5 });
  await until(ann, () => ann.state.seq >= seq);
};

await everything();
for (const how of ["restart", "abort", "slow"]) {
  await please("cut", { user: "ann", how });
  const seq = await please("happen", { n: 5 });
  await until(ann, () => ann.state.seq >= seq);
}

// A second connection, before the first is closed; events go on meanwhile.
let changes = 0;
ann.on("sdk.status", () => {
  changes += 1;
});
const session = ann.state.session;
numbers = [];
await please("move", { user: "ann" });
assert.notEqual(ann.state.session, session);
while (numbers.length < 2) await new Promise(setImmediate); // the old one's close is on its way
assert.deepEqual(numbers, [2, 1]);
assert.equal(ann.state.status, "live");
assert.equal(changes, 1); // live again, and never anything else
await everything();

assert.deepEqual(
  heard,
  Array.from(heard, (_, i) => [start + 1 + i, 0]),
);
assert.ok(heard.length >= 25);
assert.deepEqual(greetings, []);
await ann.close();
