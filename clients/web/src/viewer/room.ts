/**
 * The room as signals: what the SDK tells, for the components to read.
 *
 * Wire names stand here, in `mine.ts` (what is this viewer's own) and in `acts.ts` (what this viewer
 * does); components know shapes (`wire.ts`) and nothing of the connection.
 */

import { type ReadonlySignal, type Signal, computed, signal } from "@preact/signals";
import { LiveRoom, type LiveState } from "liveroom-client";
import { guestToken, place } from "../shared/place";
import type * as wire from "./wire";

export const here = place();

/** What this viewer shows at the door. */
export const token = here.token || guestToken(here.name);

/** A server in development lets guests in; their money is demo money. */
export const isGuest = token.startsWith("guest:");

export const live = new LiveRoom({ url: "/ws", room: here.room, token, client: "page/2" });

// The connection.

export interface Link {
  status: LiveState["status"];
  retryAt: number;
  close: LiveState["close"];
}

export const link = signal<Link>({ status: "idle", retryAt: 0, close: undefined });
export const me = signal({ id: "", name: "", role: "viewer" });

live.on("sdk.status", (d) => {
  const { status, retryAt, close, user, name, role } = d as LiveState;
  link.value = { status, retryAt: retryAt ?? 0, close };
  if (user && user !== me.value.id) me.value = { id: user, name, role };
});

// The server's time, as the screen needs it.

export const now = signal(Date.now());
setInterval(() => { now.value = live.serverNow(); }, 250);

// States: one signal for each key, and one for which keys there are.

const cells = new Map<string, Signal<unknown>>();
const keys = signal<readonly string[]>([]);

function cell(key: string): Signal<unknown> {
  let found = cells.get(key);
  if (!found) cells.set(key, (found = signal<unknown>(undefined)));
  return found;
}

function put(key: string, value: unknown): void {
  cell(key).value = value ?? undefined;
  const listed = keys.value.includes(key);
  if (listed !== (value != null)) {
    keys.value = listed ? keys.value.filter((name) => name !== key) : [...keys.value, key];
  }
}

live.on("sdk.state", (d) => {
  const { key, value } = d as { key: string; value: unknown };
  put(key, value);
});

live.on("sdk.reset", () => {
  const states = live.state.states;
  for (const key of cells.keys()) if (!states.has(key)) put(key, undefined);
  for (const [key, value] of states) put(key, value);
  const recent = (live.state.snapshot["danmaku"] ?? []) as { d: wire.Danmaku }[];
  for (const fn of resets) fn(recent.map((item) => item.d));
});

function state<T>(key: string): ReadonlySignal<T | undefined> {
  return cell(key) as ReadonlySignal<unknown> as ReadonlySignal<T | undefined>;
}

/** All states of a kind, `poll:lunch` and so on, the oldest first. */
function family<T>(prefix: string): ReadonlySignal<T[]> {
  return computed(() => {
    const names = keys.value.filter((key) => key.startsWith(`${prefix}:`));
    return names.map((name) => cell(name).value as T).filter((value) => value !== undefined);
  });
}

export const room = state<wire.RoomState>("room");
export const mode = state<wire.ModeState>("mode");
export const manners = state<wire.ModState>("mod");
export const online = state<{ now: number; peak: number; viewers: number }>("online");
export const likes = state<{ total: number }>("likes");
export const followers = state<{ total: number }>("followers");
export const gifts = state<{ gifts: wire.Gift[] }>("gifts");
export const shelf = state<wire.ShelfState>("shelf");
export const questions = state<wire.QaState>("qa");
export const notice = state<wire.Notice>("notice");
export const items = family<wire.Item>("item");
export const sales = family<wire.Stock>("stock");
export const polls = family<wire.Poll>("poll");
export const quizzes = family<wire.Quiz>("quiz");
export const lotteries = family<wire.Lottery>("lottery");
export const drops = family<wire.Drop>("coupon");
export const rains = family<wire.Rain>("rain");
export const packets = family<wire.Packet>("redpacket");
export const boards = family<wire.Board>("rank");

/** The items of the shelf in the host's order. */
export const goods = computed(() => {
  const byId = new Map(items.value.map((item) => [item.item, item]));
  return (shelf.value?.items ?? []).flatMap((id) => byId.get(id) ?? []);
});

/** What the host explains now. */
export const pinned = computed(() => goods.value.find((item) => item.item === shelf.value?.pinned));

/** What a unit is called, and whether its currency is known: by its SKU. */
export function skuOf(sku: string): { item: wire.Item; sku: wire.Sku } | undefined {
  for (const item of items.value) {
    const found = item.skus.find((one) => one.sku === sku);
    if (found) return { item, sku: found };
  }
  return undefined;
}

// Events.

type Listener<T> = (d: T) => void;
const resets: Listener<wire.Danmaku[]>[] = [];

/** A fresh start: all derived data is void; the newest danmaku come along. */
export const onReset = (fn: Listener<wire.Danmaku[]>): void => void resets.push(fn);

function hears<T>(name: string): (fn: Listener<T>) => () => void {
  return (fn) => live.on(name, (d) => fn(d as T));
}

/** Whether an item is shown to its author alone, because the room is too busy. */
export const onDanmaku = (fn: (d: wire.Danmaku, kept: boolean) => void): (() => void) =>
  live.on("danmaku", (d, item) => fn(d as wire.Danmaku, (item as { kept?: boolean }).kept === true));
/** So many more say what a few were shown to say. */
export const onWave = hears<{ text: string; n: number }>("danmaku.wave");
export const onDeleted = hears<{ ids?: string[]; user?: string }>("danmaku.deleted");
export const onEnter = hears<{ user: wire.Person }>("viewer.enter");
export const onFollow = hears<{ user: wire.Person }>("viewer.follow");
export const onGift = hears<wire.GiftSent>("gift.sent");
export const onLike = hears<{ user: string; n: number }>("like");
export const onAnswered = hears<wire.Answered>("qa.answered");
export const onTold = hears<wire.Told>("mod.notice");

/** How many items of each kind this viewer was not shown. */
export const notShown = signal(0);
live.on("sys.shed", () => {
  notShown.value = live.state.shed.get("danmaku") ?? 0;
});

/** Come in; what goes wrong is told by `link`. */
export function enter(): void {
  live.join().catch(() => undefined);
}
