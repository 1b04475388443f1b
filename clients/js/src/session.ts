// The protocol without I/O: what came in, what goes out, when to be woken. One object for the
// whole life of a client, over all its connections.

import { Calls, commandOf, type Call } from "./calls.js";
import { Alarms, ServerClock } from "./clock.js";
import { isRecord } from "./codec.js";
import { closeOf, type Close } from "./codes.js";
import { Dialer, type DialerHost, type Link } from "./dialer.js";
import { LiveError } from "./errors.js";
import { Inbox } from "./inbox.js";
import { answerOf, greetingOf, type Answer } from "./items.js";
import { News } from "./news.js";
import type { Port, SessionOptions } from "./port.js";
import { Resumer } from "./resumer.js";
import { LiveTrack, type RoomTrack } from "./room.js";
import { Sides } from "./sides.js";
import type { Greeting, Item, Status } from "./types.js";
import { Wire } from "./wire.js";

const HELLO_MS = 10_000;
const PING_MS = 10_000;
const SLOW_TRIP_MS = 300;
const LIKES_KEPT = 1000;
const LIKES_AT_ONCE = 100;
const NOT_JOINED_MS = 500;

/** How a command is to be sent. */
export interface CallOptions {
  key?: string | undefined;
  room?: string | undefined;
  timeoutMs?: number | undefined;
}

export class Session {
  readonly state: LiveTrack;
  readonly clock = new ServerClock();
  readonly #options: SessionOptions;
  readonly #port: Port;
  readonly #alarms = new Alarms();
  readonly #calls: Calls;
  readonly #dialer: Dialer;
  readonly #wire: Wire;
  readonly #news: News;
  readonly #sides: Sides;
  readonly #resumer: Resumer;
  readonly #inbox: Inbox;
  #likes = 0;

  constructor(options: SessionOptions, port: Port) {
    const { encoding, replyTimeoutMs } = options;
    const main = new LiveTrack(options.room);
    this.state = main;
    this.#options = options;
    this.#port = port;
    this.#calls = new Calls(replyTimeoutMs, () => port.random());
    this.#dialer = new Dialer(this.#host());
    this.#wire = new Wire(encoding, replyTimeoutMs, port, this.#alarms, this.#dialer);
    this.#news = new News(port, main);
    const parts = {
      port,
      main,
      alarms: this.#alarms,
      dialer: this.#dialer,
      wire: this.#wire,
      news: this.#news,
    };
    this.#sides = new Sides(parts);
    this.#resumer = new Resumer(parts);
    const onReply = (item: Item): void => this.#onReply(item);
    this.#inbox = new Inbox({ ...parts, encoding, sides: this.#sides, resumer: this.#resumer, onReply });
  }

  // Time.

