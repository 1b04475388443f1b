/** What this viewer does: each sends its command, puts the answer where it belongs, and says in words why not. */

import { LiveError } from "liveroom-client";
import { count, money, timeOfDay } from "../shared/format";
import { refusal } from "../shared/words";
import * as mine from "./mine";
import { live, manners } from "./room";
import { t } from "./texts";
import { toast } from "./toast";
import type * as wire from "./wire";

/** Say in words why something was refused. */
export function reason(error: unknown): string {
  if (!(error instanceof LiveError)) return refusal("internal");
  const { code, values, message } = error;
  if (code === "muted") return mutedText(error);
  if (code === "rejected" && values["held"]) return t("heldBack");
  if (code === "not_eligible" && Array.isArray(values["missing"])) {
    return t("missing", { what: values["missing"].map((name) => missing(String(name))).join(t("and")) });
  }
  if (code === "rate_limited" && (error.retryMs ?? 0) > 2000) {
    return t("waitFor", { s: Math.ceil((error.retryMs ?? 0) / 1000) });
  }
  return refusal(code, message);
}

const MISSING = { danmaku: "needTalk", likes: "needLikes", gift: "needGift", follow: "needFollow", watch_s: "needWatch", level: "needLevel", bought: "needBought" } as const;

function missing(name: string): string {
  return name in MISSING ? t(MISSING[name as keyof typeof MISSING]) : name;
}

function mutedText(error: LiveError): string {
  const until = error.retryMs ? live.serverNow() + error.retryMs : 0;
  mine.mutedUntil.value = until || Infinity;
  return until ? t("mutedUntil", { time: timeOfDay(until) }) : refusal("muted");
}

/** Wait for an answer; a refusal is said at the bottom of the screen, and undefined returned. */
async function answered<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    toast(reason(error), "bad");
    return undefined;
  }
}

/** Say something; resolves to whether it was accepted. */
export async function say(text: string, replyTo?: string): Promise<boolean> {
  const sent = await answered(live.send(text, replyTo ? { reply_to: replyTo } : {}));
  return sent !== undefined;
}

export const like = (): void => live.like(1);

/** Give: the money is asked for and taken once, however often the connection breaks meanwhile. */
export async function give(gift: string, n: number): Promise<void> {
  const paid = await answered(live.ask<{ balance: number }>("gift.send", { gift, n }, { key: true }));
  if (paid) mine.balance.value = paid.balance;
}

export async function reserve(sale: wire.Stock): Promise<void> {
  const body = { sku: sale.sku, n: 1, price: sale.price };
  const held = await answered(live.ask<wire.Reservation & Record<string, unknown>>("flash.reserve", body, { key: true }));
  if (held) mine.hold(held);
}

export async function cancel(reservation: string): Promise<void> {
  if (await answered(live.ask("flash.cancel", { reservation }))) mine.letGo(reservation, false);
}

export async function vote(poll: string, options: number[]): Promise<void> {
  if (await answered(live.ask("poll.vote", { poll, options }))) {
    mine.votes.value = { ...mine.votes.value, [poll]: options };
  }
}

export async function answer(quiz: string, given: { option: number } | { text: string }): Promise<void> {
  if (await answered(live.ask("quiz.answer", { quiz, ...given }))) {
    mine.answers.value = { ...mine.answers.value, [quiz]: given };
  }
}

