// The client is held to the same vectors as the engine. `frames.json` is not read here: frames are
// the WebSocket's own business, below the API of browsers and Node.

import { expect, test } from "vitest";

import { backoffMs, reconnectMs } from "../src/backoff.js";
import { decodeItems, ENCODINGS } from "../src/codec.js";
import { closeOf, mayDialAgain } from "../src/codes.js";
import * as msgpack from "../src/msgpack.js";
import { compare } from "../src/position.js";
import { RoomTrack } from "../src/room.js";
import { greeting } from "./rig.js";
import { unhex, vectors } from "./files.js";

const items = vectors("server_items");
const byName = new Map<string, any>(items.items.map((row: any) => [row.name, row.item]));

test.each<[string, any]>(items.items.map((row: any) => [row.name, row]))("server item: %s", (_, row) => {
  expect(JSON.parse(row.json)).toEqual(row.item);
  expect(msgpack.decode(unhex(row.msgpack))).toEqual(row.item);
  expect(msgpack.decode(msgpack.encode(row.item))).toEqual(row.item);
  expect(msgpack.encode(row.item).length).toBe(row.msgpack.length / 2);
});

test.each<[string, any]>(items.messages.map((row: any) => [row.name, row]))(
  "server message: %s",
  (_, row) => {
    const wanted = row.items.map((name: string) => byName.get(name));
    expect(decodeItems(ENCODINGS.json, row.json)).toEqual(wanted);
    expect(decodeItems(ENCODINGS.msgpack, unhex(row.msgpack))).toEqual(wanted);
  },
);

const good = vectors("client_messages").cases.filter(
  (row: any) => row.json && row.msgpack && row.expect?.every((one: any) => !one.error),
);

test.each<[string, any]>(good.map((row: any) => [row.name, row]))("client message: %s", (_, row) => {
  const value = JSON.parse(row.json);
  expect(msgpack.decode(unhex(row.msgpack))).toEqual(value);
  expect(msgpack.decode(msgpack.encode(value))).toEqual(value);
  expect(JSON.parse(ENCODINGS.json.encode(value) as string)).toEqual(value);
  expect(msgpack.encode(value).length).toBe(row.msgpack.length / 2);
});

const positions = vectors("positions");

test("positions are compared within an epoch only", () => {
  for (const { a, b, order } of positions.compare) expect(compare(a, b) ?? null).toBe(order);
});

test.each<[string, any]>(positions.stream.map((row: any) => [row.name, row]))("stream: %s", (_, row) => {
  const track = new RoomTrack("demo");
  track.greet(greeting(row.start));
  expect(row.items.map((item: any) => track.durable(item.seq, item.sub ?? 0))).toEqual(row.verdicts);
  expect(track.position).toEqual(row.end);
});

const reconnect = vectors("reconnect");

test.each<[string, any]>(reconnect.closes.map((row: any) => [row.code, row]))("close %i", (_, row) => {
  const close = closeOf(row.code);
  const action = close.again ? (close.newToken ? "reconnect_with_new_token" : "reconnect") : "stop";
  expect(action).toBe(row.action);
  if (row.name) expect(close.name).toBe(row.name);
});

test("handshakes that were refused", () => {
  for (const { status, action } of reconnect.handshake)
    expect(mayDialAgain(status)).toBe(action === "reconnect");
});

test("backoff is full jitter with a bound", () => {
  for (const row of reconnect.backoff) expect(backoffMs(row.attempt, row.random)).toBe(row.delay_ms);
  for (const row of reconnect.sys_reconnect)
    expect(reconnectMs(row.after_ms, row.spread_ms, row.random)).toBe(row.delay_ms);
});
