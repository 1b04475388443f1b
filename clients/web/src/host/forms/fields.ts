/** Forms as data: what is asked, in which limits, and what of it goes over the wire. */

import { minor } from "../../shared/format";
import type { Role } from "../room";
import { type Pair, say } from "../say";
import { t } from "../texts";

/** What a field holds while it is edited: text, a tick, or rows of such. */
export type Value = string | boolean | Values[];
export interface Values {
  [name: string]: Value;
}

export type Kind =
  | "text"
  | "area"
  | "link"
  | "whole"
  | "money"
  | "flag"
  | "choice"
  | "lines"
  | "rows"
  | "sku";

export interface Field {
  /** The name on the wire; a dot leads into a part: `conditions.follow`. */
  name: string;
  label: Pair;
  kind: Kind;
  help?: Pair;
  unit?: Pair;
  /** Of a number its limits, of a text its length, of lines and rows how many. */
  min?: number;
  max?: number;
  /** Of each line: how long. */
  each?: number;
  /** What a text has to match. */
  pattern?: string;
  optional?: boolean;
  start?: Value;
  choices?: readonly (readonly [string, Pair])[];
  columns?: readonly Field[];
  /** An emptied field is sent as such. */
  clears?: boolean;
  /** Asked only then. */
  when?: (values: Values) => boolean;
  /** Takes half of the form's width. */
  half?: boolean;
}

/** A form: its fields, and the command that it makes. */
export interface Sheet {
  name: string;
  title: Pair;
  op: string;
  role: Role;
  fields: readonly Field[];
  /** The field that names the activity; a new name is made for each form. */
  id?: string;
  submit?: Pair;
  /** What was not changed is not sent, so that nobody else's change to it is undone. */
  partial?: boolean;
  /** Last touches to the body. */
  body?: (d: Record<string, unknown>, values: Values) => Record<string, unknown>;
  /** Facts to confirm, for what moves money or goods; none: nothing to confirm. */
  confirm?: (d: Record<string, unknown>) => readonly string[] | undefined;
  /** What the plugin is called that has to be there. */
  feature?: string;
}

export type Faults = Record<string, string>;

/** What a field is called, with its unit. */
export function labelOf(field: Field): string {
  return say(field.label) + (field.unit ? ` (${say(field.unit)})` : "");
}

/** Return what a form begins with. */
export function beginning(fields: readonly Field[], given: Values = {}): Values {
  const values: Values = {};
  for (const field of fields) values[field.name] = given[field.name] ?? blank(field);
  return values;
}

function blank(field: Field): Value {
  if (field.start !== undefined) return field.start;
  if (field.kind === "flag") return false;
  if (field.kind === "rows") return [beginning(field.columns ?? [])];
  return field.kind === "choice" ? (field.choices?.[0]?.[0] ?? "") : "";
}

/** Read a form: the body, and what is wrong by field. */
export function read(
  fields: readonly Field[],
  values: Values,
): { d: Record<string, unknown>; faults: Faults } {
  const d: Record<string, unknown> = {};
  const faults: Faults = {};
  for (const field of fields) {
    if (field.when && !field.when(values)) continue;
    const value = values[field.name] ?? "";
    const fault = faultOf(field, value);
    if (fault) faults[field.name] = fault;
    else put(d, field.name, wire(field, value));
  }
  return { d, faults };
}

/** Return what differs from what the form began with. */
export function changed(
  fields: readonly Field[],
  d: Record<string, unknown>,
  given: Values,
): Record<string, unknown> {
  const before = read(fields, beginning(fields, given)).d;
  const differs = ([name, value]: [string, unknown]): boolean =>
    JSON.stringify(value) !== JSON.stringify(before[name]);
  return Object.fromEntries(Object.entries(d).filter(differs));
}

function put(d: Record<string, unknown>, path: string, value: unknown): void {
  if (value === undefined) return;
  const [head, ...rest] = path.split(".") as [string, ...string[]];
  if (!rest.length) d[head] = value;
  else put((d[head] ??= {}) as Record<string, unknown>, rest.join("."), value);
}

const EMPTY: Partial<Record<Kind, unknown>> = { text: "", link: "", area: "", lines: [] };

function wire(field: Field, value: Value): unknown {
  if (field.kind === "flag") return value === true;
  if (field.kind === "rows") return (value as Values[]).map((row) => read(field.columns!, row).d);
  const text = String(value).trim();
  if (!text && field.optional) return field.clears ? EMPTY[field.kind] : undefined;
  if (field.kind === "whole") return Number(text);
  if (field.kind === "money") return minor(text);
  return field.kind === "lines" ? lines(text) : text;
}

/** 5990 -> "59.90". */
export function major(amount: number): string {
  return (amount / 100).toFixed(2);
}

const lines = (text: string): string[] =>
  text.split("\n").map((line) => line.trim()).filter(Boolean);

function faultOf(field: Field, value: Value): string | undefined {
  if (field.kind === "flag") return undefined;
  if (field.kind === "rows") return faultOfRows(field, value as Values[]);
  const text = String(value).trim();
  if (!text) return field.optional ? undefined : t("required");
  return CHECKS[field.kind]?.(field, text);
}

function faultOfRows(field: Field, rows: Values[]): string | undefined {
  const { min = 1, max = 20 } = field;
  if (rows.length < min || rows.length > max) return t("linesBetween", { low: min, high: max });
  for (const [index, row] of rows.entries()) {
    const [fault] = Object.entries(read(field.columns!, row).faults);
    if (fault) return `${index + 1}: ${fault[1]}`;
  }
  return undefined;
}

const CHECKS: Partial<Record<Kind, (field: Field, text: string) => string | undefined>> = {
  text: faultOfText,
  area: faultOfText,
  link: faultOfLink,
  whole: (field, text) => (/^\d{1,15}$/.test(text) ? faultOfSize(field, Number(text)) : t("notWhole")),
  money: (field, text) =>
    /^\d{0,11}(\.\d{0,2})?$/.test(text) && /\d/.test(text)
      ? faultOfSize(field, minor(text), major)
      : t("notMoney"),
  lines: faultOfLines,
};

function faultOfText({ max = 200, pattern }: Field, text: string): string | undefined {
  if ([...text].length > max) return t("tooLong", { n: max });
  return pattern && !new RegExp(pattern).test(text) ? t("notName") : undefined;
}

function faultOfLink({ max, pattern = "^https?://[!-~]+$" }: Field, text: string): string | undefined {
  if (!new RegExp(pattern).test(text)) return t("notLink");
  return faultOfText({ max } as Field, text);
}

function faultOfSize(
  { min = 0, max = Number.MAX_SAFE_INTEGER }: Field,
  value: number,
  shown: (n: number) => string = String,
): string | undefined {
  const within = value >= min && value <= max;
  return within ? undefined : t("between", { low: shown(min), high: shown(max) });
}

function faultOfLines({ min = 1, max = 10, each = 100 }: Field, text: string): string | undefined {
  const all = lines(text);
  if (all.length < min || all.length > max) return t("linesBetween", { low: min, high: max });
  return all.some((line) => [...line].length > each) ? t("tooLong", { n: each }) : undefined;
}
