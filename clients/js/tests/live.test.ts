// The public class over sockets of the test's own, and the real timers.

import { afterEach, expect, test, vi } from "vitest";

import {
  connect,
  danmakuFeed,
  HostRoom,
  LiveError,
  LiveRoom,
  type Comment,
  type LiveOptions,
} from "../src/index.js";
import { greeting } from "./rig.js";

class FakeSocket {
  static made: FakeSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: ((event: unknown) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readyState = 0;
  sent: any[] = [];
  closedWith: number | undefined;

  constructor(
    readonly url: string,
    readonly subprotocol: string,
  ) {
    if (url.includes("bad")) throw new SyntaxError("bad url");
    FakeSocket.made.push(this);
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data));
  }

  close(code: number): void {
    this.closedWith = code;
    this.readyState = 2;
    queueMicrotask(() => this.onclose?.({ code, reason: "" }));
  }

  open(): this {
    this.readyState = 1;
    this.onopen?.();
    return this;
  }

  say(...items: object[]): void {
    this.onmessage?.({ data: JSON.stringify(items) });
  }

  /** Answer the newest command. */
  reply(d: object): void {
    this.say({ re: this.sent.at(-1).id, d });
  }

  welcome(more: object = {}): this {
    this.open().reply(greeting(more));
    return this;
  }
}

const newest = (): FakeSocket => FakeSocket.made.at(-1)!;
const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));
const OPTIONS: LiveOptions = { url: "ws://test/ws", room: "demo", codec: "json", WebSocket: FakeSocket };

async function joined(options: Partial<LiveOptions> = {}): Promise<{ live: LiveRoom; socket: FakeSocket }> {
  const live = new LiveRoom({ ...OPTIONS, ...options });
  const join = live.join();
  const socket = newest().welcome();
  await join;
  return { live, socket };
}

afterEach(() => {
  FakeSocket.made = [];
  vi.unstubAllGlobals();
});

test("connect resolves to a client that is live", async () => {
  const pending = connect(OPTIONS);
  newest().welcome();
  const live = await pending;
  expect(live.state.status).toBe("live");
  expect(newest()).toMatchObject({ url: "ws://test/ws", subprotocol: "liveroom.v1.json" });
  expect((await live.join()).user).toBe("ann");
  await live.close();
});

test("msgpack is the default, a path is that of the page", () => {
  vi.stubGlobal("location", { href: "https://live.example/room?x=1" });
  void new LiveRoom({ url: "/ws", room: "demo", WebSocket: FakeSocket }).join();
  expect(newest()).toMatchObject({ url: "wss://live.example/ws", subprotocol: "liveroom.v1.msgpack" });
  void new HostRoom({ room: "demo", WebSocket: FakeSocket }).join();
  expect(newest().url).toBe("wss://live.example/control");
});

test("a path without a page, and a platform without sockets, are told at once", () => {
  expect(() => new LiveRoom({ ...OPTIONS, url: "/ws" })).toThrow(TypeError);
  vi.stubGlobal("WebSocket", undefined);
  expect(() => new LiveRoom({ url: "ws://x/ws", room: "demo" })).toThrow(/WebSocket class/);
});

test("a URL that no socket takes ends it", async () => {
  await expect(connect({ ...OPTIONS, url: "ws://bad url" })).rejects.toMatchObject({
    code: "closed",
    values: { close: 1010 },
  });
});