  /** When `wake` has something to do, local ms; infinite: nothing. */
  get nextWake(): number {
    return Math.min(this.#alarms.next, this.#calls.next(this.#dialer.live !== undefined));
  }

  /** Do what is due. */
  wake(): void {
    const now = this.#port.now();
    this.#alarms.ring(now);
    for (const call of this.#calls.due(now)) this.#sendCall(call);
  }

  // The life of the connection.

  /** Begin to connect; after the end: anew. */
  start(): void {
    if (this.state.status !== "idle" && this.state.status !== "ended") return;
    this.state.attempt = 0;
    this.#dialer.dial();
  }

  /** End it: nothing comes any more, what waits has failed. */
  stop(code: number): void {
    if (this.state.status === "ended") return;
    this.#sendLikes();
    this.#dialer.end(closeOf(1000), undefined, code);
  }

  /** The network is back, or the page is looked at again: do not wait for timers. */
  nudge(): void {
    this.#dialer.hurry();
    if (this.#dialer.live) this.#ping(this.#dialer.live);
  }

  /** A connection is open. */
  opened(id: number): void {
    const link = this.#dialer.find(id);
    if (link) this.#dialer.opened(link);
  }

  /** A message came. */
  receive(id: number, data: unknown): void {
    const link = this.#dialer.find(id);
    if (!link) return;
    link.heard = this.#port.now();
    this.#inbox.receive(link, data);
  }

  /** A connection is closed, by the other side or by accident. */
  closed(id: number, code: number, reason: string, httpStatus?: number): void {
    const link = this.#dialer.find(id);
    if (link) this.#dialer.closed(link, code, reason, httpStatus);
  }

  #host(): DialerHost {
    const { state } = this;
    const port = this.#port;
    return {
      state,
      alarms: this.#alarms,
      now: () => port.now(),
      random: () => port.random(),
      fetchToken: (take) => port.token(state.room, take),
      renewsToken: () => port.renewsToken(state.room),
      open: (link) => port.open(link.id),
      shut: (link, code) => port.shut(link.id, code),
      sayHello: (link) => this.#sayHello(link),
      setStatus: (status, retryAt) => this.#setStatus(status, retryAt),
      lost: (link) => this.#lost(link),
      ended: (close, refusal) => this.#ended(close, refusal),
      failed: (error) => this.#news.report(error),
    };
  }

  #setStatus(status: Status, retryAt?: number): void {
    const { state } = this;
    state.status = status;
    if (retryAt === undefined) delete state.retryAt;
    else state.retryAt = retryAt;
    this.#news.emit(state, "sdk.status", state);
  }

  #lost(link: Link): void {
    this.#wire.drop(link);
    this.#calls.lost(link.id);
    if (this.#dialer.live) return;
    this.#alarms.drop("silence");
    this.#alarms.drop("measure");
    this.#sides.lost();
    for (const track of this.#tracks) this.#resumer.stop(track);
  }

  #ended(close: Close, refusal: LiveError | undefined): void {
    const values = { close: close.code, name: close.name };
    const error = refusal ?? new LiveError("closed", close.text, { op: "hello", values });
    this.#likes = 0;
    this.#calls.failAll(close.text);
    for (const { room } of this.#sides.tracks) this.#sides.delete(room, error);
    this.#setStatus("ended");
    this.#port.ended(error);
  }

  // Hello.

  #sayHello(link: Link): void {
    const { room, client, source } = this.#options;
    const sentAt = this.#port.now();
    const d = { room, token: link.token, client, source, resume: this.state.position };
    this.#wire.ask(link, { op: "hello", d, limitMs: HELLO_MS, done: (reply) => this.#onHello(link, reply, sentAt) });
  }

  #onHello(link: Link, reply: Item, sentAt: number): void {
    const greeting = greetingOf(reply["d"]);
    if (greeting) return this.#welcome(link, greeting, sentAt);
    const answer = answerOf(reply, "hello");
    const error =
      "error" in answer
        ? answer.error
        : new LiveError("bad_reply", "the greeting has no known shape", { op: "hello" });
    this.#dialer.refused(link, error);
  }

  #welcome(link: Link, greeting: Greeting, sentAt: number): void {
    const tookOver = this.#dialer.greeted(link);
    if (!tookOver) this.clock.renew(); // the machine may have slept
    this.clock.sample(sentAt, this.#port.now(), greeting.now);
    for (const old of this.#dialer.retiring) this.#wire.drop(old);
    for (const track of this.#tracks) this.#resumer.stop(track);
    this.#listen(link);
    this.#news.greet(this.state, greeting, () => this.#setStatus("live"));
    this.#port.greeted(greeting);
    if (link.stage !== "live") return; // a listener has closed it
    this.#sides.joinAll(link);
    this.#sendLikes();
    this.#releaseRetired();
    if (this.clock.trip > SLOW_TRIP_MS) this.#measureLater(link);
  }

  // Further rooms.

  /** Bring a control connection into one more room. */
  join(room: string, first: (answer: Greeting | LiveError) => void): RoomTrack {
    const track = this.#sides.add(room, first);
    if (this.state.status === "ended") this.leave(room);
    return track;
  }

  /** Forget a further room; its commands have failed. */
  leave(room: string): void {
    const track = this.#sides.track(room);
    if (!track) return;
    this.#resumer.stop(track);
    this.#sides.delete(room);
    this.#calls.failAll("the room was left", room);
  }

  hasRoom(room: string): boolean {
    return room === this.state.room || this.#sides.track(room) !== undefined;
  }

  get #tracks(): RoomTrack[] {
    return [this.state, ...this.#sides.tracks];
  }

  // Silence, and the server's clock.

  #listen(link: Link): void {
    this.#alarms.set("silence", link.heard + this.#options.heartbeatMs, () => this.#onSilence(link));
  }

  #onSilence(link: Link): void {
    if (link.stage !== "live") return;
    const silent = this.#port.now() - link.heard >= this.#options.heartbeatMs;
    if (silent) this.#ping(link);
    const from = silent ? this.#port.now() : link.heard;
    this.#alarms.set("silence", from + this.#options.heartbeatMs, () => this.#onSilence(link));
  }

