// The state machine under a clock of its own: connections, backoff, junk.

import { expect, test } from "vitest";

import { durable, EPOCH, greeting, Rig } from "./rig.js";

// Coming in.

test("join: a token, a hello, a greeting", () => {
  const rig = new Rig({ source: "push" });
  rig.tokens = ["t.o.k"];
  rig.session.start();
  expect(rig.state.status).toBe("connecting");
  rig.welcome({ states: [{ st: "likes", v: 3, d: { total: 9 } }], snapshot: { x: 1 }, own: { poll: {} } });

  expect(rig.last("hello").d).toEqual({ room: "demo", token: "t.o.k", client: "test/1", source: "push" });
  expect(rig.state).toMatchObject({
    status: "live",
    user: "ann",
    role: "viewer",
    epoch: EPOCH,
    beatMs: 100,
    own: { poll: {} },
  });
  expect(rig.state.states.get("likes")).toEqual({ total: 9 });
  expect(rig.heard("sdk.reset")).toHaveLength(1);
  expect(rig.greetings).toHaveLength(1);
});

test("join: what is refused ends it, with the refusal that came before the close", () => {
  const rig = new Rig();
  rig.session.start();
  rig.session.opened(1);
  rig.refuse("hello", "no_room");
  rig.session.closed(1, 4404, "there is no such room");

  expect(rig.state).toMatchObject({ status: "ended", close: { code: 4404, name: "no_room", again: false } });
  expect(rig.ends.map((error) => error.code)).toEqual(["no_room"]);
  rig.pass(100_000);
  expect(rig.opened).toEqual([1]);
});

test("join: a close without a refusal has its number", () => {
  const rig = new Rig();
  rig.session.start();
  rig.session.opened(1);
  rig.session.closed(1, 4401, "");
  expect(rig.ends[0]).toMatchObject({ code: "closed", values: { close: 4401, name: "bad_token" } });
});

test("join: a hello that was refused for now is tried again, also if no close follows", () => {
  const rig = new Rig();
  rig.session.start();
  rig.session.opened(1);
  rig.refuse("hello", "unavailable");
  rig.pass(2_300);
  expect(rig.shut).toEqual([{ link: 1, code: 1000 }]);
  expect(rig.opened).toEqual([1, 2]);
  rig.welcome();
  expect(rig.state.status).toBe("live");
});

test.each([
  [{ seq: "1" }],
  [{ sub: -1 }],
  [{ epoch: null }],
  [{ resumed: 1 }],
  [{ now: "x" }],
  [{ own: [] }],
  [{ states: {} }],
  [{ states: [{ st: 1, v: 1 }] }],
])("join: a greeting of another shape is not believed: %j", (fault) => {
  const rig = new Rig();
  rig.session.start();
  rig.session.opened(1);
  rig.say({ re: rig.last("hello").id as number, d: { ...greeting(), ...fault } });
  expect(rig.state.status).toBe("connecting");
  rig.pass(3_000);
  expect(rig.opened.length).toBeGreaterThan(1);
});

test("connect: a server that does not open, or does not greet, is given up", () => {
  const rig = new Rig();
  rig.session.start();
  rig.pass(10_250);
  expect(rig.opened).toEqual([1, 2]);
  rig.session.opened(2);
  rig.pass(10_500);
  expect(rig.opened).toEqual([1, 2, 3]);
});

test("token: a function that fails is a failed attempt", () => {
  const rig = new Rig();
  rig.tokens = [new Error("no"), "t"];
  rig.session.start();
  expect(rig.opened).toEqual([]);
  expect(rig.state.status).toBe("waiting");
  expect(rig.heard("sdk.error")).toHaveLength(1);
  rig.pass(250);
  rig.welcome();
  expect(rig.last("hello").d?.["token"]).toBe("t");
});

test("token: one that comes too late is not used", () => {
  const rig = new Rig();
  rig.holdTokens = [];
  rig.session.start();
  rig.pass(30_250);
  expect(rig.holdTokens).toHaveLength(2);
  rig.holdTokens[0]?.("late");
  expect(rig.opened).toEqual([]);
  rig.holdTokens[1]?.("t");
  rig.welcome();
  expect(rig.last("hello").d?.["token"]).toBe("t");
});

// Coming back.

