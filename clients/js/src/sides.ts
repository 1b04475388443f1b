// Further rooms of a control connection: `sys.join`, docs/protocol.md section 13. Joined again
// after every reconnect, each from its own position.

import type { Alarms } from "./clock.js";
import type { Dialer, Link } from "./dialer.js";
import { LiveError } from "./errors.js";
import { answerOf, greetingOf } from "./items.js";
import type { News } from "./news.js";
import type { Port } from "./port.js";
import { RoomTrack } from "./room.js";
import type { Greeting, Item } from "./types.js";
import type { Wire } from "./wire.js";

const AGAIN_MS = 1_000;

interface Side {
  readonly track: RoomTrack;
  joined: boolean;
  /** Told of the first greeting, or why there is none; then undefined. */
  first: ((answer: Greeting | LiveError) => void) | undefined;
}

export class Sides {
  readonly #sides = new Map<string, Side>();
  readonly #port: Port;
  readonly #alarms: Alarms;
  readonly #dialer: Dialer;
  readonly #wire: Wire;
  readonly #news: News;

  constructor(parts: { port: Port; alarms: Alarms; dialer: Dialer; wire: Wire; news: News }) {
    this.#port = parts.port;
    this.#alarms = parts.alarms;
    this.#dialer = parts.dialer;
    this.#wire = parts.wire;
    this.#news = parts.news;
  }

  track(room: string): RoomTrack | undefined {
    return this.#sides.get(room)?.track;
  }

  get tracks(): RoomTrack[] {
    return [...this.#sides.values()].map((side) => side.track);
  }

  /** Whether commands about a room may be sent now. */
  isJoined(room: string): boolean {
    return this.#sides.get(room)?.joined === true;
  }

  /** Come into a room, now or as soon as there is a connection. */
  add(room: string, first: (answer: Greeting | LiveError) => void): RoomTrack {
    const side: Side = { track: new RoomTrack(room), joined: false, first };
    this.#sides.set(room, side);
    if (this.#dialer.live) this.#join(this.#dialer.live, side);
    return side.track;
  }

  /** Forget a room. */
  delete(room: string, error = new LiveError("closed", "the room was left", { op: "sys.join" })): void {
    const side = this.#sides.get(room);
    this.#sides.delete(room);
    this.#alarms.drop(`join:${room}`);
    side?.first?.(error);
  }

  /** Take that the connection is gone. */
  lost(): void {
    for (const side of this.#sides.values()) {
      side.joined = false;
      this.#alarms.drop(`join:${side.track.room}`);
    }
  }

  /** Come into all rooms over a new connection. */
  joinAll(link: Link): void {
    this.lost();
    for (const side of this.#sides.values()) this.#join(link, side);
  }

  #join(link: Link, side: Side): void {
    const { room } = side.track;
    this.#port.token(room, (token) => {
      if (link.stage !== "live" || this.#sides.get(room) !== side) return;
      if (token instanceof Error)
        return this.#refused(link, side, new LiveError("unavailable", token.message, { op: "sys.join" }));
      const d = { room, token, resume: side.track.position };
      this.#wire.ask(link, { op: "sys.join", d, done: (reply) => this.#answered(link, side, reply) });
    });
  }

  #answered(link: Link, side: Side, reply: Item): void {
    const greeting = greetingOf(reply["d"]);
    if (!greeting) {
      const answer = answerOf(reply, "sys.join");
      this.#refused(
        link,
        side,
        "error" in answer
          ? answer.error
          : new LiveError("bad_reply", "the greeting has no known shape", { op: "sys.join" }),
      );
      return;
    }
    const { first } = side;
    side.joined = true;
    side.first = undefined;
    this.#news.greet(side.track, greeting);
    first?.(greeting);
  }

  #refused(link: Link, side: Side, error: LiveError): void {
    const { room } = side.track;
    if (error.again)
      this.#alarms.set(`join:${room}`, this.#port.now() + (error.retryMs ?? AGAIN_MS), () =>
        this.#join(link, side),
      );
    else {
      if (!side.first) this.#news.report(error, side.track);
      this.delete(room, error);
    }
  }
}
