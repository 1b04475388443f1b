/** The pages' two languages. A page hands over its own texts; `?lang=` overrides the browser. */

export type Lang = "en" | "zh";

/** The language of this page: `?lang=zh`, else the browser's, else English. */
export const lang: Lang = chosen();

function chosen(): Lang {
  const asked = new URLSearchParams(location.search).get("lang") ?? navigator.language;
  return asked.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Texts of one page: for each name the English and the Chinese one, `{x}` to be filled in. */
export type Texts = Record<string, readonly [en: string, zh: string]>;

/**
 * Return the function that says a text by its name.
 *
 * `const t = speak({ left: ["{n} left", "剩 {n} 件"] }); t("left", { n: 3 })`
 */
export function speak<T extends Texts>(
  texts: T,
): (name: keyof T, values?: Record<string, string | number>) => string {
  return (name, values = {}) => {
    const both = texts[name];
    const text = both ? both[lang === "zh" ? 1 : 0] : String(name);
    return text.replace(/\{(\w+)\}/g, (whole, key: string) => String(values[key] ?? whole));
  };
}

document.documentElement.lang = lang === "zh" ? "zh-CN" : "en";
