// Commands, their keys and answers; likes; further rooms.

import { expect, test } from "vitest";

import { durable, EPOCH, greeting, Rig } from "./rig.js";

test("ask: the answer, a refusal with its values, an answer of no shape", () => {
  const rig = new Rig().join();
  rig.ask("wallet.get");
  rig.reply("wallet.get", { balance: 7 });
  rig.ask("gift.send", { gift: "rose" }, { key: "k1" });
  rig.refuse("gift.send", "insufficient_funds", { balance: 1, price: 100, retry_ms: 5 });
  rig.ask("x");
  rig.say({ re: rig.last("x").id as number });
  rig.ask("y");
  rig.say({ re: rig.last("y").id as number, err: { msg: "no code" } });

  expect(rig.answers[0]).toEqual({ d: { balance: 7 } });
  expect(rig.answers[1]).toMatchObject({
    error: {
      code: "insufficient_funds",
      op: "gift.send",
      key: "k1",
      retryMs: 5,
      values: { balance: 1, price: 100 },
      again: true,
    },
  });
  expect(rig.codes.slice(2)).toEqual(["bad_reply", "bad_reply"]);
});

test("ask: without a key it fails with the connection, and without one at once", () => {
  const rig = new Rig();
  rig.ask("a");
  rig.join();
  rig.ask("b");
  rig.session.closed(1, 1006, "");
  rig.ask("c");
  expect(rig.codes).toEqual(["closed", "closed", "closed"]);
});

test("ask: with a key it waits for the connection, and goes over the next one", () => {
  const rig = new Rig();
  rig.ask("gift.send", { n: 1 }, { key: "k1" });
  rig.join();
  rig.pass(0);
  expect(rig.all("gift.send")).toMatchObject([{ link: 1, key: "k1", d: { n: 1 } }]);
  rig.session.closed(1, 1006, "");
  rig.pass(250);
  rig.welcome({ resumed: true });
  rig.pass(0);
  expect(rig.all("gift.send")).toMatchObject([{ link: 1 }, { link: 2, key: "k1", d: { n: 1 } }]);
  rig.reply("gift.send", { combo: 1 });
  rig.reply("gift.send", { combo: 1 });
  expect(rig.codes).toEqual(["ok"]);
});

test.each([["outcome_unknown"], ["unavailable"], ["overloaded"]])(
  "ask: %s is asked again with the same key",
  (code) => {
    const rig = new Rig().join();
    rig.ask("gift.send", {}, { key: "k1" });
    rig.refuse("gift.send", code, { retry_ms: 500 });
    rig.pass(749);
    expect(rig.all("gift.send")).toHaveLength(1);
    rig.pass(1);
    rig.refuse("gift.send", code);
    rig.pass(60_000);
    rig.reply("gift.send");
    expect(new Set(rig.all("gift.send").map((sent) => sent.key))).toEqual(new Set(["k1"]));
    expect(rig.codes).toEqual(["ok"]);

    rig.ask("poll.vote");
    rig.refuse("poll.vote", code);
    expect(rig.codes).toEqual(["ok", code]);
  },
);

test("ask: no answer in time", () => {
  const rig = new Rig({ heartbeatMs: 1e9 }).join();
  rig.ask("poll.vote");
  rig.ask("gift.send", {}, { key: "k1" });
  rig.ask("flash.reserve", {}, { key: "k2", timeoutMs: 25_000 });
  rig.pass(10_000);
  expect(rig.codes).toEqual(["timeout"]);
  expect(rig.all("gift.send")).toHaveLength(2);
  rig.pass(15_000);
  expect(rig.codes).toEqual(["timeout", "timeout"]);
  rig.pass(100_000);
  expect(rig.codes).toHaveLength(2);
});

test("ask: without a key it is never sent twice", () => {
  const rig = new Rig().join();
  rig.ask("poll.vote", {}, { timeoutMs: 25_000 });
  for (let i = 0; i < 24; i++) {
    rig.pass(1_000);
    rig.session.like(1);
  }
  expect(rig.all("poll.vote")).toHaveLength(1);
});

