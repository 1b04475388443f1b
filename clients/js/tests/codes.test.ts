// The tables here are those of docs/protocol.md, which are made from the server's code.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

import { CLOSES, ERRORS, LOCAL_ERRORS } from "../src/codes.js";
import { KEYED } from "../src/commands.js";
import { LiveError } from "../src/errors.js";
import { NAME } from "../src/version.js";
import { table } from "./files.js";

test("refusals are those of the server", () => {
  const rows = table("errors").map(([code, , again]) => [code, again === "yes"]);
  expect(Object.fromEntries(rows)).toEqual(ERRORS);
  expect(rows.length).toBeGreaterThan(30);
});

test("close codes are those of the server", () => {
  const rows = table("closes").map(([number, name, again, text]) => [number, [name, again === "yes", text]]);
  expect(Object.fromEntries(rows)).toEqual(CLOSES);
});

test("commands that need a key get one", () => {
  const names = ["viewer-commands", "host-commands", "service-commands"];
  const needed = names
    .flatMap(table)
    .filter((row) => row[2] === "yes")
    .map((row) => row[0]);
  expect(needed.filter((op) => !KEYED.has(op!))).toEqual([]);
  const plugins = [...KEYED].filter((op) => !needed.includes(op));
  expect(plugins.filter((op) => !/^(coupon|redpacket)\./.test(op))).toEqual([]);
});

test("an error tells whether to try again", () => {
  expect(new LiveError("sold_out", "").again).toBe(true);
  expect(new LiveError("ended", "").again).toBe(false);
  expect(new LiveError("of_the_future", "").again).toBe(false);
  expect(Object.keys(LOCAL_ERRORS).map((code) => new LiveError(code, "").again)).toEqual([true, true, false]);
});

test("the hello names the package's version", () => {
  const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf-8"));
  expect(NAME).toBe(`${manifest.name}/${manifest.version}`);
  expect(manifest.dependencies).toBeUndefined();
});