test("join rejects with the refusal; ask resolves and rejects; keys are made", async () => {
  const refused = connect(OPTIONS);
  newest()
    .open()
    .say({ re: 1, err: { code: "no_room", msg: "there is no such room" } });
  newest().onclose?.({ code: 4404, reason: "" });
  await expect(refused).rejects.toMatchObject({
    name: "LiveError",
    code: "no_room",
    message: "there is no such room",
  });

  const { live, socket } = await joined();
  const gift = live.gift("rose", 2);
  expect(socket.sent.at(-1)).toMatchObject({
    op: "gift.send",
    key: expect.stringMatching(/^[0-9a-f]{32}$/),
    d: { gift: "rose", n: 2 },
  });
  socket.reply({ balance: 1 });
  expect(await gift).toEqual({ balance: 1 });

  const mode = live.ask("room.mode", { talk: "all" }, { ifVersion: 3, key: "mine" });
  expect(socket.sent.at(-1)).toMatchObject({ key: "mine", d: { talk: "all", if_version: 3 } });
  socket.say({ re: socket.sent.at(-1).id, err: { code: "version_conflict", msg: "x", version: 4 } });
  await expect(mode).rejects.toMatchObject({
    code: "version_conflict",
    values: { version: 4 },
    again: false,
  });
  await live.close();
});

test("every sugar sends its command", async () => {
  const { live, socket } = await joined();
  const calls: [Promise<unknown>, string, object, boolean][] = [
    [live.send("hi", { mode: "top" }), "danmaku.send", { text: "hi", mode: "top" }, false],
    [live.vote("p", [1]), "poll.vote", { poll: "p", options: [1] }, false],
    [live.enter("l", { nonce: "ab" }), "lottery.enter", { lottery: "l", nonce: "ab" }, false],
    [live.claimPrize("l"), "lottery.claim", { lottery: "l" }, true],
    [live.reserve("red", 2, { price: 5 }), "flash.reserve", { sku: "red", n: 2, price: 5 }, true],
    [live.cancel("r"), "flash.cancel", { reservation: "r" }, false],
    [live.claim("d"), "coupon.claim", { drop: "d" }, true],
    [live.grab("p"), "redpacket.grab", { packet: "p" }, true],
    [live.question("why"), "qa.ask", { text: "why" }, true],
    [live.upvote(3), "qa.upvote", { question: 3 }, false],
    [live.answer("q", 1), "quiz.answer", { quiz: "q", option: 1 }, false],
    [live.answer("q", "moon"), "quiz.answer", { quiz: "q", text: "moon" }, false],
    [live.follow(), "viewer.follow", { on: true }, false],
    [live.share("x"), "viewer.share", { to: "x" }, false],
    [live.click("lip"), "shelf.click", { item: "lip" }, false],
    [live.cart("lip", "red"), "shelf.cart", { item: "lip", sku: "red", n: 1 }, false],
    [live.rank("likes"), "rank.get", { board: "likes" }, false],
    [live.wallet(), "wallet.get", {}, false],
  ];
  const sent = socket.sent.slice(1);
  for (const [i, [promise, op, d, keyed]] of calls.entries()) {
    expect(sent[i]).toMatchObject({ op, d });
    expect("key" in sent[i]).toBe(keyed);
    socket.say({ re: sent[i].id, d: {} });
    await promise;
  }
  await live.close();
});

test("a signal ends the waiting", async () => {
  const { live, socket } = await joined();
  const stop = new AbortController();
  const pending = live.ask("poll.vote", {}, { signal: stop.signal });
  stop.abort(new Error("enough"));
  await expect(pending).rejects.toThrow("enough");
  await expect(live.ask("poll.vote", {}, { signal: stop.signal })).rejects.toThrow("enough");
  expect(socket.sent).toHaveLength(2);
  await live.close();
});

test("listeners: on, off, once; one that throws or rejects harms nobody", async () => {
  const { live, socket } = await joined();
  const heard: unknown[] = [];
  const errors: string[] = [];
  live.on("sdk.error", ({ error }) => {
    errors.push(error.message);
    throw new Error("again");
  });
  live.on("x", () => {
    throw new Error("sync");
  });
  live.on("x", async () => {
    throw new Error("async");
  });
  const off = live.on("x", (d, item) => heard.push([d, item.ev]));
  const next = live.once("x");
  socket.say({ ev: "x", d: 1 });
  off();
  socket.say({ ev: "x", d: 2 });
  await tick();
  expect(heard).toEqual([[1, "x"]]);
  expect(await next).toBe(1);
  expect(errors).toEqual(["sync", "sync", "async", "async"]);
  await live.close();
});

