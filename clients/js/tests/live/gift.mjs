// A gift is paid once, however often the connection breaks.

import { assert, please, viewer } from "./rig.mjs";

const ann = await viewer("ann", { random: () => 0.05 });
const { balance } = await ann.wallet();
const heard = [];
ann.on("gift.sent", (d) => heard.push(d));

for (let i = 0; i < 6; i++) {
  const gift = ann.gift("rose", 1, { combo: false });
  await please("cut", { user: "ann", how: "abort" });
  assert.equal((await gift).gift, "rose");
}
const twice = { gift: "rose", n: 2, combo: false };
const first = await ann.ask("gift.send", twice, { key: "the-same" });
assert.deepEqual(await ann.ask("gift.send", twice, { key: "the-same" }), first);

const price = 100;
assert.equal((await ann.wallet()).balance, balance - 8 * price);
assert.equal(
  heard.reduce((sum, d) => sum + d.n, 0),
  8,
);
const error = await ann.gift("rose", 9999).catch((reason) => reason);
assert.deepEqual([error.code, error.again, error.values.price], ["insufficient_funds", true, 999_900]);
await ann.close();
