import { readFileSync } from "node:fs";

/** Read a file of the repository. */
export function read(path: string): string {
  return readFileSync(new URL(`../../../${path}`, import.meta.url), "utf-8");
}

export function vectors(name: string): any {
  return JSON.parse(read(`tests/vectors/${name}.json`));
}

export function unhex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** The rows of a table of docs/protocol.md, cells without backquotes. */
export function table(name: string): string[][] {
  const text =
    read("docs/protocol.md").split(`<!-- table: ${name} -->`)[1]?.split("<!-- end of table -->")[0] ?? "";
  const rows = text.trim().split("\n").slice(2);
  return rows.map((row) =>
    row
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replace(/^`|`$/g, "")),
  );
}