test("ask: each is answered once, also when the first one's answer ends everything", () => {
  const rig = new Rig().join();
  const answers: number[] = [];
  for (const n of [1, 2]) {
    rig.session.ask("a", {}, {}, () => {
      answers.push(n);
      rig.session.stop(1000);
    });
  }
  rig.session.closed(1, 1006, "");
  expect(answers).toEqual([1, 2]);
});

test("ask: time runs out also where there is no connection", () => {
  const rig = new Rig().join();
  rig.session.closed(1, 1006, "");
  rig.ask("gift.send", {}, { key: "k1", timeoutMs: 100 });
  rig.pass(100);
  expect(rig.codes).toEqual(["timeout"]);
});

test("ask: what was forgotten is not answered and not sent again", () => {
  const rig = new Rig().join();
  const id = rig.ask("gift.send", {}, { key: "k1" });
  rig.session.forget(id);
  rig.pass(60_000);
  rig.reply("gift.send");
  expect(rig.all("gift.send")).toHaveLength(1);
  expect(rig.codes).toEqual([]);
});

test("ask: what would end the connection is not sent", () => {
  const rig = new Rig().join();
  rig.ask("danmaku.send", { text: "x".repeat(70_000) });
  rig.ask("danmaku.send", { text: "你".repeat(22_000) }, { key: "k" });
  const cycle: Record<string, unknown> = {};
  cycle["me"] = cycle;
  rig.ask("danmaku.send", cycle);
  expect(rig.codes).toEqual(["bad_request", "bad_request", "bad_request"]);
  expect(rig.all("danmaku.send")).toEqual([]);
});

test("ask: numbers are never used twice, over all connections", () => {
  const rig = new Rig().join();
  rig.ask("a");
  rig.session.closed(1, 1006, "");
  rig.pass(250);
  rig.welcome({ resumed: true });
  rig.ask("a");
  const ids = rig.sent.map((sent) => sent.id);
  expect(new Set(ids).size).toBe(ids.length);
});

test("tell: sent without a number; its refusal is an error event", () => {
  const rig = new Rig();
  rig.session.tell("x", {});
  rig.join();
  rig.session.tell("y", { a: 1 });
  rig.say({ re: null, err: { code: "rate_limited", msg: "slow down" } });
  expect(rig.sent.slice(1)).toEqual([{ link: 1, op: "y", d: { a: 1 } }]);
  expect(rig.heard("sdk.error").map(({ error }) => error.code)).toEqual(["rate_limited"]);
});

test("likes: gathered, in pieces of a hundred, kept while there is no connection", () => {
  const rig = new Rig().join();
  for (let i = 0; i < 150; i++) rig.session.like(1);
  rig.pass(199);
  expect(rig.all("like.send")).toEqual([]);
  rig.pass(1);
  expect(rig.all("like.send").map((sent) => sent.d)).toEqual([{ n: 100 }, { n: 50 }]);

  rig.session.closed(1, 1006, "");
  for (const n of [5, 0, -3, NaN, Infinity]) rig.session.like(n);
  rig.pass(250);
  rig.welcome({ resumed: true });
  expect(
    rig
      .all("like.send")
      .slice(2)
      .reduce((sum, sent) => sum + sent.d?.["n"], 0),
  ).toBe(1000);
});

// Further rooms.

function inTwoRooms(): { rig: Rig; errors: string[] } {
  const rig = new Rig().join({ role: "host" });
  const errors: string[] = [];
  rig.session.join("b", (answer) => errors.push("code" in answer ? answer.code : "ok"));
  rig.say(
    { room: "b" },
    { re: rig.last("sys.join").id as number, d: greeting({ room: "b", epoch: "eb", seq: 3 }) },
    durable(4),
  );
  return { rig, errors };
}

test("rooms: items behind the room's name are that room's", () => {
  const { rig, errors } = inTwoRooms();
  rig.say({ room: "b" }, durable(5), { st: "likes", v: 1, d: 1 });
  rig.say(durable(1), { st: "likes", v: 9, d: 2 });
  rig.say({ room: "unknown" }, durable(6));

  expect(errors).toEqual(["ok"]);
  const gifts = rig.told.filter(({ name }) => name === "gift.sent").map(({ room, d }) => `${room} ${d.at}`);
  expect(gifts).toEqual(["b 4.0", "b 5.0", "demo 1.0"]);
  expect(rig.state).toMatchObject({ seq: 1, epoch: EPOCH });
  expect(rig.state.states.get("likes")).toBe(2);
});