test("a listener may ask, listen and stop listening while it is told", async () => {
  const { live, socket } = await joined();
  const order: string[] = [];
  const off = live.on("x", () => {
    order.push("a");
    off();
    live.on("x", () => order.push("c"));
    void live.send("hi").catch(() => {});
  });
  live.on("x", () => order.push("b"));
  socket.say({ ev: "x" }, { ev: "x" });
  expect(order).toEqual(["a", "b", "b", "c"]);
  expect(socket.sent.at(-1).op).toBe("danmaku.send");
  await live.close();
});

test("close is final: everything waiting is settled", async () => {
  const { live, socket } = await joined();
  const waiting = [live.ask("a"), live.gift("rose"), live.once("never")];
  const settled = Promise.allSettled(waiting);
  void live.once("that nobody waits for");
  await live.close();
  expect((await settled).map((result) => (result as PromiseRejectedResult).reason.code)).toEqual([
    "closed",
    "closed",
    "closed",
  ]);
  expect(socket.closedWith).toBe(1000);
  await expect(live.join()).rejects.toBeInstanceOf(LiveError);
  await expect(live.once("x")).rejects.toMatchObject({ code: "closed" });
  await expect(live.gift("rose")).rejects.toMatchObject({ code: "closed" });
  await live.close();
});

test("close while joining rejects the join", async () => {
  const live = new LiveRoom(OPTIONS);
  const join = live.join();
  const settled = expect(join).rejects.toMatchObject({ code: "closed" });
  await live.close();
  await settled;
  expect(live.state.status).toBe("ended");
});

test("a token function is asked before each connect; one that throws is told", async () => {
  const tokens = ["a", "b"];
  const live = new LiveRoom({ ...OPTIONS, random: () => 0, token: async () => tokens.shift() });
  const join = live.join();
  await tick();
  newest().welcome();
  await join;
  expect(newest().sent[0].d.token).toBe("a");
  newest().onclose?.({ code: 4001, reason: "" });
  await tick();
  await tick();
  expect(newest().open().sent[0].d.token).toBe("b");
  await live.close();

  const failing = new LiveRoom({
    ...OPTIONS,
    token: () => {
      throw new Error("no token");
    },
  });
  const told = failing.once("sdk.error");
  failing.join().catch(() => {});
  expect((await told).error.message).toBe("no token");
  await failing.close();
});

test("likes go out by themselves", async () => {
  const { live, socket } = await joined({ likeEveryMs: 1 });
  live.like();
  live.like(4);
  await vi.waitFor(() => expect(socket.sent.at(-1)).toEqual({ op: "like.send", d: { n: 5 } }));
  live.tell("x");
  expect(socket.sent.at(-1)).toEqual({ op: "x", d: {} });
  await live.close();
});

test("serverNow follows the greeting", async () => {
  const { live } = await joined({ now: () => 5_000 });
  expect(live.serverNow()).toBe(1_760_000_000_000);
  await live.close();
});

test("the page's events wake it up", async () => {
  const page = new EventTarget();
  const windowEvents = new EventTarget();
  vi.stubGlobal("document", Object.assign(page, { visibilityState: "visible" }));
  vi.stubGlobal("addEventListener", windowEvents.addEventListener.bind(windowEvents));
  vi.stubGlobal("removeEventListener", windowEvents.removeEventListener.bind(windowEvents));
  const { live, socket } = await joined({ random: () => 0.99 });
  socket.onclose?.({ code: 1006, reason: "" });
  expect(live.state.status).toBe("waiting");
  windowEvents.dispatchEvent(new Event("online"));
  expect(live.state.status).toBe("connecting");
  newest().welcome({ resumed: true });
  page.dispatchEvent(new Event("visibilitychange"));
  expect(newest().sent.at(-1).op).toBe("sys.ping");
  await live.close();
  const before = newest().sent.length;
  page.dispatchEvent(new Event("visibilitychange"));
  expect(newest().sent).toHaveLength(before);
});

