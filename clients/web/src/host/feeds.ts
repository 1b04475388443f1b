/** What people say and what wants attention: chat, held messages, questions, alerts, sanctions. */

import { batch, signal } from "@preact/signals";
import { look } from "./act";
import { now, on, onBegin, onLive, own, snapshot, state } from "./room";
import type { Alert, Held, Person, QaState, Question, Sanction } from "./shapes";
import { t } from "./texts";

/** A line of the chat. */
export interface Line {
  id: string;
  user: Person;
  text: string;
  ts: number;
  gift?: boolean;
  gone?: boolean;
  /** So many more have said the same: a wave, folded into the line. */
  more?: number;
}

export const lines = signal<readonly Line[]>([]);
export const held = signal<readonly Held[]>([]);
export const questions = signal<readonly Question[]>([]);
export const alerts = signal<readonly Alert[]>([]);
export const sanctions = signal<Record<"mute" | "ban" | "shadow", Sanction[]>>({ mute: [], ban: [], shadow: [] });
/** What the auditor found broken. */
export const broken = signal<readonly string[]>([]);

const KEPT = 300;
let nth = 0;

interface Said {
  id: string;
  user: Person;
  text: string;
}
interface Given {
  user: Person;
  gift: string;
  n: number;
}

on<Said, { ts?: number }>("danmaku", (d, item) => add(lineOf(d, item?.ts)));
on<Given, { ts?: number }>("gift.sent", (d, item) => {
  if (!d.n) return;
  const text = t("sentGift", { gift: giftName(d.gift), n: d.n });
  add({ id: `gift-${++nth}`, user: d.user, text, ts: item?.ts ?? now(), gift: true });
});
on<{ text: string; n: number }>("danmaku.wave", ({ text, n }) => {
  const at = lines.value.findLastIndex((line) => line.text === text && !line.gift);
  const line = lines.value[at];
  if (!line) return;
  lines.value = lines.value.with(at, { ...line, more: (line.more ?? 0) + n });
});
on<{ ids?: string[]; user?: string }>("danmaku.deleted", (d) => {
  const hit = (line: Line): boolean =>
    !line.gift && (d.ids?.includes(line.id) === true || line.user.id === d.user);
  lines.value = lines.value.map((line) => (hit(line) ? { ...line, gone: true } : line));
});

function lineOf(d: Said, ts: number | undefined): Line {
  return { id: d.id, user: d.user, text: d.text, ts: ts ?? now() };
}

function add(line: Line): void {
  lines.value = [...lines.value.slice(1 - KEPT), line];
}

function giftName(id: string): string {
  const catalogue = state<{ gifts: { id: string; name: string }[] }>("gifts").value;
  return catalogue?.gifts.find((gift) => gift.id === id)?.name ?? id;
}

// Held messages and sanctions: the moderation plugin's.

on<Held>("mod.held", (d) => {
  held.value = [...held.value.filter((other) => other.id !== d.id), d];
});
on<{ id: string }>("mod.settled", (d) => {
  held.value = held.value.filter((other) => other.id !== d.id);
});
for (const event of ["mod.muted", "mod.unmuted", "mod.banned", "mod.unbanned"]) {
  on(event, () => soon("mod", readModeration));
}

async function readModeration(): Promise<void> {
  type All = { held: Held[] } & Record<"mute" | "ban" | "shadow", Sanction[]>;
  const found = await look<All>("mod", "mod.list");
  if (!found) return;
  held.value = [...found.held].sort((a, b) => a.at_ms - b.at_ms);
  sanctions.value = found;
}

// Questions: the state has the first ten of the queue, the list all of them.

async function readQuestions(): Promise<void> {
  const found = await look<{ questions: Question[] }>("qa", "qa.list", { limit: 100 });
  if (found) questions.value = found.questions;
}

state<QaState>("qa").subscribe((qa) => {
  if (!qa) questions.value = [];
  else if (qa.open <= qa.top.length) questions.value = qa.top;
  else soon("qa", readQuestions);
});

// Alerts: raised ones come in the greeting, later ones as events.

on<Alert>("alert", take);
on<{ broken: { what: string }[] }>("audit.alarm", (d) => {
  broken.value = [...new Set(d.broken.map((found) => found.what))];
});

function take(alert: Alert): void {
  const others = alerts.value.filter((other) => other.alert !== alert.alert);
  alerts.value = [alert, ...others].slice(0, 100);
}

async function readAlerts(): Promise<void> {
  const found = await look<{ live: Alert[]; past: Alert[] }>("alert", "alert.list");
  if (!found) return;
  alerts.value = [...found.live, ...found.past]
    .sort((a, b) => b.since_ms - a.since_ms)
    .slice(0, 100);
}

onBegin(() =>
  batch(() => {
    const recent = snapshot<{ d: Said; ts?: number }[]>("danmaku") ?? [];
    lines.value = recent.map((item) => lineOf(item.d, item.ts));
    held.value = [];
    questions.value = [];
    sanctions.value = { mute: [], ban: [], shadow: [] };
    alerts.value = own<Alert[]>("alerts") ?? [];
    broken.value = [];
  }),
);
onLive(() => {
  void readModeration();
  void readQuestions();
  void readAlerts();
});

const waiting = new Set<string>();

/** Do something once in half a second, however often it is wanted. */
export function soon(name: string, act: () => unknown): void {
  if (waiting.has(name)) return;
  waiting.add(name);
  setTimeout(() => {
    waiting.delete(name);
    void act();
  }, 500);
}
