/** Amounts and times as the desk shows them: short, and the same width. */

import { lang } from "../shared/i18n";

const locale = lang === "zh" ? "zh-CN" : "en";

/** An amount in minor units: "¥59.00"; without a currency "59.00". */
export function cash(minor: number, currency?: string): string {
  return formatted(minor, currency, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

/** The same in little room: "¥97.3K", "¥9.7万" from ten thousand on. */
export function shortCash(minor: number, currency?: string): string {
  const size = Math.abs(minor);
  if (size < 100_000) return cash(minor, currency);
  if (size < 1_000_000) return formatted(minor, currency, { maximumFractionDigits: 0 });
  return formatted(minor, currency, { notation: "compact", maximumFractionDigits: 1, minimumFractionDigits: 0 });
}

function formatted(minor: number, currency: string | undefined, how: Intl.NumberFormatOptions): string {
  const style = currency
    ? ({ style: "currency", currency, currencyDisplay: "narrowSymbol" } as const)
    : {};
  return new Intl.NumberFormat(locale, { ...style, ...how }).format(minor / 100);
}

/** Unix ms -> "20:05". */
export function hour(ms: number): string {
  const time = new Date(ms);
  return `${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** Unix ms -> "20:05:31". */
export function moment(ms: number): string {
  return `${hour(ms)}:${two(new Date(ms).getSeconds())}`;
}

const two = (n: number): string => String(n).padStart(2, "0");
