/** Bytes, hashes and canonical JSON, as the proof of a draw needs them (docs/draw-proof.md). */

export type Bytes = Uint8Array<ArrayBuffer>;

export const utf8 = (text: string): Bytes => new TextEncoder().encode(text) as Bytes;

export const hex = (found: Bytes): string => Array.from(found, (b) => b.toString(16).padStart(2, "0")).join("");

export function bytes(text: string): Bytes {
  const found = new Uint8Array(text.length / 2);
  for (let i = 0; i < found.length; i++) found[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return found;
}

function joined(parts: Bytes[]): Bytes {
  const found = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { found.set(part, at); at += part.length; }
  return found;
}

/** The parts with one 0x7C between each two. */
export const barred = (parts: Bytes[]): Bytes =>
  joined(parts.flatMap((part, i) => (i ? [new Uint8Array([0x7c]), part] : [part])));

export const sha256 = async (of: Bytes): Promise<Bytes> => new Uint8Array(await crypto.subtle.digest("SHA-256", of));

export async function hmacWith(key: Bytes): Promise<(of: Bytes) => Promise<Bytes>> {
  const made = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return async (of) => new Uint8Array(await crypto.subtle.sign("HMAC", made, of));
}

const AT_ONCE = 512;

/** Do something for each, some at a time: the page stays usable with a hundred thousand entrants. */
export async function each<T, R>(rows: T[], fn: (row: T) => Promise<R>): Promise<R[]> {
  const found: R[] = [];
  for (let i = 0; i < rows.length; i += AT_ONCE) found.push(...(await Promise.all(rows.slice(i, i + AT_ONCE).map(fn))));
  return found;
}

/** The Merkle tree hash of RFC 6962, section 2.1, level by level. */
export async function merkleRoot(leaves: Bytes[]): Promise<Bytes> {
  if (!leaves.length) return sha256(new Uint8Array());
  const [leafMark, nodeMark] = [new Uint8Array([0]), new Uint8Array([1])];
  let level = await each(leaves, (leaf) => sha256(joined([leafMark, leaf])));
  while (level.length > 1) {
    const pairs = level.flatMap((left, i) => (i % 2 === 0 ? [[left, level[i + 1]] as const] : []));
    level = await each(pairs, async ([left, right]) => (right ? sha256(joined([nodeMark, left, right])) : left));
  }
  return level[0]!;
}

/** RFC 8785 for texts and whole numbers. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonical(field)}`).join(",")}}`;
}
