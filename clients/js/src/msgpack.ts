// MessagePack, as much of it as the wire uses. Nothing that comes is believed: a length is held
// against the bytes that are there before anything is made of it, and nesting has an end.

import { CodecError } from "./errors.js";

/** Deepest nesting of a message, either way. */
export const MAX_DEPTH = 64;

const utf8 = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

// Reading.

class Reader {
  #at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  value(depth: number): unknown {
    const kind = this.#u8();
    if (kind < 0x80) return kind;
    if (kind < 0x90) return this.#map(kind & 0x0f, depth);
    if (kind < 0xa0) return this.#list(kind & 0x0f, depth);
    if (kind < 0xc0) return this.#text(kind & 0x1f);
    if (kind >= 0xe0) return kind - 0x100;
    return this.#long(kind, depth);
  }

  #long(kind: number, depth: number): unknown {
    switch (kind) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(this.#u8());
      case 0xc5:
        return this.#binary(this.#u16());
      case 0xc6:
        return this.#binary(this.#u32());
      case 0xca:
        return this.#view.getFloat32(this.#skip(4));
      case 0xcb:
        return this.#view.getFloat64(this.#skip(8));
      case 0xcc:
        return this.#u8();
      case 0xcd:
        return this.#u16();
      case 0xce:
        return this.#u32();
      // Beyond 2^53 digits are lost, as they are in JSON; the wire has no such numbers.
      case 0xcf:
        return Number(this.#view.getBigUint64(this.#skip(8)));
      case 0xd0:
        return this.#view.getInt8(this.#skip(1));
      case 0xd1:
        return this.#view.getInt16(this.#skip(2));
      case 0xd2:
        return this.#view.getInt32(this.#skip(4));
      case 0xd3:
        return Number(this.#view.getBigInt64(this.#skip(8)));
      case 0xd9:
        return this.#text(this.#u8());
      case 0xda:
        return this.#text(this.#u16());
      case 0xdb:
        return this.#text(this.#u32());
      case 0xdc:
        return this.#list(this.#u16(), depth);
      case 0xdd:
        return this.#list(this.#u32(), depth);
      case 0xde:
        return this.#map(this.#u16(), depth);
      case 0xdf:
        return this.#map(this.#u32(), depth);
      default:
        throw new CodecError(`expected a MessagePack type of the wire, came 0x${kind.toString(16)}`);
    }
  }

  #skip(size: number): number {
    if (size > this.left) throw new CodecError(`expected ${size} more bytes, came ${this.left}`);
    const at = this.#at;
    this.#at += size;
    return at;
  }

  #u8(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  #u16(): number {
    return this.#view.getUint16(this.#skip(2));
  }

  #u32(): number {
    return this.#view.getUint32(this.#skip(4));
  }

  #binary(size: number): Uint8Array {
    const at = this.#skip(size);
    return this.#bytes.slice(at, at + size);
  }

  #text(size: number): string {
    const at = this.#skip(size);
    return (size < 24 ? this.#ascii(at, size) : undefined) ?? this.#utf8(at, size);
  }

  // Field names and ids: a decoder call for each costs several times as much.
  #ascii(at: number, size: number): string | undefined {
    let text = "";
    for (let i = at; i < at + size; i++) {
      const byte = this.#bytes[i]!;
      if (byte > 0x7f) return undefined;
      text += String.fromCharCode(byte);
    }
    return text;
  }

  #utf8(at: number, size: number): string {
    try {
      return strict.decode(this.#bytes.subarray(at, at + size));
    } catch {
      throw new CodecError("expected text in UTF-8");
    }
  }

  #list(size: number, depth: number): unknown[] {
    this.#expectRoom(size, depth);
    const list: unknown[] = [];
    for (let i = 0; i < size; i++) list.push(this.value(depth + 1));
    return list;
  }

  #map(size: number, depth: number): Record<string, unknown> {
    this.#expectRoom(size * 2, depth);
    const map: Record<string, unknown> = {};
    for (let i = 0; i < size; i++) {
      const name = this.value(depth + 1);
      if (typeof name !== "string")
        throw new CodecError(`expected a text as a map's key, came ${typeof name}`);
      put(map, name, this.value(depth + 1));
    }
    return map;
  }

  // Every value takes a byte at least: a claim of more of them than bytes is a lie.
  #expectRoom(values: number, depth: number): void {
    if (depth >= MAX_DEPTH) throw new CodecError(`expected a nesting of at most ${MAX_DEPTH}`);
    if (values > this.left) throw new CodecError(`expected ${values} more values, came ${this.left} bytes`);
  }
}

