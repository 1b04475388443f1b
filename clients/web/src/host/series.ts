/** Figures over time: once a second from the room, by minute from the counters. */

import { signal } from "@preact/signals";
import { look } from "./act";
import { http, now, on, onBegin, onLive } from "./room";
import type { Counters, Stats } from "./shapes";

/** Columns as a chart wants them: seconds, viewers, messages/s, likes/s. */
export type Columns = [number[], number[], number[], number[]];

export const columns = signal<Columns>([[], [], [], []]);
export const figures = signal<Counters | undefined>(undefined);
/** Sales by minute: seconds of the minute's start, amount. */
export const sales = signal<[number[], number[]]>([[], []]);

const KEPT_S = 900;
const SALES_EVERY_MS = 15_000;
let likes: number | undefined;
let asked = 0;

on<Stats>("stats", (d) => {
  const rate = likes === undefined ? 0 : Math.max(0, d.likes - likes);
  likes = d.likes;
  const point = [now() / 1000, d.online.now, d.said_per_s.danmaku ?? 0, rate];
  columns.value = columns.value.map((column, at) => [
    ...column.slice(1 - KEPT_S),
    point[at] ?? 0,
  ]) as Columns;
});

on<Counters>("counters", (d) => {
  figures.value = d;
  if (Date.now() - asked > SALES_EVERY_MS) void readSales();
});

/** Ask for the sales of each minute. */
async function readSales(): Promise<void> {
  asked = Date.now();
  const answer = await http("stats?by=minute").catch(() => undefined);
  if (!answer?.ok) return;
  const { rows } = (await answer.json()) as { rows: { from_ms: number; paid_amount?: number }[] };
  const minutes = rows.map((row) => row.from_ms / 1000);
  const amounts = rows.map((row) => (row.paid_amount ?? 0) / 100);
  // A single moment is no axis: the next minute begins with nothing.
  sales.value = rows.length === 1 ? [[minutes[0]!, minutes[0]! + 60], [...amounts, 0]] : [minutes, amounts];
}

onBegin(() => {
  columns.value = [[], [], [], []];
  figures.value = undefined;
  sales.value = [[], []];
  likes = undefined;
  asked = 0;
});
onLive(() => {
  void look("stats", "stats.watch", { on: true });
  void look("counters", "counters.watch", { on: true });
  // What a plugin offers is known by asking it something; nothing of this name is there.
  void look("coupon", "coupon.show", { drop: "none" });
  void look("redpacket", "redpacket.list", { packet: "none" });
});
