// Tokens: renewed before they end, fetched anew when the server says so.

import { assert, given, please, viewer } from "./rig.mjs";

const tokens = [given.tokens.short, given.tokens.ann, given.tokens.ann];
let asked = 0;
const ann = await viewer("ann", { token: async () => tokens[asked++], random: () => 0 });
await ann.once("sys.token");
assert.ok(asked >= 1);
await ann.wallet();
assert.equal(asked, 2);

const live = new Promise((resolve) =>
  ann.on("sdk.status", ({ status }) => {
    if (status === "live") resolve();
  }),
);
await please("cut", { user: "ann", how: "token_expired" });
await live;
assert.equal(asked, 3);
await ann.close();
