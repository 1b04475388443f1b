/** Commands as the console sends them: once, and with an answer for people whatever comes. */

import { signal } from "@preact/signals";
import { wordsOf } from "./errors";
import { ask, on, onBegin, state, version } from "./room";
import { t } from "./texts";
import { tell } from "./toasts";
import { Turns } from "./turns";

/** A command that somebody wants. */
export interface Order {
  op: string;
  /** What it says, or what makes that of the states as they are when its turn has come. */
  d?: object | (() => object);
  /** The state whose version was seen: another one is a conflict. */
  sees?: string;
  /** The state that it changes whoever changed it before; `sees` says the same. */
  changes?: string;
  /** The version that was seen; else that of now. */
  seen?: number;
  /** What it is called where a conflict is told. */
  name?: string;
  /** What the state would be, where the command names it otherwise. */
  wants?: object;
}

/** What two people wanted at the same time. */
export interface Conflict {
  order: Order;
  now: Record<string, unknown>;
  wanted: Record<string, unknown>;
}

export const conflict = signal<Conflict | undefined>(undefined);
/** Commands on their way, by op. */
export const busy = signal<ReadonlySet<string>>(new Set());
/** Whether what a plugin brings is there; undefined: not known yet. */
export const present = signal<Readonly<Record<string, boolean>>>({});

const turns = new Turns({ version, watch: (key, seen) => state(key).subscribe(seen) });
const underway = new Map<string, Promise<unknown>>();
const keys = new Map<string, string>();

onBegin(() => (present.value = {}));
on("sys.token", () => tell({ tone: "info", text: t("tokenEnds") }));

/**
 * Send a command; the answer, or undefined if it was refused, which is told.
 *
 * The same command while the first is on its way is the first. Its key stays until it is answered,
 * so that a second try after a lost answer changes nothing. One about a state waits until that shows
 * what was ordered before: nobody meets a conflict with oneself.
 */
export async function run<R = Record<string, unknown>>(order: Order): Promise<R | undefined> {
  try {
    return await send<R>(order);
  } catch (error) {
    if (!(await clashed(order, error))) tell({ tone: "bad", text: wordsOf(error) });
    return undefined;
  }
}

/** As `run`, but rejects, so that a form can say why. */
export function send<R>(order: Order): Promise<R> {
  const { d = {}, sees, changes = sees } = order;
  const id = `${order.op} ${typeof d === "function" ? randomKey() : JSON.stringify(d)}`;
  const before = underway.get(id);
  if (before) return before as Promise<R>;
  const act = (): Promise<R> => once<R>(id, order);
  const sent = (changes ? turns.take(changes, act) : act()).finally(() => {
    underway.delete(id);
    show();
  });
  underway.set(id, sent);
  show();
  return sent;
}

async function once<R>(id: string, order: Order): Promise<R> {
  const key = keys.get(id) ?? randomKey();
  keys.set(id, key);
  const ifVersion = order.seen ?? (order.sees ? version(order.sees) : undefined);
  try {
    const options = ifVersion === undefined ? { key } : { key, ifVersion };
    const answer = await ask<R>(order.op, bodyOf(order), options);
    keys.delete(id);
    return answer;
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== "timeout" && code !== "outcome_unknown") keys.delete(id);
    throw error;
  }
}

function bodyOf({ d = {} }: Order): object {
  return typeof d === "function" ? (d as () => object)() : d;
}

function show(): void {
  busy.value = new Set([...underway.keys()].map((id) => id.slice(0, id.indexOf(" "))));
}

/** Sixteen random bytes. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A name for an activity that nobody else takes. */
export function freshId(kind: string): string {
  return `${kind}-${randomKey().slice(0, 8)}`;
}

/** Whether it is a conflict of versions; one is shown for what it is, unless all is as wanted. */
export async function clashed(order: Order, error: unknown): Promise<boolean> {
  const { code, values } = error as { code?: string; values?: { version?: number } };
  if (code !== "version_conflict" || !order.sees) return false;
  await turns.shown(order.sees, (v) => v >= (values?.version ?? 0));
  const now = state<Record<string, unknown>>(order.sees).value ?? {};
  const wanted = (order.wants ?? bodyOf(order)) as Record<string, unknown>;
  const differs = (name: string): boolean => JSON.stringify(now[name]) !== JSON.stringify(wanted[name]);
  if (Object.keys(wanted).some(differs)) conflict.value = { order, now, wanted };
  return true;
}

/** Do it all the same, over what the other one did. */
export async function redo(): Promise<void> {
  const order = conflict.value?.order;
  conflict.value = undefined;
  if (!order) return;
  const { seen: _, ...again } = order;
  if (await run(again)) tell({ tone: "good", text: t("redone") });
}

/** Nothing was heard from the server. */
const LOCAL = new Set(["timeout", "closed", "bad_reply", "unavailable", "outcome_unknown"]);

/** Ask something that changes nothing; tells whether the feature is there. */
export async function look<R>(feature: string, op: string, d: object = {}): Promise<R | undefined> {
  try {
    const answer = await ask<R>(op, d);
    mark(feature, true);
    return answer;
  } catch (error) {
    const { code } = error as { code?: string };
    if (code && !LOCAL.has(code)) mark(feature, code !== "unknown_op");
    return undefined;
  }
}

function mark(feature: string, there: boolean): void {
  if (present.value[feature] !== there) present.value = { ...present.value, [feature]: there };
}
