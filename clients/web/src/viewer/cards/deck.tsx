/** The cards of what goes on: each comes with its state and goes with it. */

import { computed, effect } from "@preact/signals";
import type { ComponentChild } from "preact";
import { drops, lotteries, packets, polls, quizzes, rains, sales } from "../room";
import { t } from "../texts";
import { Guard } from "../guard";
import { CouponCard, RainCard } from "./coupon";
import { dismissed, open, opened } from "./card";
import { FlashCard } from "./flash";
import { LotteryCard } from "./lottery";
import { PacketCard } from "./packet";
import { PollCard } from "./poll";
import { QuizCard } from "./quiz";
import "./cards.css";

/** So long after a touch a viewer is busy with a card. */
const BUSY_MS = 4000;

interface Entry {
  key: string;
  /** Something can be done now: it opens by itself. */
  live: boolean;
  card: ComponentChild;
}

const all = computed<Entry[]>(() => [
  ...packets.value.map((d) => entry(`redpacket:${d.packet}`, d.status !== "done", (key) => <PacketCard id={key} packet={d} />)),
  ...sales.value.map((d) => entry(`stock:${d.sku}:${d.sale}`, d.status !== "ended", (key) => <FlashCard id={key} sale={d} />)),
  ...rains.value.map((d) => entry(`rain:${d.rain}`, true, (key) => <RainCard id={key} rain={d} />)),
  ...drops.value.filter((d) => !d.rain || d.status === "running").map((d) =>
    entry(`coupon:${d.drop}`, d.status === "running", (key) => <CouponCard id={key} drop={d} />)),
  ...lotteries.value.map((d) => entry(`lottery:${d.lottery}`, d.status === "open" || d.status === "frozen", (key) => <LotteryCard id={key} draw={d} />)),
  ...polls.value.map((d) => entry(`poll:${d.poll}`, d.status === "open", (key) => <PollCard id={key} poll={d} />)),
  ...quizzes.value.map((d) => entry(`quiz:${d.quiz}`, d.status === "open", (key) => <QuizCard id={key} quiz={d} />)),
]);

const entries = computed(() => all.value.filter((one) => !dismissed.value.has(one.key)));

function entry(key: string, live: boolean, make: (key: string) => ComponentChild): Entry {
  return { key, live, card: make(key) };
}

let deck: HTMLElement | null = null;
let touchedAt = -Infinity;
let known: ReadonlySet<string> = new Set();

// What is new opens before it is drawn, unless the viewer is busy with another card: only its head
// appears then, and nothing moves under the finger.
effect(() => {
  const fresh = entries.value.filter((one) => !known.has(one.key));
  known = new Set(entries.value.map((one) => one.key));
  const focused = deck?.querySelector(":focus") != null;
  const busy = opened.peek().size > 0 && (focused || performance.now() - touchedAt < BUSY_MS);
  for (const one of fresh) if (one.live && !busy) open(one.key);
});

export function Deck() {
  return (
    <section ref={(node) => { deck = node; }} class={`deck ${entries.value.length ? "" : "empty"}`} aria-label={t("activities")}
      onPointerDown={() => { touchedAt = performance.now(); }}>
      {entries.value.map((one) => <div key={one.key} class="slot"><Guard>{one.card}</Guard></div>)}
    </section>
  );
}
