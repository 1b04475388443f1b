/** Which figures stand on the page, how they are read and from when on they worry. */

import { count } from "../shared/format";
import { lang } from "../shared/i18n";
import { greatest, type Moments, quantile, rate, sum } from "./figures";

export interface Figure {
  name: string;
  of: (moments: Moments) => number | undefined;
  show: (value: number) => string;
  /** Above this the figure is marked. */
  worry?: number;
}

const locale = lang === "zh" ? "zh-CN" : "en";
const tenths = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });

/** 0.0123 -> "12.3 ms"; 2.5 -> "2.5 s". */
export function duration(seconds: number): string {
  return seconds < 1 ? `${tenths.format(seconds * 1000)} ms` : `${tenths.format(seconds)} s`;
}

/** 1536 -> "1.5 KB". */
export function bytes(size: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${tenths.format(size)} ${units[unit]}`;
}

/** 12.34 -> "12.3/s". */
export function perSecond(value: number): string {
  return `${value < 100 ? tenths.format(value) : count(Math.round(value))}/s`;
}

const ERRORS = [
  "liveroom_commit_failures_total",
  "liveroom_plugin_faults_total",
  "liveroom_webhook_failures_total",
];

export const LAG_WORRY_S = 0.1;
export const COMMIT_WORRY_S = 0.25;

export const FIGURES: readonly Figure[] = [
  { name: "viewers", of: (m) => sum(m, "liveroom_connections"), show: count },
  { name: "rooms", of: (m) => sum(m, "liveroom_rooms"), show: count },
  { name: "commands", of: (m) => rate(m, ["liveroom_commands_total"]), show: perSecond },
  { name: "deliveries", of: (m) => rate(m, ["liveroom_frames_written_total"]), show: perSecond },
  { name: "shed", of: (m) => rate(m, ["liveroom_shed_items_total"]), show: perSecond },
  { name: "beat", of: (m) => greatest(m, "liveroom_beat_seconds"), show: duration },
  {
    name: "lag",
    of: (m) => greatest(m, "liveroom_loop_lag_seconds"),
    show: duration,
    worry: LAG_WORRY_S,
  },
  { name: "queue", of: (m) => sum(m, "liveroom_queue_bytes"), show: bytes },
  { name: "commit50", of: (m) => quantile(m, "liveroom_commit_seconds", 0.5), show: duration },
  {
    name: "commit99",
    of: (m) => quantile(m, "liveroom_commit_seconds", 0.99),
    show: duration,
    worry: COMMIT_WORRY_S,
  },
  { name: "errors", of: (m) => rate(m, ERRORS), show: perSecond, worry: 0 },
  { name: "memory", of: (m) => greatest(m, "liveroom_store_memory_bytes"), show: bytes },
];
