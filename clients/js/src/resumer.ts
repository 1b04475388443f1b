// Asking for what is missing on a live connection: `sys.resume`, docs/protocol.md section 6.

import { backoffMs } from "./backoff.js";
import type { Alarms } from "./clock.js";
import type { Dialer } from "./dialer.js";
import { answerOf, greetingOf } from "./items.js";
import type { News } from "./news.js";
import type { Port } from "./port.js";
import type { LiveTrack, RoomTrack } from "./room.js";
import type { Item } from "./types.js";
import type { Wire } from "./wire.js";

const REFUSED_MS = 1_000;

export class Resumer {
  readonly #port: Port;
  readonly #alarms: Alarms;
  readonly #dialer: Dialer;
  readonly #wire: Wire;
  readonly #news: News;
  readonly #main: LiveTrack;

  constructor(parts: {
    port: Port;
    alarms: Alarms;
    dialer: Dialer;
    wire: Wire;
    news: News;
    main: LiveTrack;
  }) {
    this.#port = parts.port;
    this.#alarms = parts.alarms;
    this.#dialer = parts.dialer;
    this.#wire = parts.wire;
    this.#news = parts.news;
    this.#main = parts.main;
  }

  /** Ask for what is missing; a server that never sends it is asked ever more slowly. */
  start(track: RoomTrack): void {
    if (track.resuming) return;
    track.resuming = true;
    const wait = track.tries === 0 ? 0 : backoffMs(track.tries, this.#port.random());
    track.tries += 1;
    if (wait === 0) this.#send(track);
    else this.#later(track, wait);
  }

  /** Stop asking: a greeting has come, or there is no connection. */
  stop(track: RoomTrack): void {
    track.resuming = false;
    this.#alarms.drop(`resume:${track.room}`);
  }

  #later(track: RoomTrack, ms: number): void {
    track.resuming = true;
    this.#alarms.set(`resume:${track.room}`, this.#port.now() + ms, () => this.#send(track));
  }

  #send(track: RoomTrack): void {
    const link = this.#dialer.live;
    if (!link) return;
    const room = track === this.#main ? undefined : track.room;
    this.#wire.ask(link, {
      op: "sys.resume",
      d: { resume: track.position },
      room,
      done: (reply) => this.#answered(track, reply),
    });
  }

  #answered(track: RoomTrack, reply: Item): void {
    track.resuming = false;
    const greeting = greetingOf(reply["d"]);
    if (greeting?.resumed && track.position === undefined)
      this.#later(track, 0); // a sys.gap has overtaken it
    else if (greeting) this.#news.greet(track, greeting);
    else {
      const answer = answerOf(reply, "sys.resume");
      this.#later(track, ("error" in answer ? answer.error.retryMs : undefined) ?? REFUSED_MS);
    }
  }
}
