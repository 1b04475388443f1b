// A host runs activities, viewers take part.

import { assert, given, host, please, refused, until, viewer } from "./rig.mjs";

const boss = await host();
const ann = await viewer("ann");
const bob = await viewer("bob", { codec: "json" });

// The room.
await boss.update({ title: "Evening show" });
await until(ann, () => ann.state.states.get("room").title === "Evening show");
const seen = boss.state.versions.get("mode");
await boss.mode({ like: false }, { ifVersion: seen });
assert.equal(await refused(boss.mode({ like: true }, { ifVersion: seen })), "version_conflict");
await boss.mode({ like: true });

// A poll.
await boss.openPoll({ poll: "lunch", title: "Lunch?", options: ["Noodles", "Rice"], seconds: 60 });
await until(ann, () => ann.state.states.has("poll:lunch"));
assert.deepEqual((await ann.vote("lunch", [1])).options, [1]);
await bob.vote("lunch", [0]);
assert.equal(await refused(ann.vote("lunch", [0])), "already_done");
assert.deepEqual((await boss.closePoll("lunch")).tally, [1, 1]);

// A quiz.
await boss.openQuiz({ quiz: "q1", question: "Which?", options: ["A", "B"], correct: 1, seconds: 60 });
await until(ann, () => ann.state.states.has("quiz:q1"));
assert.equal((await ann.answer("q1", 1)).answered, true);
assert.equal((await boss.closeQuiz("q1")).right, 1);

// A flash sale with one unit.
await boss.putItem({
  item: "lip",
  title: "Lipstick",
  currency: "CNY",
  skus: [{ sku: "red", title: "Red", price: 9900, stock: 9 }],
});
await boss.pin("lip");
await boss.armFlash({ sale: "s1", sku: "red", price: 5900, total: 1 });
await until(ann, () => ann.state.states.has("stock:red"));
assert.equal(await refused(ann.reserve("red")), "too_early");
await boss.startFlash("red");
await until(bob, () => bob.state.states.get("stock:red").status === "running");
const got = await Promise.allSettled([
  ann.reserve("red", 1, { price: 5900 }),
  bob.reserve("red", 1, { price: 5900 }),
]);
const won = got.findIndex(({ status }) => status === "fulfilled");
assert.equal(got[1 - won].reason.code, "sold_out");
assert.equal((await [ann, bob][won].cancel(got[won].value.reservation)).state, "released");
await boss.stopFlash("red");

// A draw, a coupon, a red packet.
await boss.openLottery({
  lottery: "l1",
  title: "New Year",
  prizes: [{ prize: "tea", title: "Tea", n: 1 }],
  seconds: 600,
});
assert.equal((await ann.enter("l1", { nonce: "c0ffee" })).nonce, "c0ffee");
await boss.dropCoupons({
  drop: "d1",
  title: "10 off",
  quota: 1,
  kind: "amount",
  value: 100,
  min_spend: 500,
  valid_s: 600,
  stacking: "shop",
});
assert.match((await bob.claim("d1")).code, /^.{10,}$/);
assert.equal(await refused(ann.claim("d1")), "sold_out");
await ann.wallet();
await ann.ask("redpacket.send", { packet: "p1", total: 100, shares: 2, split: "equal", seconds: 60 });
assert.equal((await bob.grab("p1")).amount, 50);

// Questions, the audience.
const { question } = await ann.question("Does it come in blue?");
assert.equal((await bob.upvote(question)).votes, 1);
assert.equal((await boss.answerQuestion(question, "From May on.")).question, question);
assert.equal((await ann.follow()).following, true);
await ann.share("wechat");
await ann.click("lip");
await ann.cart("lip", "red", 2);
assert.equal((await ann.rank("likes")).board, "likes");
await boss.watchStats();
assert.ok("online" in (await boss.once("stats")));
await please("move", { user: "boss" });
assert.ok("online" in (await boss.once("stats"))); // watched again, on the next connection
await boss.notice("Back in five minutes");
await until(bob, () => bob.state.states.get("notice")?.text === "Back in five minutes");

// A second room on the same connection.
const other = await boss.joinRoom(given.other, given.tokens.hostOther);
await other.ask("room.open", { title: "Other" });
await other.ask("room.mode", { talk: "hosts" });
assert.equal(other.state.room, given.other);
assert.equal(boss.state.states.get("mode").talk, "all");

// Both rooms come back after a cut; a keyed command waits for that.
const updates = [];
other.on("room.updated", (d) => updates.push(d.title));
await please("cut", { user: "boss", how: "restart" });
await other.ask("room.update", { title: "Still other" }, { key: true });
await until(other, () => updates.length > 0 && other.state.states.get("room").title === "Still other");
assert.deepEqual(updates, ["Still other"]);
assert.equal(boss.state.states.get("mode").talk, "all");
await boss.leaveRoom(given.other);

for (const live of [boss, ann, bob]) assert.equal(live.state.junk, 0);
await boss.closeRoom();
await until(ann, () => ann.state.states.get("room").status === "closed");
assert.equal(await refused(ann.send("too late")), "room_closed");
await Promise.all([boss, ann, bob].map((live) => live.close()));
