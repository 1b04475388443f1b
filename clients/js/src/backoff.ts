// When to come back: docs/protocol.md section 11. `random` is in [0, 1); delays in ms.

const BASE_MS = 500;
const CAP_MS = 30_000;

/** Full jitter: anything between nothing and a bound that doubles with each attempt (from 0). */
export function backoffMs(attempt: number, random: number): number {
  return Math.round(random * Math.min(CAP_MS, BASE_MS * 2 ** attempt));
}

/** Delay after `sys.reconnect`. */
export function reconnectMs(afterMs: number, spreadMs: number, random: number): number {
  return Math.round(afterMs + random * spreadMs);
}
