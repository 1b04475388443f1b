/** Numbers as people read them. */

import { lang } from "./i18n";

const locale = lang === "zh" ? "zh-CN" : "en";
const whole = new Intl.NumberFormat(locale);
const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });

/** 12345 -> "12,345"; above a hundred thousand "1.2M" or "123.5万". */
export function count(n: number): string {
  return n < 100_000 ? whole.format(n) : compact.format(n);
}

/** An amount in minor units (cents, fen) -> "¥99.00"; without a currency "99.00". */
export function money(minor: number, currency?: string): string {
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  const style = currency ? { style: "currency" as const, currencyDisplay: "narrowSymbol" as const, currency } : digits;
  return new Intl.NumberFormat(locale, style).format(minor / 100);
}

/** "59.9" -> 5990. Digits are moved, not multiplied: 0.07 has no exact half. */
export function minor(text: string): number {
  const [units = "0", part = ""] = text.split(".");
  return Number(units || "0") * 100 + Number(part.padEnd(2, "0"));
}

/** Milliseconds that are left -> "0:09", "1:02:03"; never below zero; a begun second counts. */
export function clock(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const [h, m] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  const two = (n: number): string => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

/** Unix ms -> day and time: "Mar 3, 20:05". */
export function dayAndTime(ms: number): string {
  return new Date(ms).toLocaleString(locale, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
}

/** Unix ms -> the time of day, "20:05". */
export function timeOfDay(ms: number): string {
  return new Date(ms).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
}
