// What listeners are told: events, changed states, greetings, faults.

import type { Port } from "./port.js";
import type { LiveTrack, RoomTrack } from "./room.js";
import type { Greeting, Item, StateChange, StateItem } from "./types.js";

export class News {
  readonly #port: Port;
  readonly #main: LiveTrack;

  constructor(port: Port, main: LiveTrack) {
    this.#port = port;
    this.#main = main;
  }

  emit(track: RoomTrack, name: string, d: unknown, item?: Item): void {
    this.#port.emit(track.room, name, d, item);
  }

  /** Something failed that no promise tells of. */
  report(error: Error, track: RoomTrack = this.#main): void {
    this.emit(track, "sdk.error", { error });
  }

  /** Something came that could not be understood. */
  junk(error: Error): void {
    this.#main.junk += 1;
    this.report(error);
  }

  /** Take a greeting into a room. */
  greet(track: RoomTrack, greeting: Greeting, before: () => void = () => {}): void {
    const changes = track.greet(greeting);
    before();
    this.emit(track, "sdk.greeting", greeting);
    if (!greeting.resumed) this.emit(track, "sdk.reset", greeting);
    for (const change of changes) this.#tell(track, change);
  }

  /** Take a state into a room. */
  state(track: RoomTrack, item: StateItem): void {
    const change = track.state(item);
    if (change) this.#tell(track, change);
  }

  // `stock:sku-1` is told as `sdk.state`, `state:stock:sku-1` and `state:stock`.
  #tell(track: RoomTrack, change: StateChange): void {
    const colon = change.key.indexOf(":");
    this.emit(track, "sdk.state", change);
    this.emit(track, `state:${change.key}`, change);
    if (colon >= 0) this.emit(track, `state:${change.key.slice(0, colon)}`, change);
  }
}