test("HostRoom: thin commands, and further rooms with their own state and events", async () => {
  const host = new HostRoom({ ...OPTIONS, url: "ws://test/control" });
  const join = host.join();
  const socket = newest().welcome({ role: "host" });
  await join;
  void host.open({ title: "T" });
  expect(socket.sent.at(-1)).toMatchObject({ op: "room.open", d: { title: "T" } });
  socket.reply({ opened: true });
  void host.openPoll({ poll: "p" }).catch(() => {});
  expect(socket.sent.at(-1)).toMatchObject({ op: "poll.open", key: expect.any(String) });

  const pending = host.joinRoom("b", "tok");
  expect(socket.sent.at(-1)).toMatchObject({ op: "sys.join", d: { room: "b", token: "tok" } });
  socket.say(
    { room: "b" },
    { re: socket.sent.at(-1).id, d: greeting({ room: "b", states: [{ st: "likes", v: 1, d: 5 }] }) },
  );
  const side = await pending;
  const heard: unknown[] = [];
  side.on("x", (d) => heard.push(d));
  host.on("x", () => heard.push("main"));
  socket.say({ room: "b" }, { ev: "x", d: 1 });
  expect(heard).toEqual([1]);
  expect(side.state.states.get("likes")).toBe(5);
  void side.ask("room.mode").catch(() => {});
  expect(socket.sent.at(-1)).toMatchObject({ op: "room.mode", room: "b" });
  await expect(host.joinRoom("b")).rejects.toMatchObject({ code: "already_done" });

  const waiting = side.once("y");
  const left = host.leaveRoom("b");
  socket.reply({});
  await left;
  await expect(waiting).rejects.toMatchObject({ code: "closed" });
  await host.close();
});

test("HostRoom: what is watched is asked for anew, what is wanted no more is not", async () => {
  const host = new HostRoom({ ...OPTIONS, url: "ws://test/control" });
  const join = host.join();
  const socket = newest().welcome({ role: "host" });
  await join;
  const [stats, other] = [host.watchStats(), host.ask("other.watch", { on: true })];
  for (const { id } of socket.sent.slice(-2)) socket.say({ re: id, d: { watching: true } });
  await Promise.all([stats, other]);

  const off = host.watchStats(false);
  socket.onclose?.({ code: 1012, reason: "" });
  await expect(off).rejects.toMatchObject({ code: "closed" });
  while (newest() === socket) await new Promise((resolve) => setTimeout(resolve, 20));
  const next = newest().welcome({ role: "host" });

  expect(next.sent.map(({ op }) => op)).toEqual(["hello", "other.watch"]);
  await host.close();
});

test("a danmaku player is fed with text, never with markup", async () => {
  const { live, socket } = await joined();
  const shown: Comment[] = [];
  const stop = danmakuFeed(
    live,
    { emit: (comment) => shown.push(comment) },
    { accept: (d) => d.text !== "no" },
  );
  const say = (id: string, text: string, more: object = {}): void =>
    socket.say({
      ev: "danmaku",
      d: { id, user: { id: "bob", name: "Bob", role: "viewer" }, text, mode: "scroll", color: 0xff, ...more },
    });
  say("1", "<b>hi</b>");
  say("2", "top", { mode: "top", user: { id: "ann", name: "Ann", role: "viewer" } });
  say("3", "no");
  stop();
  say("4", "late");
  expect(shown).toMatchObject([
    { text: "<b>hi</b>", mode: "rtl", style: { color: "#0000ff" } },
    { text: "top", mode: "top", style: { border: "1px solid currentColor" } },
  ]);
  expect(shown[0]).not.toHaveProperty("html");

  const own: unknown[] = [];
  danmakuFeed(
    live,
    { emit: (comment: { text: string; mode: number }) => own.push(comment) },
    { engine: "canvas", perSecond: 1, comment: (d) => ({ text: d.text, mode: 0 }) },
  );
  say("5", "one");
  expect(own).toEqual([{ text: "one", mode: 0 }]);
  await live.close();
});