/** Sixteen random bytes in hexadecimal. */
function randomName(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

export async function enterDraw(lottery: string): Promise<void> {
  if (await answered(live.ask("lottery.enter", { lottery, nonce: randomName() }))) {
    mine.entered.value = new Set([...mine.entered.value, lottery]);
  }
}

export async function claimPrize(lottery: string, contact: string): Promise<void> {
  const body = contact ? { lottery, contact } : { lottery };
  if (!(await answered(live.ask("lottery.claim", body, { key: true })))) return;
  const win = mine.wins.value[lottery];
  if (win) mine.wins.value = { ...mine.wins.value, [lottery]: { ...win, claimed: true } };
}

export async function claimCoupon(drop: wire.Drop, spreadMs = 0): Promise<void> {
  if (spreadMs) await new Promise((done) => setTimeout(done, Math.random() * spreadMs)); // not all at one instant
  const coupon = await answered(live.ask<wire.Coupon & Record<string, unknown>>("coupon.claim", { drop: drop.drop }, { key: true }));
  if (coupon) mine.coupons.value = [coupon, ...mine.coupons.value];
}

/** Whether the room has red packets; what it offers is known by asking it something. */
export async function mayHavePackets(): Promise<boolean> {
  const code = await live.ask("redpacket.list", { packet: "none" }).then(() => "", (error: LiveError) => error.code);
  return code === "" || code === "not_found";
}

/** Put money into a red packet that falls at once; "sent", or the code of the refusal. */
export async function sendPacket(total: number, shares: number): Promise<string> {
  const body = { packet: randomName(), total, shares, split: "random" };
  try {
    const { balance } = await live.ask<{ balance: number }>("redpacket.send", body, { key: true });
    mine.balance.value = balance;
    return "sent";
  } catch (error) {
    toast(reason(error), "bad");
    return error instanceof LiveError ? error.code : "internal";
  }
}

export async function grab(packet: string): Promise<void> {
  const share = await answered(live.ask<{ packet: string; amount: number }>("redpacket.grab", { packet }, { key: true }));
  if (!share) return;
  mine.got(share);
  toast(t("grabbed", { amount: money(share.amount) }), "good");
  setTimeout(mine.askBalance, 1500); // it is one's own at once, and in the wallet a moment later
}

export async function ask(text: string): Promise<boolean> {
  const put = await answered(live.ask<{ question: number }>("qa.ask", { text }, { key: true }));
  if (put) mine.asked.value = new Set([...mine.asked.value, put.question]);
  return put !== undefined;
}

export async function upvote(question: number): Promise<void> {
  if (await answered(live.ask("qa.upvote", { question }))) {
    mine.upvoted.value = new Set([...mine.upvoted.value, question]);
  }
}

export async function follow(on: boolean): Promise<void> {
  const d = await answered(live.ask<{ following: boolean }>("viewer.follow", { on }));
  if (d) mine.following.value = d.following;
}

/** Pass the room on: with the phone's own sheet where there is one, else by the clipboard. */
export async function share(): Promise<void> {
  const url = location.origin + location.pathname + location.search;
  const native = "share" in navigator;
  try {
    if (native) await navigator.share({ url, title: document.title });
    else await navigator.clipboard.writeText(url);
  } catch {
    return; // the viewer thought better of it
  }
  if (!native) toast(t("linkCopied"), "good");
  await answered(live.ask("viewer.share", { to: native ? "device" : "clipboard" }));
}

/** Count a look at an item; nothing hangs on it. */
export const look = (item: string): void => live.tell("shelf.click", { item });

/** Put units into the cart, as far as this page knows a cart: counted, and told. */
export async function cart(item: string, sku: string): Promise<void> {
  if (await answered(live.ask("shelf.cart", { item, sku, n: 1 }))) toast(t("inCart"), "good");
}

/** One's own place on a board. */
export const place = (board: string): Promise<{ rank: number | null; score: number } | undefined> =>
  live.ask<{ rank: number | null; score: number }>("rank.get", { board }).catch(() => undefined);

/** What keeps this viewer from talking, in words; empty: nothing. */
export function silencedBy(talk: string | undefined, nowMs: number): string {
  const until = mine.mutedUntil.value;
  if (until > nowMs) return until === Infinity ? refusal("muted") : t("mutedUntil", { time: timeOfDay(until) });
  if (talk === "hosts") return t("hostsOnly");
  return "";
}

/** What a speaker has to mind, in words; empty: nothing. */
export function mind(): string {
  const { slow_s = 0, followers = false, emote_only = false, level = 0 } = manners.value ?? {};
  const rules = [
    slow_s ? t("slowMode", { s: slow_s }) : "",
    followers ? t("followersOnly") : "",
    level ? t("levelOnly", { n: count(level) }) : "",
    emote_only ? t("emoteOnly") : "",
  ];
  return rules.filter(Boolean).join(" · ");
}
