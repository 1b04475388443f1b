// Time: silence, the server's clock, alarms, tokens that end.

import { expect, test } from "vitest";

import { Alarms, ServerClock } from "../src/clock.js";
import { greeting, Rig } from "./rig.js";

// Silence.

test("silence: after a minute a ping, ten seconds later it is over", () => {
  const rig = new Rig().join();
  rig.pass(59_000);
  rig.say({ ev: "x", d: 1 });
  rig.pass(59_999);
  expect(rig.all("sys.ping")).toHaveLength(0);
  rig.pass(1);
  expect(rig.all("sys.ping")).toHaveLength(1);
  rig.reply("sys.ping", { now: 1_760_000_000_000 });
  rig.pass(59_999);
  expect(rig.shut).toEqual([]);
  rig.pass(10_001);
  expect(rig.shut).toEqual([{ link: 1, code: 4009 }]);
  expect(rig.state.status).toBe("waiting");
});

test("clock: the shortest round trip counts; a slow hello is measured once more", () => {
  const rig = new Rig();
  rig.session.start();
  rig.session.opened(1);
  rig.now += 2_000;
  rig.say({ re: rig.last("hello").id as number, d: greeting({ now: 10_000 }) });
  expect(rig.session.clock.at(rig.now)).toBe(11_000);
  rig.pass(3_500);
  rig.now += 100;
  rig.reply("sys.ping", { now: 13_700 });
  expect(rig.session.clock.at(rig.now)).toBe(13_750);
});

test("clock: a new connection measures anew, for the machine may have slept", () => {
  const rig = new Rig().join({ now: 10_000 });
  rig.session.closed(1, 1006, "");
  rig.pass(250);
  rig.session.opened(2);
  rig.now += 200;
  rig.say({ re: rig.last("hello").id as number, d: greeting({ resumed: true, now: 3_600_000 }) });
  expect(rig.session.clock.at(rig.now)).toBe(3_600_100);
});

// Tokens.

test("sys.token: a new token is fetched and sent", () => {
  const rig = new Rig();
  rig.tokens = ["a", "b"];
  rig.join();
  rig.say({ ev: "sys.token", d: { expires_ms: 1 } });
  expect(rig.last("sys.token").d).toEqual({ token: "b" });
  rig.refuse("sys.token", "forbidden");
  expect(rig.heard("sdk.error").map(({ error }) => error.code)).toEqual(["forbidden"]);
  expect(rig.heard("sys.token")).toHaveLength(1);
});

test("sys.token: a fixed token is not sent again, a failing function is told", () => {
  const fixed = new Rig();
  fixed.renews = false;
  fixed.join().say({ ev: "sys.token", d: {} });
  expect(fixed.all("sys.token")).toEqual([]);

  const rig = new Rig();
  rig.tokens = ["a", new Error("x")];
  rig.join().say({ ev: "sys.token", d: {} });
  expect(rig.heard("sdk.error")).toHaveLength(1);
  expect(rig.state.status).toBe("live");
});

// The parts.

test("alarms ring once, the earliest first; one that was moved or dropped meanwhile does not", () => {
  const alarms = new Alarms();
  const rung: string[] = [];
  alarms.set("late", 20, () => rung.push("late"));
  alarms.set("early", 10, () => {
    rung.push("early");
    alarms.drop("dropped");
    alarms.set("moved", 99, () => rung.push("moved"));
  });
  alarms.set("dropped", 15, () => rung.push("dropped"));
  alarms.set("moved", 15, () => rung.push("too early"));
  alarms.ring(20);
  expect(rung).toEqual(["early", "late"]);
  expect(alarms.next).toBe(99);
});

test("clock: a longer round trip counts only when the shorter one is old", () => {
  const clock = new ServerClock();
  clock.sample(0, 100, 1_000_050);
  clock.sample(1_000, 1_400, 5_000_000);
  expect(clock.at(2_000)).toBe(1_002_000);
  clock.sample(601_000, 601_400, 5_000_200);
  expect(clock.at(601_400)).toBe(5_000_400);
});
