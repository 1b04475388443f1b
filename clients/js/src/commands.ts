// Commands by name: a thin layer over `ask`. What they answer and refuse is in docs/protocol.md and
// docs/activities/.

import type { User, Unknown } from "./types.js";

/** How a command is asked. */
export interface AskOptions {
  /** Idempotency key; true: make one. Commands that need one get one by themselves. */
  key?: string | true;
  /** Refuse with `version_conflict` unless the state still has this version. */
  ifVersion?: number;
  /** One of the further rooms of a control connection. */
  room?: string;
  /** Reject with `timeout` after so long; a keyed command else waits for ever, others for `replyTimeoutMs`. */
  timeoutMs?: number;
  /** Stop waiting; whether the command was done is then not known. */
  signal?: AbortSignal;
}

/** Commands that need a key: those that move money or goods, or begin something. */
export const KEYED: ReadonlySet<string> = new Set([
  "coupon.claim",
  "coupon.drop",
  "coupon.rain",
  "flash.arm",
  "flash.reserve",
  "gift.send",
  "lottery.claim",
  "lottery.open",
  "poll.open",
  "quiz.open",
  "redpacket.grab",
  "redpacket.send",
  "rundown.start",
  "wallet.topup",
]);

const KEY_BYTES = 16;

/** Make an idempotency key: 16 random bytes in hexadecimal. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The answer to a gift: what was paid and what is left, minor units. */
export interface GiftReply {
  gift: string;
  n: number;
  combo: number;
  value: number;
  balance: number;
}

export interface Reservation {
  reservation: string;
  sale: string;
  sku: string;
  n: number;
  price: number;
  amount: number;
  currency: string;
  expires_ms: number;
}

export interface Coupon {
  coupon: string;
  code: string;
  drop: string;
  title: string;
  kind: "amount" | "percent";
  value: number;
  min_spend: number;
  stacking: string;
  valid_until_ms: number;
}

export interface RankReply {
  board: string;
  rank: number | null;
  score: number | null;
  top: { user: User; score: number }[];
}

/** What every viewer may send. */
export abstract class ViewerCommands {
  /** Send any command and wait for its answer. Rejects with `LiveError`. */
  abstract ask<R = Record<string, Unknown>>(op: string, d?: object, options?: AskOptions): Promise<R>;

  /** Like the room; taps are gathered into one command. */
  abstract like(n?: number): void;

  /** Say something: 1 to 100 characters. Refused with `rate_limited`, `muted`, `rejected`, `not_allowed`. */
  send(
    text: string,
    more: { mode?: "scroll" | "top" | "bottom"; color?: number; reply_to?: string } = {},
  ): Promise<{ id: string }> {
    return this.ask("danmaku.send", { text, ...more });
  }

  /** Send a gift, once, however often the connection breaks. Refused with `insufficient_funds`. */
  gift(gift: string, n = 1, more: { combo?: boolean } = {}): Promise<GiftReply> {
    return this.ask("gift.send", { gift, n, ...more });
  }

  /** The own balance, minor units. */
  wallet(): Promise<{ balance: number }> {
    return this.ask("wallet.get");
  }

  /** Vote; options are numbered from 0. */
  vote(poll: string, options: number[]): Promise<{ poll: string; options: number[] }> {
    return this.ask("poll.vote", { poll, options });
  }

  /** Take part in a draw; `nonce`: own randomness, hexadecimal. Refused with `not_eligible` (`missing`). */
  enter(lottery: string, more: { nonce?: string } = {}): Promise<{ lottery: string; nonce?: string }> {
    return this.ask("lottery.enter", { lottery, ...more });
  }

  /** Claim what was won in a draw. */
  claimPrize(
    lottery: string,
    contact?: string,
  ): Promise<{ lottery: string; prize: string; title: string; claimed_ms: number }> {
    return this.ask("lottery.claim", { lottery, ...(contact === undefined ? {} : { contact }) });
  }

  /** Reserve units of a flash sale; `price`: at this price or not at all. */
  reserve(sku: string, n = 1, more: { price?: number } = {}): Promise<Reservation> {
    return this.ask("flash.reserve", { sku, n, ...more });
  }

  /** Give a reservation back. */
  cancel(reservation: string): Promise<Reservation & { state: string }> {
    return this.ask("flash.cancel", { reservation });
  }

  /** Claim a coupon of a drop. */
  claim(drop: string): Promise<Coupon> {
    return this.ask("coupon.claim", { drop });
  }

  /** Take a share of a red packet. */
  grab(packet: string): Promise<{ packet: string; amount: number; share: number; left: number }> {
    return this.ask("redpacket.grab", { packet });
  }

  /** Ask the host something. */
  question(text: string): Promise<{ question: number }> {
    return this.ask("qa.ask", { text }, { key: true });
  }

  /** Vote for somebody else's question. */
  upvote(question: number): Promise<{ question: number; votes: number }> {
    return this.ask("qa.upvote", { question });
  }

  /** Answer a quiz: an option's number, or the text of a riddle. */
  answer(quiz: string, option: number | string): Promise<{ quiz: string; answered: boolean }> {
    return this.ask("quiz.answer", typeof option === "number" ? { quiz, option } : { quiz, text: option });
  }

  /** Follow the room, or stop to. */
  follow(on = true): Promise<{ following: boolean; new: boolean; total: number }> {
    return this.ask("viewer.follow", { on });
  }

  /** Tell that the room was passed on. */
  share(to?: string): Promise<object> {
    return this.ask("viewer.share", to === undefined ? {} : { to });
  }

  /** Count a look at an item of the shelf. */
  click(item: string): Promise<object> {
    return this.ask("shelf.click", { item });
  }

  /** Count units put into the cart. */
  cart(item: string, sku: string, n = 1): Promise<object> {
    return this.ask("shelf.cart", { item, sku, n });
  }

  /** Look at a board. */
  rank(board: "contribution" | "likes" | "quiz"): Promise<RankReply> {
    return this.ask("rank.get", { board });
  }
}
