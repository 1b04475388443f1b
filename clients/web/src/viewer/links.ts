/** Addresses that people typed: only https leaves this page, or is loaded into it. */

/** The address if it is one of https, else undefined: no `javascript:`, `data:` or plain http. */
export function httpsOnly(url: string | undefined): string | undefined {
  if (!url) return undefined;
  try {
    const parsed = new URL(url);
    return parsed.protocol === "https:" ? parsed.href : undefined;
  } catch {
    return undefined;
  }
}
