// Looking at what came before it is believed: a field of another type makes an item junk.

import { isRecord } from "./codec.js";
import { LiveError } from "./errors.js";
import type { EventItem, Greeting, Item, StateItem } from "./types.js";

const isNatural = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isTime = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

/** What an item is; `junk`: it says to be something and is not of its shape. */
export type Kind = "reply" | "state" | "event" | "room" | "unknown" | "junk";

/** Tell what an item is. */
export function kindOf(item: Item): Kind {
  if ("re" in item) return item["re"] === null || isNatural(item["re"]) ? "reply" : "junk";
  if ("st" in item) return isState(item) ? "state" : "junk";
  if ("ev" in item) return isEvent(item) ? "event" : "junk";
  if ("room" in item) return typeof item["room"] === "string" ? "room" : "junk";
  return "unknown";
}

function isState(item: unknown): item is StateItem & Item {
  return isRecord(item) && typeof item["st"] === "string" && isNatural(item["v"]);
}

function isEvent(item: Item): item is EventItem & Item {
  const { ev, seq, sub } = item;
  return (
    typeof ev === "string" && (seq === undefined || isNatural(seq)) && (sub === undefined || isNatural(sub))
  );
}

const TEXTS = ["session", "user", "name", "role", "room", "epoch"] as const;
const NUMBERS = ["seq", "sub"] as const;
const RECORDS = ["snapshot", "own"] as const;

/** Return a reply's body as a greeting, or undefined if it is none. */
export function greetingOf(d: unknown): Greeting | undefined {
  if (!isRecord(d)) return undefined;
  const whole =
    TEXTS.every((name) => typeof d[name] === "string") &&
    NUMBERS.every((name) => isNatural(d[name])) &&
    RECORDS.every((name) => isRecord(d[name])) &&
    typeof d["resumed"] === "boolean" &&
    isTime(d["now"]) &&
    isTime(d["beat_ms"]) &&
    Array.isArray(d["states"]) &&
    d["states"].every(isState);
  return whole ? (d as unknown as Greeting) : undefined;
}

/** What a command was answered: its body, or why not. */
export type Answer = { readonly d: Record<string, unknown> } | { readonly error: LiveError };

/** Read a reply item. `op` and `key` are those of the command that it answers. */
export function answerOf(item: Item, op = "", key?: string): Answer {
  if (isRecord(item["err"])) return { error: refusalOf(item["err"], op, key) };
  if (isRecord(item["d"])) return { d: item["d"] };
  return { error: new LiveError("bad_reply", "the answer has no known shape", { op, key }) };
}

function refusalOf(err: Record<string, unknown>, op: string, key: string | undefined): LiveError {
  const { code, msg, retry_ms, ...values } = err;
  if (typeof code !== "string")
    return new LiveError("bad_reply", "the refusal has no code", { op, key, values: err });
  const retryMs = isTime(retry_ms) ? retry_ms : undefined;
  return new LiveError(code, typeof msg === "string" ? msg : code, { op, key, retryMs, values });
}
