// Position rules of docs/protocol.md section 6.

import type { Position } from "./types.js";

/** What to do with a durable event: process it, drop it (seen before), or ask for what is missing. */
export type Verdict = "apply" | "drop" | "gap";

/** Order of two positions: below 0, 0, above 0; undefined for positions of two epochs. */
export function compare(a: Position, b: Position): number | undefined {
  if (a.epoch !== b.epoch) return undefined;
  return Math.sign(a.seq - b.seq || a.sub - b.sub);
}

/** Judge the event (seq, sub) for one who stands at a position. */
export function judge(at: Position, seq: number, sub: number): Verdict {
  if (seq < at.seq || (seq === at.seq && sub <= at.sub)) return "drop";
  const next = sub === 0 ? at.seq + 1 : at.seq;
  return seq === next ? "apply" : "gap";
}