// An assignment to `__proto__` would change the object's prototype in the place of a field.
function put(map: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== "__proto__") map[name] = value;
  else Object.defineProperty(map, name, { value, writable: true, enumerable: true, configurable: true });
}

/** Decode one message. Throws `CodecError` for everything that is not exactly one value. */
export function decode(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (reader.left > 0) throw new CodecError(`expected the message's end, came ${reader.left} more bytes`);
  return value;
}

// Writing.

class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  done(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#at);
  }

  value(value: unknown, depth: number): void {
    if (value === null || value === undefined) this.#u8(0xc0);
    else if (typeof value === "boolean") this.#u8(value ? 0xc3 : 0xc2);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "string") this.#text(value);
    else if (value instanceof Uint8Array) this.#binary(value);
    else if (typeof value === "object") this.#nested(value, depth);
    else throw new CodecError(`expected a value of the wire, came a ${typeof value}`);
  }

  #nested(value: object, depth: number): void {
    if (depth >= MAX_DEPTH) throw new CodecError(`expected a nesting of at most ${MAX_DEPTH}`);
    if (Array.isArray(value)) this.#list(value, depth);
    else this.#map(value as Record<string, unknown>, depth);
  }

  #reserve(size: number): number {
    const at = this.#at;
    this.#at += size;
    if (this.#at > this.#bytes.length) this.#grow();
    return at;
  }

  #grow(): void {
    const bytes = new Uint8Array(Math.max(this.#at, this.#bytes.length * 2));
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }

  // The position first, then the view: reserving may put another view in its place.
  #u8(value: number): void {
    const at = this.#reserve(1);
    this.#view.setUint8(at, value);
  }

  #u16(value: number): void {
    const at = this.#reserve(2);
    this.#view.setUint16(at, value);
  }

  #u32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setUint32(at, value);
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) this.#float(value);
    else if (value >= 0) this.#natural(value);
    else this.#negative(value);
  }

  #float(value: number): void {
    this.#u8(0xcb);
    const at = this.#reserve(8);
    this.#view.setFloat64(at, value);
  }

  #natural(value: number): void {
    if (value < 0x80) this.#u8(value);
    else if (value <= 0xff) {
      this.#u8(0xcc);
      this.#u8(value);
    } else if (value <= 0xffff) {
      this.#u8(0xcd);
      this.#u16(value);
    } else if (value <= 0xffffffff) {
      this.#u8(0xce);
      this.#u32(value);
    } else this.#wide(0xcf, value);
  }

  #negative(value: number): void {
    if (value >= -0x20) this.#u8(value & 0xff);
    else if (value >= -0x80) {
      this.#u8(0xd0);
      this.#u8(value & 0xff);
    } else if (value >= -0x8000) {
      this.#u8(0xd1);
      this.#u16(value & 0xffff);
    } else if (value >= -0x80000000) {
      this.#u8(0xd2);
      this.#u32(value >>> 0);
    } else this.#wide(0xd3, value);
  }

  #wide(kind: number, value: number): void {
    this.#u8(kind);
    const at = this.#reserve(8);
    this.#view.setBigInt64(at, BigInt(value));
  }

  #text(text: string): void {
    const bytes = utf8.encode(text);
    const size = bytes.length;
    if (size < 0x20) this.#u8(0xa0 | size);
    else if (size <= 0xff) {
      this.#u8(0xd9);
      this.#u8(size);
    } else if (size <= 0xffff) {
      this.#u8(0xda);
      this.#u16(size);
    } else {
      this.#u8(0xdb);
      this.#u32(size);
    }
    this.#raw(bytes);
  }

  #binary(bytes: Uint8Array): void {
    this.#u8(0xc6);
    this.#u32(bytes.length);
    this.#raw(bytes);
  }

  #raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
  }

  #list(list: readonly unknown[], depth: number): void {
    this.#head(list.length, 0x90, 0xdc);
    for (const value of list) this.value(value, depth + 1);
  }

  // As in JSON, a field that is undefined is left out.
  #map(map: Record<string, unknown>, depth: number): void {
    const fields = Object.entries(map).filter(([, value]) => value !== undefined);
    this.#head(fields.length, 0x80, 0xde);
    for (const [name, value] of fields) {
      this.#text(name);
      this.value(value, depth + 1);
    }
  }

  #head(size: number, short: number, long: number): void {
    if (size < 0x10) this.#u8(short | size);
    else if (size <= 0xffff) {
      this.#u8(long);
      this.#u16(size);
    } else {
      this.#u8(long + 1);
      this.#u32(size);
    }
  }
}

/** Encode one value in the shortest forms. Throws `CodecError` for functions, bigints, cycles. */
export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.value(value, 0);
  return writer.done();
}
