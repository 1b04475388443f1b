/** Asks the ops listener once a second and remembers five minutes. */

import { FIGURES } from "./board";
import { parse } from "./exposition";
import type { Moment } from "./figures";

/** The answer of `/status`. */
export interface Status {
  version: string;
  uptime_s: number;
  ready: boolean;
  stopping: boolean;
  durability: string | null;
  workers: WorkerStatus[];
  store?: { up: boolean; restarts: number };
}

export interface WorkerStatus {
  worker: number;
  ready: boolean;
  reasons: string[];
  durability: string | null;
  restarts: number;
}

/** A point of a curve: when, and what, if it was known. */
export type Point = readonly [at: number, value: number | undefined];

export interface View {
  status: Status | undefined;
  /** Since when the engine has not answered; 0 while it does. */
  silentSince: number;
  moments: readonly Moment[];
  curves: ReadonlyMap<string, readonly Point[]>;
}

export const KEPT_MS = 300_000;
const EVERY_MS = 1_000;
const PATIENCE_MS = 5_000;
const COMPARED_MS = 20_000;

/** Call `show` with a new view every second, for as long as the page is open. */
export async function watch(show: (view: View) => void): Promise<never> {
  let view: View = { status: undefined, silentSince: 0, moments: [], curves: new Map() };
  for (;;) {
    const began = Date.now();
    if (!document.hidden) {
      view = await look(view, began);
      show(view);
    }
    await new Promise((done) => setTimeout(done, Math.max(0, began + EVERY_MS - Date.now())));
  }
}

async function look(view: View, now: number): Promise<View> {
  try {
    const [status, metrics] = await Promise.all([ask("status"), ask("metrics")]);
    const moment = { at: now, samples: parse(await metrics.text()) };
    const moments = [...view.moments, moment].filter(({ at }) => at > now - COMPARED_MS);
    const curves = longer(view.curves, now, (name) => valueOf(name, moments));
    return { status: (await status.json()) as Status, silentSince: 0, moments, curves };
  } catch {
    const curves = longer(view.curves, now, () => undefined);
    return { ...view, silentSince: view.silentSince || now, curves };
  }
}

async function ask(path: string): Promise<Response> {
  const response = await fetch(`/${path}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

function valueOf(name: string, moments: readonly Moment[]): number | undefined {
  return FIGURES.find((figure) => figure.name === name)?.of(moments);
}

function longer(
  curves: View["curves"], now: number, value: (name: string) => number | undefined,
): View["curves"] {
  const entries = FIGURES.map(({ name }): [string, Point[]] => {
    const kept = (curves.get(name) ?? []).filter(([at]) => at > now - KEPT_MS);
    return [name, [...kept, [now, value(name)]]];
  });
  return new Map(entries);
}
