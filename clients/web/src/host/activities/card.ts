/** What an activity is on the desk: a form to start it, and a card while it runs. */

import type { Deed } from "../dialog";
import type { Sheet, Values } from "../forms/fields";
import type { IconName } from "../icon";
import { all, type Role } from "../room";
import type { Pair } from "../say";
import type { Item } from "../shapes";
import { cash } from "../shown";

/** What can be done to something that runs. */
export interface Action {
  label: Pair;
  op: string;
  d: Record<string, unknown>;
  role: Role;
  tone?: "plain" | "main" | "danger";
  icon?: IconName;
  /** The state whose version is seen. */
  sees?: string;
  confirm?: Deed;
  /** Asked first; its command is sent instead. */
  sheet?: { sheet: Sheet; given?: Values; fixed?: readonly string[] };
  /** Shows the answer instead of doing something. */
  shows?: "winners";
}

/** A row of a bar chart. */
export interface Bar {
  label: string;
  n: number;
  mark?: boolean;
}

/** How something that runs is shown. */
export interface Card {
  title: string;
  status: Pair;
  tone: "live" | "wait" | "over" | "bad";
  /** Server ms; 0 or left out: until it is stopped. */
  ends?: number;
  /** Until it begins. */
  starts?: number;
  figures: readonly (readonly [Pair, string])[];
  bars?: readonly Bar[];
  meter?: { part: number; whole: number; label: Pair };
  actions: readonly Action[];
}

/** An activity: a row of the table in `index.ts`. */
export interface Activity<S = never> {
  name: string;
  label: Pair;
  icon: IconName;
  /** The feature that has to be there, if it is a plugin's. */
  feature?: string;
  sheets: readonly Sheet[];
  /** Its states are `prefix:…`, or `prefix` alone. */
  prefix?: string;
  view?: (state: S) => Card;
  /** Something that the state does not say, asked again whenever the state changes. */
  peek?: (state: S) => { op: string; d: Record<string, unknown> } | undefined;
}

/** The currency of what is on the shelf; amounts that have none of their own are shown in it. */
export function currency(): string | undefined {
  return all<Item>("item")[0]?.currency;
}

/** An amount in the shelf's currency. */
export function amount(minor: unknown): string {
  return cash(Number(minor), currency());
}
