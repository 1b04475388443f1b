/** The run of show: its plan, and how far each cue is. */

import { signal } from "@preact/signals";
import { look } from "./act";
import { http, on, onBegin, onLive, state } from "./room";
import type { CueStep, Plan } from "./shapes";

export const plan = signal<Plan | undefined>(undefined);

on<CueStep>("rundown.cue", (step) => {
  if (!plan.value) return;
  const others = plan.value.progress.filter((other) => other.cue !== step.cue);
  plan.value = { ...plan.value, progress: [...others, step] };
});

/** Read the plan anew. */
export async function readPlan(): Promise<void> {
  plan.value = await look<Plan>("rundown", "rundown.get");
}

/** Store a plan; `seen` is the version that it replaces. Returns a refusal, or the number of cues. */
export async function putPlan(text: string, seen: number): Promise<{ error?: unknown; cues?: number }> {
  const kind = text.trimStart().startsWith("{") ? "application/json" : "application/toml";
  const answer = await http(`rundown?if_version=${seen}`, {
    method: "PUT",
    headers: { "Content-Type": kind },
    body: text,
  }).catch(() => undefined);
  if (!answer) return { error: { code: "closed" } };
  const body = (await answer.json().catch(() => ({}))) as Record<string, unknown>;
  if (answer.ok) return { cues: Number(body.cues) };
  const { code, msg, cue } = (body.err ?? {}) as Record<string, string>;
  return { error: { code, message: cue ? `${cue}: ${msg}` : msg } };
}

onBegin(() => (plan.value = undefined));
onLive(() => void readPlan());

let before: unknown;
state("rundown").subscribe((value) => {
  if (value !== undefined && value !== before) void readPlan();
  before = value;
});
