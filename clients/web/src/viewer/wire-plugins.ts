/** What plugins tell: docs/coupons.md, docs/redpackets.md. */

import type { Person } from "../shared/shapes";

export interface Drop {
  drop: string;
  title: string;
  quota: number;
  left: number;
  claimed: number;
  per_user: number;
  kind: "amount" | "percent";
  value: number;
  min_spend?: number;
  conditions?: { level?: number; watch_s?: number; follow?: boolean };
  starts_ms: number;
  ends_ms: number;
  rain?: string;
  status: "planned" | "running" | "sold_out" | "ended";
}

export interface Rain {
  rain: string;
  title: string;
  drops: { drop: string; starts_ms: number }[];
  spread_ms: number;
  starts_ms: number;
  ends_ms: number;
}

export interface Coupon {
  coupon: string;
  code: string;
  drop: string;
  title: string;
  kind: "amount" | "percent";
  value: number;
  min_spend?: number;
  valid_until_ms: number;
  state?: "unused" | "locked" | "used" | "expired";
}

export interface Packet {
  packet: string;
  user: Person;
  total: number;
  shares: number;
  starts_ms: number;
  ends_ms: number;
  status: "countdown" | "open" | "done";
  left: number;
  taken?: number;
  grabbed?: number;
  refunded?: number;
  best?: { user: Person; amount: number };
}
