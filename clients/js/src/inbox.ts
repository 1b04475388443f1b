// What comes in on a connection: messages to items, items to replies, states and events.

import { reconnectMs } from "./backoff.js";
import { decodeItems, isRecord, type Encoding } from "./codec.js";
import type { Dialer, Link } from "./dialer.js";
import { CodecError } from "./errors.js";
import { answerOf, kindOf } from "./items.js";
import type { News } from "./news.js";
import type { Port } from "./port.js";
import type { Resumer } from "./resumer.js";
import type { LiveTrack, RoomTrack } from "./room.js";
import type { Sides } from "./sides.js";
import type { EventItem, Item, StateItem } from "./types.js";
import type { Wire } from "./wire.js";

/** Close code for a server that cannot be understood. */
const CLOSE_JUNK = 4002;
const LONGEST_MS = 3_600_000;

interface Parts {
  encoding: Encoding;
  port: Port;
  main: LiveTrack;
  dialer: Dialer;
  wire: Wire;
  news: News;
  sides: Sides;
  resumer: Resumer;
  /** Take the reply to a caller's command. */
  onReply: (item: Item) => void;
}

type Handler = (track: RoomTrack, item: EventItem, link: Link) => void;

export class Inbox {
  readonly #parts: Parts;
  readonly #system: ReadonlyMap<string, Handler>;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#system = new Map<string, Handler>([
      ["sys.shed", (track, item) => track.addShed(item.d)],
      ["sys.gap", (track) => this.#onGap(track)],
      ["sys.reconnect", (_, item) => this.#onReconnect(item)],
      ["sys.token", (_track, _item, link) => this.#onToken(link)],
    ]);
  }

  /** Take a message. One that cannot be read ends the connection: what it held is asked for again. */
  receive(link: Link, data: unknown): void {
    const { dialer, encoding, news } = this.#parts;
    try {
      this.#items(link, decodeItems(encoding, data));
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      news.junk(error);
      dialer.abandon(link, CLOSE_JUNK, "a message could not be read");
    }
  }

  #items(link: Link, items: Item[]): void {
    const { main, news } = this.#parts;
    let track: RoomTrack | undefined = main;
    for (const item of items) {
      if (link.stage === "gone") return; // a listener has closed it
      const kind = kindOf(item);
      if (kind === "room") track = this.#trackOf(item["room"] as string);
      news.emit(track ?? main, "sdk.raw", item);
      if (kind === "reply") this.#onReply(link, item);
      else if (kind === "junk") news.junk(new CodecError("an item is not of its shape"));
      else if (link.stage === "live" && track) this.#onNews(link, track, item, kind);
    }
  }

  #trackOf(room: string): RoomTrack | undefined {
    const { main, sides } = this.#parts;
    return room === main.room ? main : sides.track(room);
  }

  #onReply(link: Link, item: Item): void {
    const id = item["re"] as number | null;
    if (id === null) this.#onRefusal(item);
    else if (!this.#parts.wire.answered(link, id, item)) this.#parts.onReply(item);
  }

  // A refusal of a command without a number: of likes, of what was told.
  #onRefusal(item: Item): void {
    const answer = answerOf(item);
    if ("error" in answer) this.#parts.news.report(answer.error);
  }

  #onNews(link: Link, track: RoomTrack, item: Item, kind: "state" | "event" | "room" | "unknown"): void {
    if (kind === "state") this.#parts.news.state(track, item as unknown as StateItem);
    else if (kind === "event") this.#onEvent(link, track, item as unknown as EventItem & Item);
  }

  #onEvent(link: Link, track: RoomTrack, item: EventItem & Item): void {
    const system = this.#system.get(item.ev);
    if (system) system(track, item, link);
    else if (item.seq === undefined ? track.isRepeated(item) : !this.#isNext(track, item.seq, item.sub ?? 0))
      return;
    this.#parts.news.emit(track, item.ev, item.d, item);
  }

  #isNext(track: RoomTrack, seq: number, sub: number): boolean {
    if (track.position === undefined) return false; // after sys.gap, until its answer
    const verdict = track.durable(seq, sub);
    if (verdict === "gap") this.#parts.resumer.start(track);
    return verdict === "apply";
  }

  #onGap(track: RoomTrack): void {
    track.forget();
    this.#parts.resumer.start(track);
  }

  #onReconnect({ d }: EventItem): void {
    const { dialer, port } = this.#parts;
    const { after_ms, spread_ms } = isRecord(d) ? d : {};
    dialer.moveAt(port.now() + reconnectMs(msOf(after_ms), msOf(spread_ms), port.random()));
  }

  // It does not say which room's token ends: the connection ends with the first.
  #onToken(link: Link): void {
    const { main, port, sides } = this.#parts;
    for (const track of [main, ...sides.tracks]) if (port.renewsToken(track.room)) this.#renew(track, link);
  }

  #renew(track: RoomTrack, link: Link): void {
    const { news, port } = this.#parts;
    port.token(track.room, (token) => {
      if (token instanceof Error) news.report(token, track);
      else if (token !== undefined && link.stage === "live") this.#sendToken(track, link, token);
    });
  }

  #sendToken(track: RoomTrack, link: Link, token: string): void {
    const { main, news, wire } = this.#parts;
    const room = track === main ? undefined : track.room;
    const done = (reply: Item): void => {
      const answer = answerOf(reply, "sys.token");
      if ("error" in answer) news.report(answer.error, track);
    };
    wire.ask(link, { op: "sys.token", d: { token }, room, done });
  }
}

function msOf(value: unknown): number {
  return typeof value === "number" && value >= 0 ? Math.min(value, LONGEST_MS) : 0;
}
