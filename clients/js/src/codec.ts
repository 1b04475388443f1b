import { CodecError } from "./errors.js";
import * as msgpack from "./msgpack.js";
import type { Codec, Item } from "./types.js";

/** Largest message that is looked at, in bytes (characters of JSON); greetings are below 1 MiB, a long resume may be twice that. */
export const MAX_MESSAGE = 8 * 1024 * 1024;

/** What a WebSocket carries. */
export type Data = string | Uint8Array<ArrayBuffer>;

/** One of the wire's two encodings. */
export interface Encoding {
  readonly subprotocol: string;
  encode(value: unknown): Data;
  /** Throws `CodecError` for everything that is not a message of this encoding. */
  decode(data: unknown): unknown;
}

function decodeJson(data: unknown): unknown {
  if (typeof data !== "string") throw new CodecError("expected text, came binary");
  if (data.length > MAX_MESSAGE)
    throw new CodecError(`expected at most ${MAX_MESSAGE} characters, came ${data.length}`);
  try {
    return JSON.parse(data) as unknown;
  } catch {
    throw new CodecError("expected JSON");
  }
}

function bytesOf(data: unknown): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new CodecError("expected binary, came text");
}

function decodeMsgpack(data: unknown): unknown {
  const bytes = bytesOf(data);
  if (bytes.length > MAX_MESSAGE)
    throw new CodecError(`expected at most ${MAX_MESSAGE} bytes, came ${bytes.length}`);
  return msgpack.decode(bytes);
}

export const ENCODINGS: Readonly<Record<Codec, Encoding>> = {
  json: { subprotocol: "liveroom.v1.json", encode: (value) => JSON.stringify(value), decode: decodeJson },
  msgpack: { subprotocol: "liveroom.v1.msgpack", encode: msgpack.encode, decode: decodeMsgpack },
};

/** Decode a server's message: a list of items. Throws `CodecError`. */
export function decodeItems(encoding: Encoding, data: unknown): Item[] {
  const message = encoding.decode(data);
  if (!Array.isArray(message)) throw new CodecError("expected a list of items");
  const stray = message.findIndex((item) => !isRecord(item));
  if (stray >= 0) throw new CodecError(`expected an object as item ${stray}`);
  return message as Item[];
}

/** Whether a value is an object with fields. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}
