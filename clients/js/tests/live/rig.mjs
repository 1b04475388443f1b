// What the scripts of this folder share. Each is run by tests/integration/clients/test_js_sdk.py
// against a real worker; `please` has that test do something and waits until it is done.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { connect, HostRoom } from "liveroom-client";

export { assert };

/** {url, control, room, other, tokens: {ann, bob, host, hostOther}} */
export const given = JSON.parse(process.argv[2]);

process.stdin.unref(); // the script ends when its sockets are closed
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

export async function please(what, more = {}) {
  console.log(JSON.stringify({ please: what, ...more }));
  return JSON.parse((await lines.next()).value);
}

/** A viewer that notes what it hears; an error event fails the script. */
export async function viewer(user, options = {}) {
  const live = await connect({
    url: given.url,
    room: given.room,
    token: given.tokens[user],
    WebSocket,
    ...options,
  });
  live.on("sdk.error", ({ error }) => {
    throw error;
  });
  return live;
}

export async function host(options = {}) {
  const room = new HostRoom({
    url: given.control,
    room: given.room,
    token: given.tokens.host,
    WebSocket,
    ...options,
  });
  await room.join();
  return room;
}

/** Wait until something holds that events or states change. */
export async function until(live, check) {
  const deadline = setTimeout(() => {
    throw new Error(`never true: ${check}`);
  }, 20_000);
  while (!check()) await live.once("sdk.raw");
  clearTimeout(deadline);
}

/** (seq, sub) of the durable events that listeners were given, in order. */
export function durables(live, names) {
  const heard = [];
  for (const name of names) live.on(name, (_, item) => heard.push([item.seq, item.sub ?? 0]));
  return heard;
}

export async function refused(promise) {
  const error = await promise.then(
    () => assert.fail("it was not refused"),
    (reason) => reason,
  );
  return error.code;
}

// An error that nobody awaits must fail the script.
process.on("unhandledRejection", (error) => {
  console.error(error);
  process.exit(1);
});
