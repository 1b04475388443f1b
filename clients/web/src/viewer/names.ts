/** How people and gifts are called on the screen. */

import { t } from "./texts";
import type { Gift, Person } from "./wire";

/** A name for the screen; somebody without one goes by the id. */
export const nameOf = (user: Person): string => user.name || user.id;

/** One of eight tints for a person, always the same. */
export function tintOf(id: string): number {
  let sum = 7;
  for (let i = 0; i < id.length; i++) sum = (sum * 31 + id.charCodeAt(i)) % 9973;
  return sum % 8;
}

const KNOWN = { rose: "rose", heart: "heart", rocket: "rocket" } as const;

/** The gift's name in this language if the page knows it, else as the host called it. */
export function giftName(id: string, offered: Gift[] = []): string {
  if (Object.hasOwn(KNOWN, id)) return t(KNOWN[id as keyof typeof KNOWN]);
  return offered.find((gift) => gift.id === id)?.name ?? id;
}
