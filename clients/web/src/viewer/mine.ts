/** What is this viewer's own: filled by each greeting, by answers, and by events to this viewer. */

import { signal } from "@preact/signals";
import { live, onReset, onTold } from "./room";
import type * as wire from "./wire";

export const balance = signal<number | undefined>(undefined);
export const following = signal(false);
export const reservations = signal<wire.Reservation[]>([]);
export const units = signal<Record<string, number>>({});
export const votes = signal<Record<string, number[]>>({});
export const entered = signal<ReadonlySet<string>>(new Set());
export const wins = signal<Record<string, wire.Win>>({});
export const coupons = signal<wire.Coupon[]>([]);
export const packetsGot = signal<Record<string, number>>({});
export const asked = signal<ReadonlySet<number>>(new Set());
export const upvoted = signal<ReadonlySet<number>>(new Set());
export const answers = signal<Record<string, { option?: number; text?: string; out?: boolean }>>({});

/** Until when this viewer may not speak, server ms; 0: not muted; Infinity: for good. */
export const mutedUntil = signal(0);

interface Own {
  flash?: { reservations?: wire.Reservation[]; units?: Record<string, number> };
  poll?: Record<string, number[]>;
  lottery?: { entered?: string; won?: wire.Win[] };
  coupons?: wire.Coupon[];
  redpackets?: { packet: string; amount: number }[];
  qa?: { asked?: { question: number }[]; upvoted?: number[] };
  quiz?: { quiz: string; option?: number; text?: string; out?: boolean }[];
  follow?: { following?: boolean };
}

/** An empty Lua table comes as an object: a list that is none has nothing in it. */
const list = <T>(value: T[] | undefined): T[] => (Array.isArray(value) ? value : []);

const byKey = <T, V>(rows: T[], key: (row: T) => string, value: (row: T) => V): Record<string, V> =>
  Object.fromEntries(rows.map((row) => [key(row), value(row)]));

onReset(() => {
  const own = live.state.own as Own;
  reservations.value = list(own.flash?.reservations);
  units.value = own.flash?.units ?? {};
  votes.value = own.poll ?? {};
  entered.value = new Set(own.lottery?.entered ? [own.lottery.entered] : []);
  wins.value = byKey(list(own.lottery?.won), (win) => win.lottery, (win) => win);
  coupons.value = list(own.coupons);
  packetsGot.value = byKey(list(own.redpackets), (row) => row.packet, (row) => row.amount);
  asked.value = new Set(list(own.qa?.asked).map((row) => row.question));
  upvoted.value = new Set(list(own.qa?.upvoted));
  answers.value = byKey(list(own.quiz), (row) => row.quiz, (row) => row);
  following.value = own.follow?.following ?? false;
  mutedUntil.value = 0;
  askBalance();
});

/** Ask what is in the wallet: after the money of others has come, too. */
export function askBalance(): void {
  live.ask<{ balance: number }>("wallet.get").then((d) => { balance.value = d.balance; }, () => undefined);
}

// A reservation is in one place whoever tells of it first, the answer or another tab.

export function hold(r: wire.Reservation): void {
  if (reservations.value.some((known) => known.reservation === r.reservation)) return;
  reservations.value = [...reservations.value, r];
  units.value = { ...units.value, [r.sku]: (units.value[r.sku] ?? 0) + r.n };
}

export function letGo(id: string, paid: boolean): void {
  const gone = reservations.value.find((r) => r.reservation === id);
  if (!gone) return;
  reservations.value = reservations.value.filter((r) => r !== gone);
  if (!paid) units.value = { ...units.value, [gone.sku]: Math.max(0, (units.value[gone.sku] ?? 0) - gone.n) };
}

live.on("flash.reserved", (d) => hold(d as wire.Reservation));
live.on("flash.paid", (d) => letGo((d as wire.Reservation).reservation, true));
for (const name of ["flash.released", "flash.expired"]) {
  live.on(name, (d) => letGo((d as wire.Reservation).reservation, false));
}

live.on("lottery.won", (d) => {
  const win = d as wire.Win;
  wins.value = { ...wins.value, [win.lottery]: win };
});
live.on("coupon.granted", () => askCoupons());
live.on("coupon.used", () => askCoupons());
live.on("redpacket.grabbed", (d) => got(d as { packet: string; amount: number }));

export function got({ packet, amount }: { packet: string; amount: number }): void {
  packetsGot.value = { ...packetsGot.value, [packet]: amount };
}

/** Ask for all coupons; a room without them has none. */
export function askCoupons(): void {
  live.ask<{ coupons: wire.Coupon[] }>("coupon.mine").then((d) => { coupons.value = list(d.coupons); }, () => undefined);
}

onTold((d) => {
  if (d.what === "mute") mutedUntil.value = d.until_ms || Infinity;
  if (d.what === "unmute") mutedUntil.value = 0;
});
