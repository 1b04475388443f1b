// What comes over a live connection: positions, gaps, states, what is ephemeral.

import { expect, test } from "vitest";

import { durable, EPOCH, greeting, Rig } from "./rig.js";

const at = (rig: Rig): string[] => rig.heard("gift.sent").map((d) => d.at);

// Positions.

test("durable events: once, in order; what is missing is asked for", () => {
  const rig = new Rig().join({ seq: 1 });
  rig.say(durable(2), durable(2, 3), durable(2), durable(4), durable(5));
  expect(at(rig)).toEqual(["2.0", "2.3"]);
  expect(rig.all("sys.resume").map((sent) => sent.d)).toEqual([{ resume: { epoch: EPOCH, seq: 2, sub: 3 } }]);

  rig.say(
    { re: rig.last("sys.resume").id as number, d: greeting({ resumed: true, seq: 2, sub: 3 }) },
    durable(3),
    durable(4),
    durable(5),
  );
  rig.say(durable(6));
  expect(at(rig)).toEqual(["2.0", "2.3", "3.0", "4.0", "5.0", "6.0"]);
  expect(rig.state).toMatchObject({ seq: 6, sub: 0 });
  rig.pass(5_000);
  expect(rig.all("sys.resume")).toHaveLength(1);
});

test("sys.resume: the position that was reached meanwhile is kept", () => {
  const rig = new Rig().join({ seq: 1 });
  rig.say(durable(3));
  rig.say(durable(2), durable(3));
  rig.say(
    { re: rig.last("sys.resume").id as number, d: greeting({ resumed: true, seq: 1 }) },
    durable(2),
    durable(3),
  );
  expect(at(rig)).toEqual(["2.0", "3.0"]);
});

test("sys.resume: not resumed means from the beginning", () => {
  const rig = new Rig().join({
    seq: 1,
    states: [
      { st: "a", v: 9, d: 1 },
      { st: "b", v: 9, d: 2 },
    ],
  });
  rig.say(durable(9));
  rig.say({
    re: rig.last("sys.resume").id as number,
    d: greeting({ seq: 9, epoch: "e2", states: [{ st: "a", v: 1, d: 5 }], snapshot: { n: 1 } }),
  });
  expect(rig.heard("sdk.reset")).toHaveLength(2);
  expect([...rig.state.states]).toEqual([["a", 5]]);
  expect(rig.heard("state:b").at(-1)).toEqual({ key: "b", value: undefined, v: 0 });
  expect(rig.state).toMatchObject({ epoch: "e2", seq: 9, snapshot: { n: 1 } });
});

test("sys.resume: refused, it is asked again after retry_ms", () => {
  const rig = new Rig().join();
  rig.say(durable(5));
  rig.refuse("sys.resume", "unavailable", { retry_ms: 700 });
  rig.pass(699);
  expect(rig.all("sys.resume")).toHaveLength(1);
  rig.pass(1);
  expect(rig.all("sys.resume")).toHaveLength(2);
});

test("sys.resume: unanswered, the connection is given up", () => {
  const rig = new Rig().join({ seq: 3 });
  rig.say(durable(5));
  rig.pass(10_000);
  expect(rig.shut).toEqual([{ link: 1, code: 4009 }]);
  rig.pass(250);
  rig.session.opened(2);
  expect(rig.last("hello").d?.["resume"]).toMatchObject({ seq: 3 });
});

test("sys.resume: a server that always leaves something out is asked ever more slowly", () => {
  const rig = new Rig().join();
  for (let i = 0; i < 2_000; i++) {
    rig.say(durable(5));
    if (rig.state.resuming && rig.all("sys.resume").length > 0)
      rig.say({ re: rig.last("sys.resume").id as number, d: greeting({ resumed: true }) });
    rig.pass(30);
  }
  expect(rig.all("sys.resume").length).toBeLessThan(15);
});

test("sys.resume: after one that helped, the next is asked at once", () => {
  const rig = new Rig().join();
  for (const [missed, came] of [
    [1, 2],
    [3, 4],
    [5, 6],
  ] as const) {
    rig.say(durable(came));
    const { id } = rig.last("sys.resume");
    rig.say({ re: id as number, d: greeting({ resumed: true }) }, durable(missed), durable(came));
  }
  expect(rig.all("sys.resume")).toHaveLength(3);
  expect(at(rig)).toEqual(["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"]);
});