test("backoff: full jitter, doubled, capped, and begun anew after 30 s", () => {
  const rig = new Rig().join();
  const delays = [];
  for (let i = 0; i < 9; i++) {
    rig.session.closed(rig.link, 1006, "");
    delays.push((rig.state.retryAt as number) - rig.now);
    rig.pass(delays.at(-1) as number);
  }
  expect(delays).toEqual([250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
  rig.welcome({ resumed: true });
  expect(rig.state.attempt).toBe(9);
  rig.pass(29_999);
  expect(rig.state.attempt).toBe(9);
  rig.pass(1);
  expect(rig.state.attempt).toBe(0);
});

test("backoff: a connection that dies at once does not count as success", () => {
  const rig = new Rig().join();
  for (let i = 0; i < 5; i++) {
    rig.session.closed(rig.link, 1006, "");
    rig.pass((rig.state.retryAt as number) - rig.now);
    rig.welcome({ resumed: true });
  }
  expect(rig.state.attempt).toBe(5);
});

test.each([[1001], [1005], [1006], [1011], [1012], [1013], [4003], [4029], [4399]])(
  "close %i: it comes back, from its position",
  (code) => {
    const rig = new Rig().join({ seq: 7 });
    rig.say(durable(8));
    rig.session.closed(1, code, "");
    expect(rig.state.status).toBe("waiting");
    rig.pass(250);
    rig.session.opened(2);
    expect(rig.last("hello").d?.["resume"]).toEqual({ epoch: EPOCH, seq: 8, sub: 0 });
  },
);

test.each([[1000], [1002], [1008], [4401], [4403], [4409], [4999]])(
  "close %i: it does not come back",
  (code) => {
    const rig = new Rig().join();
    rig.session.closed(1, code, "why");
    rig.pass(100_000);
    expect(rig.opened).toEqual([1]);
    expect(rig.state).toMatchObject({ status: "ended", close: { code, text: "why" } });
  },
);

test("close 4001: with another token, or not at all", () => {
  const rig = new Rig();
  rig.tokens = ["old", "new"];
  rig.join();
  rig.session.closed(1, 4001, "");
  rig.pass(250);
  rig.session.opened(2);
  expect(rig.last("hello").d?.["token"]).toBe("new");

  const fixed = new Rig();
  fixed.renews = false;
  fixed.join();
  fixed.session.closed(1, 4001, "");
  expect(fixed.state.status).toBe("ended");
});

test("handshake: an HTTP status that means no is not asked again", () => {
  const refused = new Rig();
  refused.session.start();
  refused.session.closed(1, 1006, "", 403);
  expect(refused.state.status).toBe("ended");

  const full = new Rig();
  full.session.start();
  full.session.closed(1, 1006, "", 503);
  expect(full.state.status).toBe("waiting");
});

test("nudge: no waiting when the network is back", () => {
  const rig = new Rig().join();
  rig.session.closed(1, 1006, "");
  rig.session.nudge();
  expect(rig.opened).toEqual([1, 2]);
  expect(rig.state.status).toBe("connecting");
});

test("an end by the server can be begun anew", () => {
  const rig = new Rig().join();
  rig.session.closed(1, 4409, "");
  rig.session.start();
  rig.welcome();
  expect(rig.state.status).toBe("live");
});

// sys.reconnect.

const MOVE = { ev: "sys.reconnect", d: { after_ms: 1000, spread_ms: 4000 } };

test("sys.reconnect: the second connection first, then the first is closed", () => {
  const rig = new Rig().join({ seq: 1 });
  rig.say(MOVE);
  rig.pass(2_999);
  expect(rig.opened).toEqual([1]);
  rig.pass(1);
  expect(rig.opened).toEqual([1, 2]);
  expect(rig.state.status).toBe("live");

  rig.session.opened(2);
  rig.sayOn(1, durable(2)); // still heard on the old one
  expect(rig.last("hello").d?.["resume"]).toEqual({ epoch: EPOCH, seq: 1, sub: 0 });
  expect(rig.shut).toEqual([]);
  rig.say(
    { re: rig.last("hello").id as number, d: greeting({ resumed: true, seq: 1 }) },
    durable(2),
    durable(3),
  );
  rig.sayOn(1, durable(3), durable(4));

  expect(rig.heard("gift.sent").map((d) => d.at)).toEqual(["2.0", "3.0"]);
  expect(rig.shut).toEqual([{ link: 1, code: 1000 }]);
  expect(rig.heard("sdk.reset")).toHaveLength(1);
});

test("sys.reconnect: what the old connection took is answered there before it is closed", () => {
  const rig = new Rig().join();
  rig.say(MOVE);
  rig.ask("poll.vote");
  rig.pass(3_000);
  rig.welcome({ resumed: true });
  expect(rig.shut).toEqual([]);
  rig.sayOn(1, { ev: "like", d: 1 }, { st: "likes", v: 7, d: 1 }, { ev: "sys.gap", d: {} });
  expect([...rig.heard("like"), ...rig.heard("sdk.state"), ...rig.heard("sys.gap")]).toEqual([]);
  rig.sayOn(1, { re: rig.last("poll.vote").id as number, d: {} });
  expect(rig.codes).toEqual(["ok"]);
  expect(rig.shut).toEqual([{ link: 1, code: 1000 }]);
});

test("sys.reconnect: an old connection that answers nothing is closed after a while", () => {
  const rig = new Rig().join();
  rig.say(MOVE);
  rig.ask("poll.vote", {}, { timeoutMs: 60_000 });
  rig.pass(3_000);
  rig.welcome({ resumed: true });
  rig.pass(10_000);
  expect(rig.shut).toEqual([{ link: 1, code: 1000 }]);
  expect(rig.codes).toEqual(["closed"]);
});

test("sys.reconnect: a greeting that the old connection still owed is of the past", () => {
  const rig = new Rig().join({ seq: 1 });
  rig.say(MOVE);
  rig.ask("poll.vote");
  rig.say(durable(9));
  const { id } = rig.last("sys.resume");
  rig.pass(3_000);
  rig.welcome({ resumed: true, seq: 1 }, durable(2));
  rig.sayOn(1, { re: id as number, d: greeting({ seq: 0, epoch: "old" }) });
  expect(rig.state).toMatchObject({ epoch: EPOCH, seq: 2 });
  expect(rig.state.status).toBe("live");
  rig.say(durable(9));
  expect(rig.all("sys.resume").map(({ link }) => link)).toEqual([1, 2]);
  rig.pass(9_000); // the first one's limit is over as well
  expect(rig.shut).toEqual([]);
});

test("sys.reconnect: lost before its time, it comes back at the time that was told", () => {
  const rig = new Rig().join();
  rig.say(MOVE);
  rig.pass(500);
  rig.session.closed(1, 1012, "");
  expect(rig.state).toMatchObject({ status: "waiting", retryAt: 4_000 });
  rig.pass(2_500);
  expect(rig.opened).toEqual([1, 2]);
});

test("sys.reconnect: a second connection that fails is tried again while the first serves", () => {
  const rig = new Rig().join();
  rig.say(MOVE);
  rig.pass(3_000);
  rig.session.closed(2, 4409, "");
  expect(rig.state.status).toBe("live");
  rig.pass(250);
  expect(rig.opened).toEqual([1, 2, 3]);
  rig.session.closed(1, 1012, "");
  expect(rig.state.status).toBe("connecting");
  rig.welcome({ resumed: true });
  expect(rig.state.status).toBe("live");
});

test("sys.reconnect: numbers of a liar are bounded", () => {
  const rig = new Rig().join();
  rig.say({ ev: "sys.reconnect", d: { after_ms: 1e300, spread_ms: "x" } });
  rig.session.closed(1, 1012, "");
  expect(rig.state.retryAt).toBe(rig.now + 3_600_000);

  const other = new Rig().join();
  other.say({ ev: "sys.reconnect", d: null });
  other.pass(0);
  expect(other.opened).toEqual([1, 2]);
});

// Junk.

test.each([
  ["no JSON", "{"],
  ["no list", "{}"],
  ["a list of numbers", "[1]"],
  ["null", "[null]"],
  ["binary", new ArrayBuffer(3)],
])("junk: %s ends the connection, and it comes back", (_, data) => {
  const rig = new Rig().join({ seq: 5 });
  rig.session.receive(1, data);
  expect(rig.shut).toEqual([{ link: 1, code: 4002 }]);
  expect(rig.state).toMatchObject({ status: "waiting", junk: 1 });
  expect(rig.heard("sdk.error")).toHaveLength(1);
  rig.pass(250);
  rig.session.opened(2);
  expect(rig.last("hello").d?.["resume"]).toMatchObject({ seq: 5 });
});

test("junk: an item of a false shape is counted and left out", () => {
  const rig = new Rig().join();
  rig.say(
    { ev: 1 },
    { ev: "x", seq: -1 },
    { ev: "x", seq: 1.5 },
    { ev: "x", sub: "1", seq: 1 },
    { st: "x", v: "1" },
    { st: 2, v: 1 },
    { re: "1" },
    { room: 1 },
    { ev: "good", d: 1 },
  );
  expect(rig.state.junk).toBe(8);
  expect(rig.heard("x")).toEqual([]);
  expect(rig.heard("good")).toEqual([1]);
});

test("junk: what comes on a connection that was closed is not looked at", () => {
  const rig = new Rig().join();
  rig.session.closed(1, 1006, "");
  rig.sayOn(1, { ev: "late", d: 1 });
  rig.sayOn(77, { ev: "late", d: 1 });
  expect(rig.heard("late")).toEqual([]);
});

// The end.

test("stop: everything is settled, nothing is planned", () => {
  const rig = new Rig().join();
  rig.ask("a");
  rig.ask("b", {}, { key: "k" });
  rig.session.like(2);
  rig.session.stop(1000);
  expect(rig.codes).toEqual(["closed", "closed"]);
  expect(rig.last("like.send").d).toEqual({ n: 2 });
  expect(rig.shut).toEqual([{ link: 1, code: 1000 }]);
  expect(rig.session.nextWake).toBe(Infinity);
  rig.ask("c", {}, { key: "k2" });
  expect(rig.codes.at(-1)).toBe("closed");
});

test("a listener that closes in the middle of a message hears nothing more", () => {
  const rig = new Rig().join();
  rig.listen = (name) => {
    if (name === "one") rig.session.stop(1000);
  };
  rig.say({ ev: "one", d: 1 }, { ev: "two", d: 1 });
  expect(rig.heard("two")).toEqual([]);
  expect(rig.heard("sdk.raw").map(({ ev }) => ev)).toEqual([undefined, "one"]);
});
