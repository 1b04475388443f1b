/** What of the wire the console reads (docs/protocol.md and the features' documents). */

export type * from "../shared/shapes";

/** A message that waits for a moderator. */
export interface Held {
  id: string;
  kind: string;
  user: string;
  name: string;
  text: string;
  rules: string[];
  at_ms: number;
  until_ms: number;
}

/** Who may not speak, or not be here. */
export interface Sanction {
  user: string;
  name?: string;
  until_ms: number;
  by?: string;
  reason?: string;
}

export interface Alert {
  alert: string;
  status: "raised" | "acknowledged" | "resolved";
  name: string;
  severity: "info" | "warning" | "critical";
  text: string;
  since_ms: number;
  ended_ms?: number;
  ack?: { by: string; ms: number };
  act?: { op: string; code?: string; done?: boolean };
}

export type CueStatus = "waiting" | "due" | "fired" | "failed" | "skipped";

export interface CueStep {
  cue: string;
  status: CueStatus;
  due_ms?: number;
  fired_ms?: number;
  error?: { code: string; msg: string };
}

export interface Cue {
  cue: string;
  label?: string;
  op: string;
  at_s?: number;
  after?: string;
}

export interface Plan {
  title: string;
  status: string;
  version: number;
  started_ms?: number;
  cues: Cue[];
  progress: CueStep[];
}

export interface Stats {
  online: { now: number; peak: number; viewers: number };
  likes: number;
  said_per_s: Record<string, number>;
}

/** The figures of docs/counters.md: numbers, or null where there is nothing to divide by. */
export interface Counters {
  opened_ms: number;
  currency?: string;
  metrics: Record<string, number | null>;
}

export interface Dead {
  id: string;
  webhook: string;
  type: string;
  ts: number;
  attempts: number;
  why: string;
}