  #ping(link: Link): void {
    const sentAt = this.#port.now();
    const done = (reply: Item): void => {
      const now = isRecord(reply["d"]) ? reply["d"]["now"] : undefined;
      if (typeof now === "number") this.clock.sample(sentAt, this.#port.now(), now);
    };
    this.#wire.ask(link, { op: "sys.ping", limitMs: PING_MS, done });
  }

  // A slow hello (many join at once) is a bad measure of the clocks: once more, when it is calmer.
  #measureLater(link: Link): void {
    const at = this.#port.now() + 1000 + this.#port.random() * 5000;
    this.#alarms.set("measure", at, () => {
      if (link.stage === "live") this.#ping(link);
    });
  }

  // Commands.

  /** Send a command; `done` is called once with its answer. Returns its number, for `forget`. */
  ask(op: string, d: object, options: CallOptions, done: (answer: Answer) => void): number {
    const call = this.#call(op, d, options, done);
    this.#calls.add(call);
    if (this.state.status === "ended") this.#calls.fail(call, "closed", "the connection has ended");
    else if (call.room !== undefined && !this.hasRoom(call.room))
      this.#calls.fail(call, "not_found", "expected a room that was joined");
    else if (this.#mayAsk(call)) this.#sendCall(call);
    else if (call.key === undefined) this.#calls.fail(call, "closed", "there is no connection now");
    return call.id;
  }

  #call(op: string, d: object, { key, room, timeoutMs }: CallOptions, done: Call["done"]): Call {
    const patience = timeoutMs ?? (key === undefined ? this.#options.replyTimeoutMs : Infinity);
    const until = this.#port.now() + patience;
    const at = room === this.state.room ? undefined : room;
    return { id: this.#wire.nextId(), op, d, key, room: at, until, done, link: 0, again: 0, tries: 0 };
  }

  /** Forget a command: its answer is not waited for any more. */
  forget(id: number): void {
    this.#calls.forget(id);
    this.#releaseRetired();
  }

  /** Send a command whose reply nobody wants; without a connection it is not sent. */
  tell(op: string, d: object): void {
    const { live } = this.#dialer;
    const fault = live && this.#wire.post(live, { op, d });
    if (fault) this.#news.report(new LiveError("bad_request", fault, { op }));
  }

  /** Like the room `n` times; taps are gathered into one command. */
  like(n: number): void {
    if (!(n >= 1)) return;
    this.#likes = Math.min(this.#likes + Math.floor(n), LIKES_KEPT);
    if (this.#alarms.has("likes")) return;
    this.#alarms.set("likes", this.#port.now() + this.#options.likeEveryMs, () => this.#sendLikes());
  }

  #sendLikes(): void {
    while (this.#dialer.live && this.#likes > 0) {
      const n = Math.min(this.#likes, LIKES_AT_ONCE);
      this.#likes -= n;
      this.tell("like.send", { n });
    }
  }

  #mayAsk(call: Call): boolean {
    return this.#dialer.live !== undefined && (call.room === undefined || this.#sides.isJoined(call.room));
  }

  #sendCall(call: Call): void {
    const { live } = this.#dialer;
    if (!live) return;
    const now = this.#port.now();
    if (!this.#mayAsk(call)) {
      call.again = now + NOT_JOINED_MS;
      return;
    }
    this.#calls.sent(call, live.id, now);
    const fault = this.#wire.post(live, commandOf(call));
    if (fault) this.#calls.fail(call, "bad_request", fault);
  }

  #onReply(item: Item): void {
    this.#calls.answer(item, this.#port.now());
    this.#releaseRetired();
  }

  // Old connections that have answered everything are closed.
  #releaseRetired(): void {
    for (const link of this.#dialer.retiring) if (!this.#calls.waitsOn(link.id)) this.#dialer.dismiss(link);
  }
}