test("rooms: commands and resumes name their room", () => {
  const { rig } = inTwoRooms();
  rig.ask("room.mode", {}, { room: "b" });
  rig.ask("room.mode", {}, { room: "demo" });
  rig.say({ room: "b" }, durable(9));
  expect(rig.all("room.mode").map((sent) => sent.room)).toEqual(["b", undefined]);
  expect(rig.last("sys.resume")).toMatchObject({ room: "b", d: { resume: { epoch: "eb", seq: 4, sub: 0 } } });
});

test("rooms: joined again after a reconnect, each from its position; keyed commands wait for that", () => {
  const { rig } = inTwoRooms();
  rig.session.closed(1, 1006, "");
  rig.ask("poll.open", {}, { room: "b", key: "k" });
  rig.ask("room.mode", {}, { room: "b" });
  rig.pass(250);
  rig.welcome({ resumed: true });
  expect(rig.last("sys.join")).toMatchObject({
    link: 2,
    d: { room: "b", resume: { epoch: "eb", seq: 4, sub: 0 } },
  });
  rig.pass(400);
  expect(rig.all("poll.open")).toEqual([]);
  rig.say(
    { room: "b" },
    { re: rig.last("sys.join").id as number, d: greeting({ room: "b", epoch: "eb", seq: 4, resumed: true }) },
  );
  rig.pass(500);
  expect(rig.all("poll.open")).toMatchObject([{ link: 2, room: "b", key: "k" }]);
  expect(rig.codes).toEqual(["closed"]);
});

test("rooms: one that may not be joined is told, one that may later is tried again", () => {
  const rig = new Rig().join();
  const told: string[] = [];
  rig.session.join("b", (answer) => told.push("code" in answer ? answer.code : "ok"));
  rig.refuse("sys.join", "unavailable", { retry_ms: 300 });
  rig.pass(300);
  expect(rig.all("sys.join")).toHaveLength(2);
  rig.refuse("sys.join", "forbidden");
  expect(told).toEqual(["forbidden"]);
  expect(rig.session.hasRoom("b")).toBe(false);
});

test("rooms: on a second connection they are joined anew before anything is sent about them", () => {
  const { rig } = inTwoRooms();
  rig.say({ ev: "sys.reconnect", d: {} });
  rig.pass(0);
  rig.welcome({ resumed: true });
  rig.ask("room.mode", {}, { room: "b" });
  expect(rig.codes).toEqual(["closed"]);
  expect(rig.last("sys.join").link).toBe(2);
});

test("rooms: the tokens of all rooms are renewed", () => {
  const { rig } = inTwoRooms();
  rig.tokens = ["new"];
  rig.say({ ev: "sys.token", d: {} });
  expect(rig.all("sys.token").map(({ room, d }) => [room, d])).toEqual([
    [undefined, { token: "new" }],
    ["b", { token: "new" }],
  ]);
});

test("rooms: one that was not joined, or cannot be any more", () => {
  const { rig, errors } = inTwoRooms();
  rig.ask("room.mode", {}, { room: "c", key: "k" });
  rig.session.stop(1000);
  rig.session.join("c", (answer) => errors.push("code" in answer ? answer.code : "ok"));
  expect(rig.codes).toEqual(["not_found"]);
  expect(errors).toEqual(["ok", "closed"]);
});

test("rooms: leaving settles what was about the room", () => {
  const { rig } = inTwoRooms();
  rig.ask("poll.open", {}, { room: "b", key: "k" });
  rig.ask("poll.open", {}, { key: "k2" });
  rig.session.leave("b");
  expect(rig.codes).toEqual(["closed"]);
  rig.say({ room: "b" }, durable(5));
  expect(rig.told.filter(({ room, name }) => room === "b" && name === "gift.sent")).toHaveLength(1);
});
