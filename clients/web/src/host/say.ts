/** Texts that stand where they are used: in tables of fields and actions. */

import { lang } from "../shared/i18n";

/** The English and the Chinese text. */
export type Pair = readonly [en: string, zh: string];

/** Return the text of this page's language, `{x}` filled in. */
export function say(pair: Pair, values: Record<string, string | number> = {}): string {
  const text = pair[lang === "zh" ? 1 : 0];
  return text.replace(/\{(\w+)\}/g, (whole, key: string) => String(values[key] ?? whole));
}
