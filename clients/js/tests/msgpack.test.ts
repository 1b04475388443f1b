import { expect, test } from "vitest";

import { CodecError } from "../src/errors.js";
import { decode, encode, MAX_DEPTH } from "../src/msgpack.js";
import { unhex } from "./files.js";
import { seeded } from "./rig.js";

const PIECES = [
  "",
  "a",
  "key",
  "你好",
  "👋🏽",
  "x".repeat(31),
  "x".repeat(32),
  "é".repeat(200),
  "z".repeat(70_000),
  "__proto__",
  "\u0000",
];
const NUMBERS = [
  0,
  1,
  -1,
  127,
  128,
  -32,
  -33,
  255,
  256,
  65_535,
  65_536,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
  -(2 ** 53 - 1),
  -129,
  -32_769,
  -(2 ** 31) - 1,
  0.5,
  -0,
  1e300,
  Infinity,
  NaN,
];

function anything(random: () => number, depth = 0): unknown {
  const pick = <T>(list: T[]): T => list[Math.floor(random() * list.length)]!;
  const kind = Math.floor(random() * (depth > 4 ? 4 : 6));
  if (kind === 0) return pick([null, true, false]);
  if (kind === 1) return pick(NUMBERS);
  if (kind === 2) return pick(PIECES.slice(0, 8));
  if (kind === 3) return Math.floor((random() - 0.5) * 2 ** Math.floor(random() * 53));
  const size = Math.floor(random() * (random() < 0.05 ? 40 : 5));
  if (kind === 4) return Array.from({ length: size }, () => anything(random, depth + 1));
  return Object.fromEntries(
    Array.from({ length: size }, (_, i) => [`${pick(PIECES.slice(0, 6))}${i}`, anything(random, depth + 1)]),
  );
}

test("what is written is read back", () => {
  for (const value of [...PIECES, ...NUMBERS, [], {}, Array(16).fill(1), Array(70_000).fill(0)])
    expect(decode(encode(value))).toEqual(value);
  const random = seeded(1);
  for (let i = 0; i < 2_000; i++) {
    const value = anything(random);
    expect(decode(encode(value))).toEqual(value);
  }
});

test("fields that are undefined are left out, as in JSON", () => {
  expect(decode(encode({ a: undefined, b: [undefined] }))).toEqual({ b: [null] });
});

test("binary, floats and wide numbers are read", () => {
  expect(decode(unhex("c403010203"))).toEqual(new Uint8Array([1, 2, 3]));
  expect(decode(encode(new Uint8Array([1, 2])))).toEqual(new Uint8Array([1, 2]));
  expect(decode(unhex("ca3fc00000"))).toBe(1.5);
  expect(decode(unhex("cfffffffffffffffff"))).toBe(2 ** 64);
  expect(decode(unhex("d3ffffffffffffffff"))).toBe(-1);
});

test("a field __proto__ is a field", () => {
  const map = decode(encode(JSON.parse('{"__proto__":{"admin":true}}'))) as Record<string, unknown>;
  expect(Object.keys(map)).toEqual(["__proto__"]);
  expect(map["admin"]).toBeUndefined();
});

test.each([
  ["nothing", ""],
  ["a text that is cut off", "a56162"],
  ["a list of four thousand million values", "ddffffffff"],
  ["a list that claims more than there is", "dc00ff01"],
  ["a map of four thousand million fields", "dfffffffff01"],
  ["a binary of four gigabytes", "c6ffffffff00"],
  ["a text of four gigabytes", "dbffffffff00"],
  ["a number that is cut off", "cf000000"],
  ["two values", "0102"],
  ["a type that does not exist", "c1"],
  ["an extension", "d40100"],
  ["a timestamp", "d6ff00000000"],
  ["a long extension", "c70501aaaaaaaaaa"],
  ["a map whose key is a number", "810101"],
  ["a map whose key is a list", "819001"],
  ["text that is not UTF-8", "a2c328"],
  ["a surrogate in UTF-8", "a3eda080"],
])("refused: %s", (_, hex) => {
  expect(() => decode(unhex(hex))).toThrow(CodecError);
});

test("nesting has an end, both ways", () => {
  const deep = (levels: number): Uint8Array => Uint8Array.from([...Array(levels).fill(0x91), 0x01]);
  expect(() => decode(deep(MAX_DEPTH))).not.toThrow();
  expect(() => decode(deep(MAX_DEPTH + 1))).toThrow(CodecError);
  expect(() => decode(deep(1_000_000))).toThrow(CodecError);
  const cycle: unknown[] = [];
  cycle.push(cycle);
  expect(() => encode(cycle)).toThrow(CodecError);
  expect(() => encode({ f: () => 1 })).toThrow(CodecError);
  expect(() => encode(1n)).toThrow(CodecError);
});

test("junk is a value or a typed error", () => {
  const random = seeded(2);
  for (let i = 0; i < 20_000; i++) {
    const bytes = Uint8Array.from({ length: Math.floor(random() * 60) }, () => Math.floor(random() * 256));
    expectValueOrError(bytes);
  }
});

test("messages with bytes changed or cut off are a value or a typed error", () => {
  const random = seeded(3);
  for (let i = 0; i < 5_000; i++) {
    const bytes = encode(anything(random));
    for (let n = 0; n < 3 && bytes.length > 0; n++)
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    expectValueOrError(random() < 0.5 ? bytes : bytes.subarray(0, Math.floor(random() * bytes.length)));
  }
});

function expectValueOrError(bytes: Uint8Array): void {
  try {
    decode(bytes);
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
  }
}
