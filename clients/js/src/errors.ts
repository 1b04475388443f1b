import { ERRORS, LOCAL_ERRORS } from "./codes.js";

/** What a `LiveError` is made of besides its code. */
export interface LiveErrorParts {
  op?: string | undefined;
  key?: string | undefined;
  retryMs?: number | undefined;
  values?: Record<string, unknown>;
}

/** A command that was refused, or that got no answer. */
export class LiveError extends Error {
  /** A row of the server's error table, or `timeout`, `closed`, `bad_reply`. */
  readonly code: string;
  /** The command; empty where the server did not say which one. */
  readonly op: string;
  /** Its idempotency key: send it again with this one, never with a new one. */
  declare readonly key?: string;
  /** Not before so many milliseconds. */
  declare readonly retryMs?: number;
  /** Further fields of the refusal, such as `price`, `version`, `balance`. */
  readonly values: Record<string, unknown>;

  constructor(code: string, message: string, parts: LiveErrorParts = {}) {
    super(message);
    this.name = "LiveError";
    this.code = code;
    this.op = parts.op ?? "";
    if (parts.key !== undefined) this.key = parts.key;
    if (parts.retryMs !== undefined) this.retryMs = parts.retryMs;
    this.values = parts.values ?? {};
  }

  /** Whether the same command (with the same key) may succeed later unchanged. */
  get again(): boolean {
    return ERRORS[this.code] ?? LOCAL_ERRORS[this.code] ?? false;
  }
}

/** A message that cannot be read: cut off, of false lengths, nested too deep, of an unknown kind. */
export class CodecError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CodecError";
  }
}
