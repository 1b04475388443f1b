// A host's, moderator's or assistant's connection: `/control`. Thin commands; what each needs and
// answers is in docs/activities/.

import type { AskOptions } from "./commands.js";
import { Emitter, type BodyOf, type Listener } from "./emitter.js";
import { LiveError } from "./errors.js";
import { LiveRoom, type LiveOptions, type TokenSource } from "./live.js";
import type { Greeting, RoomState, Unknown } from "./types.js";

/** What a room shows of itself. */
export interface RoomLook {
  title?: string;
  cover?: string;
  /** https address of what a player shows. */
  stream?: string;
  tags?: string[];
}

type Versioned = Pick<AskOptions, "ifVersion" | "key" | "room" | "signal" | "timeoutMs">;

/** A further room of a control connection: its own state, events and commands. */
export class SideRoom {
  readonly state: RoomState;
  readonly #host: LiveRoom;
  readonly #emitter: Emitter;

  constructor(host: LiveRoom, state: RoomState, emitter: Emitter) {
    this.#host = host;
    this.state = state;
    this.#emitter = emitter;
  }

  on<N extends string>(name: N, fn: Listener<BodyOf<N>>): () => void {
    return this.#emitter.on(name, fn);
  }

  off<N extends string>(name: N, fn: Listener<BodyOf<N>>): void {
    this.#emitter.off(name, fn);
  }

  once<N extends string>(name: N): Promise<BodyOf<N>> {
    return this.#emitter.once(name);
  }

  ask<R = Record<string, Unknown>>(op: string, d: object = {}, options: AskOptions = {}): Promise<R> {
    return this.#host.ask<R>(op, d, { ...options, room: this.state.room });
  }
}

/** A connection to `/control`: everything of a viewer's, and the hosts' commands. */
export class HostRoom extends LiveRoom {
  /** What was asked for by a `….watch`, by room: it is sent to a connection, not to a client. */
  readonly #watched = new Map<string, Set<string>>();

