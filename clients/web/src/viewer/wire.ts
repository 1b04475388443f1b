/** What comes over the wire, as far as this page looks at it: docs/protocol.md, docs/activities/. */

import type { Person } from "../shared/shapes";

export type * from "../shared/shapes";
export type * from "./wire-plugins";

export interface Danmaku {
  id: string;
  user: Person;
  text: string;
  mode: "scroll" | "top" | "bottom";
  color: number;
  reply_to?: string;
}

export interface GiftSent {
  gift: string;
  n: number;
  combo: number;
  combo_end: boolean;
  value: number;
  user: Person;
}

export interface Gift {
  id: string;
  name: string;
  price: number;
}

export interface Stock {
  sale: string;
  sku: string;
  price: number;
  currency: string;
  list_price: number;
  total: number;
  available: number;
  reserved: number;
  sold: number;
  per_user: number;
  status: "armed" | "running" | "sold_out" | "ended";
  starts_ms: number;
  ends_ms: number;
}

export interface Reservation {
  reservation: string;
  sale?: string;
  sku: string;
  n: number;
  price: number;
  amount: number;
  currency: string;
  expires_ms: number;
}

export interface Poll {
  poll: string;
  title: string;
  options: string[];
  multiple: boolean;
  max_choices: number;
  change: boolean;
  hidden: boolean;
  status: "open" | "closed";
  ends_ms: number;
  voters: number;
  tally?: number[];
}

export interface Quiz {
  quiz: string;
  question: string;
  kind: "choice" | "riddle";
  options?: string[];
  mode: "points" | "prize" | "elimination";
  points: number;
  prize?: number;
  ends_ms: number;
  status: "open" | "closed";
  answered: number;
  correct?: number;
  counts?: number[];
  accepted?: string[];
  right?: number;
  share?: number;
}

export interface Prize {
  prize: string;
  title: string;
  n: number;
  value?: number;
}

export interface Conditions {
  danmaku?: string;
  likes?: number;
  gift?: number;
  follow?: boolean;
  watch_s?: number;
  level?: number;
  bought?: boolean;
}

export interface Lottery {
  lottery: string;
  title: string;
  prizes: Prize[];
  conditions: Conditions;
  status: "open" | "frozen" | "drawn" | "settled" | "cancelled";
  ends_ms?: number;
  entrants: number;
  rules_hash: string;
  commitment: string;
  root?: string;
  seed?: string;
  overdue?: boolean;
  of?: number;
  winners?: { prize: string; user: string; name: string }[];
  claim_by_ms?: number;
  proof?: string;
}

export interface Win {
  lottery: string;
  prize: string;
  title: string;
  claim_by_ms: number;
  claimed?: boolean;
}

export interface Answered {
  question: number;
  user: Person;
  asked: string;
  text?: string;
}

export interface Board {
  board: string;
  top: { user: Person; score: number }[];
}

export interface Notice {
  text: string;
  level: "info" | "warn";
  until_ms: number;
}

/** To one viewer: a moderator, or a rule, has spoken. */
export interface Told {
  what: "mute" | "unmute" | "rejected" | "expired";
  until_ms?: number;
  reason?: string;
}