test("sys.gap: no position, no versions, nothing durable until the answer", () => {
  const rig = new Rig().join({ seq: 4, states: [{ st: "likes", v: 50, d: 1 }] });
  rig.say({ ev: "sys.gap", d: { from: null, to: null, epoch: "e2" } }, durable(5), {
    st: "likes",
    v: 1,
    d: 2,
  });
  expect(rig.last("sys.resume").d).toEqual({});
  expect(at(rig)).toEqual([]);
  expect(rig.state.states.get("likes")).toBe(2);

  rig.say(
    {
      re: rig.last("sys.resume").id as number,
      d: greeting({ epoch: "e2", seq: 1, states: [{ st: "likes", v: 2, d: 3 }] }),
    },
    durable(2),
  );
  expect(at(rig)).toEqual(["2.0"]);
  expect(rig.heard("sdk.reset")).toHaveLength(2);
});

test("sys.gap: overtaking an answer, it asks once more", () => {
  const rig = new Rig().join({ seq: 4 });
  rig.say(durable(9));
  rig.say({ ev: "sys.gap", d: {} });
  rig.say({ re: rig.last("sys.resume").id as number, d: greeting({ resumed: true, seq: 4 }) });
  rig.pass(0);
  expect(rig.last("sys.resume").d).toEqual({});
  expect(rig.state.position).toBeUndefined();
});

test("sys.gap: on the next connection there is no position to resume from", () => {
  const rig = new Rig().join({ seq: 4 });
  rig.say({ ev: "sys.gap", d: {} });
  rig.session.closed(1, 1006, "");
  rig.pass(250);
  rig.session.opened(2);
  expect(rig.last("hello").d).not.toHaveProperty("resume");
});

// States and ephemeral events.

test("states: the highest version, null is gone, told under three names", () => {
  const rig = new Rig().join();
  rig.say(
    { st: "stock:a", v: 2, d: { left: 3 } },
    { st: "stock:a", v: 2, d: { left: 9 } },
    { st: "stock:a", v: 1, d: {} },
    { st: "stock:a", v: 5, d: null },
  );
  const told = [
    { key: "stock:a", value: { left: 3 }, v: 2 },
    { key: "stock:a", value: undefined, v: 5 },
  ];
  for (const name of ["sdk.state", "state:stock:a", "state:stock"]) expect(rig.heard(name)).toEqual(told);
  expect(rig.state.states.has("stock:a")).toBe(false);
  expect(rig.state.versions.get("stock:a")).toBe(5);
});

test("states: what went away while one was away is gone after it", () => {
  const rig = new Rig().join({
    states: [
      { st: "a", v: 1, d: 1 },
      { st: "b", v: 1, d: 1 },
    ],
  });
  rig.session.closed(1, 1006, "");
  rig.pass(250);
  rig.welcome({ resumed: true, states: [{ st: "a", v: 1, d: 1 }] });
  expect([...rig.state.states.keys()]).toEqual(["a"]);
  expect(rig.heard("sdk.state").slice(2)).toEqual([{ key: "b", value: undefined, v: 1 }]);
  expect(rig.heard("sdk.reset")).toHaveLength(1);
});

test("danmaku: what the snapshot showed is not shown again", () => {
  const old = { ev: "danmaku", ts: 1, d: { id: "m1", text: "x" } };
  const rig = new Rig().join({ snapshot: { danmaku: [old, null, { d: 3 }] } });
  rig.say(
    old,
    { ev: "danmaku", d: { id: "m2" } },
    { ev: "danmaku", d: { id: "m2" } },
    { ev: "danmaku", d: null },
    { ev: "like", d: { n: 1 } },
    { ev: "like", d: { n: 1 } },
  );
  expect(rig.heard("danmaku")).toEqual([{ id: "m2" }, null]);
  expect(rig.heard("like")).toHaveLength(2);
});

test("sys.shed is added up", () => {
  const rig = new Rig().join();
  rig.say(
    { ev: "sys.shed", d: { danmaku: 12, like: 3 } },
    { ev: "sys.shed", d: { danmaku: 1, x: "y" } },
    { ev: "sys.shed", d: 7 },
  );
  expect([...rig.state.shed]).toEqual([
    ["danmaku", 13],
    ["like", 3],
  ]);
  expect(rig.heard("sys.shed")).toHaveLength(3);
});

test("unknown items, events and fields are surfaced raw, and harm nothing", () => {
  const rig = new Rig().join();
  const items = [
    { zz: 1 },
    { ev: "something.new", x: 1, d: { y: 2 } },
    { re: 999, d: {} },
    { st: "new:thing", v: 1, d: 4, zz: 5 },
  ];
  rig.say(...items);
  expect(rig.heard("sdk.raw").slice(1)).toEqual(items);
  expect(rig.heard("something.new")).toEqual([{ y: 2 }]);
  expect(rig.state.junk).toBe(0);
});