  constructor(options: Omit<LiveOptions, "url"> & { url?: string }) {
    super({ ...options, url: options.url ?? "/control" });
    this.on("sdk.greeting", () => this.#watchAgain(options.room));
  }

  /** As that of `LiveRoom`; a `….watch` is said again on every new connection. */
  override ask<R = Record<string, Unknown>>(
    op: string,
    d: object = {},
    options: AskOptions = {},
  ): Promise<R> {
    if (!op.endsWith(".watch")) return super.ask<R>(op, d, options);
    // Who wants it no more is heard though the connection and the answer are lost: with it ends the watch.
    if ((d as { on?: boolean }).on === false) this.#watched.get(options.room ?? this.state.room)?.delete(op);
    return super.ask<R>(op, d, options).then((answer) => {
      const { watching } = answer as { watching?: boolean };
      const ops = this.#watched.get(options.room ?? this.state.room) ?? new Set();
      this.#watched.set(options.room ?? this.state.room, ops);
      if (watching) ops.add(op);
      else ops.delete(op);
      return answer;
    });
  }

  #watchAgain(room: string): void {
    for (const op of this.#watched.get(room) ?? []) this.ask(op, { on: true }, { room }).catch(() => {});
  }

  // Further rooms.

  /** Come into one more room; `token` may be left out where the hello's is for it too. After a reconnect it is joined again, from its position. */
  joinRoom(room: string, token?: TokenSource): Promise<SideRoom> {
    if (this.session.hasRoom(room))
      return Promise.reject(new LiveError("already_done", `this connection is in ${room} already`));
    const emitter = new Emitter();
    emitter.on("sdk.greeting", () => this.#watchAgain(room));
    this.emitters.set(room, emitter);
    this.tokens.set(room, token);
    return new Promise((resolve, reject) => {
      const done = (answer: Greeting | LiveError): void => {
        if (!(answer instanceof LiveError)) return resolve(side);
        this.#forget(room);
        reject(answer);
      };
      let side: SideRoom;
      this.act(() => {
        side = new SideRoom(this, this.session.join(room, done), emitter);
      });
    });
  }

  /** Leave one of the further rooms. */
  async leaveRoom(room: string): Promise<void> {
    const left = this.ask("sys.leave", { room });
    this.act(() => this.session.leave(room));
    this.#forget(room);
    await left.catch((error: LiveError) => {
      if (error.code !== "closed") throw error; // without a connection there is nothing to leave
    });
  }

  #forget(room: string): void {
    this.emitters.get(room)?.end(new LiveError("closed", "the room was left"));
    this.emitters.delete(room);
    this.tokens.delete(room);
    this.#watched.delete(room);
  }

  // The room.

  open(look: RoomLook = {}): Promise<{ opened: boolean }> {
    return this.ask("room.open", look);
  }

  update(look: RoomLook, options?: Versioned): Promise<object> {
    return this.ask("room.update", look, options);
  }

  /** Close the room: viewers stay connected, nothing more can be sent. */
  closeRoom(): Promise<object> {
    return this.ask("room.close");
  }

  mode(
    change: { talk?: "all" | "hosts"; like?: boolean; gift?: boolean },
    options?: Versioned,
  ): Promise<{ talk: string; like: boolean; gift: boolean }> {
    return this.ask("room.mode", change, options);
  }

  catalogue(gifts: { id: string; name: string; price: number }[], options?: Versioned): Promise<object> {
    return this.ask("gift.catalogue", { gifts }, options);
  }

  /** Show a notice; an empty text takes it away. */
  notice(
    text: string,
    more: { level?: "info" | "warn"; seconds?: number } = {},
    options?: Versioned,
  ): Promise<{ until_ms: number }> {
    return this.ask("notice.set", { text, ...more }, options);
  }

  /** Be sent the room's figures once a second, as the event `stats`. */
  watchStats(on = true): Promise<{ watching: boolean }> {
    return this.ask("stats.watch", { on });
  }

  // The shelf.

  putItem(item: object, options?: Versioned): Promise<{ changed: boolean; added: boolean }> {
    return this.ask("shelf.put", item, options);
  }

  removeItem(item: string, options?: Versioned): Promise<object> {
    return this.ask("shelf.remove", { item }, options);
  }

  /** Say which item is explained now; null: none. */
  pin(item: string | null, options?: Versioned): Promise<{ changed: boolean }> {
    return this.ask("shelf.pin", { item }, options);
  }

  // Activities.

  armFlash(sale: object, options?: Versioned): Promise<Record<string, Unknown>> {
    return this.ask("flash.arm", sale, options);
  }

  startFlash(sku: string): Promise<Record<string, Unknown>> {
    return this.ask("flash.start", { sku });
  }

  stopFlash(sku: string): Promise<Record<string, Unknown>> {
    return this.ask("flash.stop", { sku });
  }

  openPoll(
    poll: object,
    options?: Versioned,
  ): Promise<{ poll: string; opened: boolean; status: string; ends_ms: number }> {
    return this.ask("poll.open", poll, options);
  }

  closePoll(poll: string): Promise<{ poll: string; tally: number[]; voters: number; by: string }> {
    return this.ask("poll.close", { poll });
  }

  openQuiz(quiz: object, options?: Versioned): Promise<{ quiz: string; opened: boolean; ends_ms: number }> {
    return this.ask("quiz.open", quiz, options);
  }

  closeQuiz(quiz: string): Promise<Record<string, Unknown>> {
    return this.ask("quiz.close", { quiz });
  }

  openLottery(lottery: object, options?: Versioned): Promise<Record<string, Unknown>> {
    return this.ask("lottery.open", lottery, options);
  }

  dropCoupons(drop: object, options?: Versioned): Promise<Record<string, Unknown>> {
    return this.ask("coupon.drop", drop, options);
  }

  sendPacket(packet: object, options?: Versioned): Promise<Record<string, Unknown>> {
    return this.ask("redpacket.send", packet, options);
  }

  /** Mark a question as answered. */
  answerQuestion(question: number, text?: string): Promise<{ question: number; took_ms: number }> {
    return this.ask("qa.answer", { question, ...(text === undefined ? {} : { text }) });
  }
}
