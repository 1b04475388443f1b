/** What the page shows, computed from samples as a Prometheus query would be. */

import type { Sample, Samples } from "./exposition";

/** Samples and when they came, in ms. */
export interface Moment {
  at: number;
  samples: Samples;
}

/** Newest last. */
export type Moments = readonly Moment[];

/** One worker's samples only; without a worker everybody's. */
type Whose = string | undefined;

const RATE_MS = 5_000;
const QUANTILE_MS = 15_000;

function rows(moment: Moment | undefined, metric: string, worker: Whose): Sample[] {
  const found = moment?.samples.get(metric) ?? [];
  return found.filter(({ labels }) => worker === undefined || labels.worker === worker);
}

function newest(moments: Moments, metric: string, worker: Whose): number[] {
  return rows(moments.at(-1), metric, worker).map(({ value }) => value);
}

/** The sum of a gauge over the workers; undefined when nobody tells it. */
export function sum(moments: Moments, metric: string, worker?: Whose): number | undefined {
  const values = newest(moments, metric, worker);
  return values.length ? values.reduce((a, b) => a + b) : undefined;
}

/** The greatest of a gauge's values. */
export function greatest(moments: Moments, metric: string, worker?: Whose): number | undefined {
  const values = newest(moments, metric, worker);
  return values.length ? Math.max(...values) : undefined;
}

/** The moment that lies about so long before the newest. */
function before(moments: Moments, ms: number): Moment | undefined {
  const last = moments.at(-1);
  const old = last && moments.find(({ at }) => at >= last.at - ms);
  return old === last ? undefined : old;
}

function id({ labels }: Sample): string {
  return JSON.stringify(Object.entries(labels).sort());
}

/** How much each counter rose; one that fell belongs to a worker that was started again. */
function risen(moments: Moments, metric: string, ms: number, worker: Whose): Sample[] | undefined {
  const from = before(moments, ms);
  if (!from) return undefined;
  const old = new Map(rows(from, metric, worker).map((sample) => [id(sample), sample.value]));
  return rows(moments.at(-1), metric, worker).map((sample) => {
    const was = old.get(id(sample)) ?? 0;
    return { labels: sample.labels, value: sample.value < was ? sample.value : sample.value - was };
  });
}

/** How fast counters rise together, per second; metrics that nobody tells count nothing. */
export function rate(moments: Moments, metrics: readonly string[]): number | undefined {
  const from = before(moments, RATE_MS);
  if (!from) return undefined;
  const seconds = (moments.at(-1)!.at - from.at) / 1000;
  const rises = metrics.flatMap((metric) => risen(moments, metric, RATE_MS, undefined) ?? []);
  return rises.reduce((total, { value }) => total + value, 0) / seconds;
}

/** A quantile of a histogram over the last seconds, between two bounds by straight line. */
export function quantile(
  moments: Moments, metric: string, q: number, worker?: Whose,
): number | undefined {
  const counts = new Map<number, number>();
  for (const { labels, value } of risen(moments, `${metric}_bucket`, QUANTILE_MS, worker) ?? []) {
    const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  const buckets = [...counts].sort(([a], [b]) => a - b);
  const total = buckets.at(-1)?.[1] ?? 0;
  return total ? within(buckets, q * total) : undefined;
}

function within(buckets: [number, number][], rank: number): number {
  let [low, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= rank) {
      if (bound === Infinity) return low;
      return count === below ? bound : low + ((bound - low) * (rank - below)) / (count - below);
    }
    [low, below] = [bound, count];
  }
  return low;
}
