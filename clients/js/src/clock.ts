// Time: the server's clock as seen from here, and alarms without timers.

const FRESH_MS = 10 * 60_000;

/** The server's clock: the offset of the shortest round trip of the last ten minutes. */
export class ServerClock {
  #offset = 0;
  #trip = Infinity;
  #at = 0;

  /** Take a reply `{now}` to what was sent at `sentAt` and answered at `at`, local ms. */
  sample(sentAt: number, at: number, serverMs: number): void {
    const trip = at - sentAt;
    if (trip > this.#trip && at - this.#at < FRESH_MS) return;
    this.#offset = serverMs - (sentAt + trip / 2);
    this.#trip = trip;
    this.#at = at;
  }

  /** Forget how good the last sample was: the next one counts. A new connection may follow a sleep. */
  renew(): void {
    this.#trip = Infinity;
  }

  /** Round trip of the sample in use, ms; infinite before the first. */
  get trip(): number {
    return this.#trip;
  }

  /** Server's Unix ms at a local time. */
  at(localMs: number): number {
    return Math.round(localMs + this.#offset);
  }
}

/** Named alarms: who drives them asks when the first is due. */
export class Alarms {
  readonly #alarms = new Map<string, { at: number; ring: () => void }>();

  /** Set an alarm, or move it. */
  set(name: string, at: number, ring: () => void): void {
    this.#alarms.set(name, { at, ring });
  }

  has(name: string): boolean {
    return this.#alarms.has(name);
  }

  /** When an alarm is due, if it is set. */
  at(name: string): number | undefined {
    return this.#alarms.get(name)?.at;
  }

  drop(name: string): void {
    this.#alarms.delete(name);
  }

  clear(): void {
    this.#alarms.clear();
  }

  /** When the first is due; infinite if there is none. */
  get next(): number {
    let first = Infinity;
    for (const { at } of this.#alarms.values()) if (at < first) first = at;
    return first;
  }

  /** Ring what is due, each once, the earliest first. */
  ring(now: number): void {
    const due = [...this.#alarms].filter(([, alarm]) => alarm.at <= now).sort((a, b) => a[1].at - b[1].at);
    for (const [name, alarm] of due) {
      if (this.#alarms.get(name) !== alarm) continue; // an earlier one dropped or moved it
      this.#alarms.delete(name);
      alarm.ring();
    }
  }
}
