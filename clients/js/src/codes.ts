// Every way to say no, as in the tables of docs/protocol.md section 10. A test holds both tables
// to those of the server.

/** Code of a refusal -> may the same command (same key) succeed later unchanged? */
export const ERRORS: Readonly<Record<string, boolean>> = {
  bad_message: false,
  bad_request: false,
  unknown_op: false,
  key_required: false,
  key_mismatch: false,
  amount_too_large: false,
  unauthorized: false,
  forbidden: false,
  not_found: false,
  no_room: false,
  room_closed: false,
  version_conflict: false,
  not_allowed: true,
  muted: true,
  rejected: false,
  rate_limited: true,
  insufficient_funds: true,
  aborted: false,
  exists: false,
  already_running: true,
  already_done: false,
  too_early: true,
  ended: false,
  sold_out: true,
  limit_reached: false,
  not_eligible: true,
  below_held: false,
  expired: false,
  final: false,
  amount_mismatch: false,
  outcome_unknown: true,
  unavailable: true,
  overloaded: true,
  internal: true,
};

/** Codes that the client itself gives: no answer in time, no connection, an answer of no known shape. */
export const LOCAL_ERRORS: Readonly<Record<string, boolean>> = {
  timeout: true,
  closed: true,
  bad_reply: false,
};

/** Refusals after which a command with a key is sent again by itself. */
export const SENT_AGAIN: ReadonlySet<string> = new Set(["outcome_unknown", "unavailable", "overloaded"]);

/** Number of a close code -> [name, come back, what it means]. */
export const CLOSES: Readonly<Record<number, readonly [name: string, again: boolean, text: string]>> = {
  1000: ["normal", false, "done"],
  1001: ["going_away", true, "the server goes away"],
  1002: ["protocol_error", false, "RFC 6455 was broken"],
  1003: ["unsupported", false, "text where binary was agreed, or the reverse"],
  1007: ["bad_payload", false, "the text is not UTF-8, or the deflate data is bad"],
  1008: ["policy", false, "too many bad or too many messages"],
  1009: ["too_big", false, "the message is larger than the limit"],
  1011: ["internal", true, "something failed on the server's side"],
  1012: ["restart", true, "the worker restarts"],
  1013: ["try_later", true, "the server is at its limit"],
  4001: ["token_expired", true, "come back with a new token"],
  4003: ["slow", true, "the connection could not keep up"],
  4008: ["hello_timeout", true, "no hello came in time"],
  4009: ["no_pong", true, "the connection was silent for too long"],
  4010: ["position_lost", true, "the position cannot be continued"],
  4029: ["flooding", true, "too many messages in a short time"],
  4400: ["bad_hello", false, "the first message was not a valid hello"],
  4401: ["bad_token", false, "the token is not valid here"],
  4403: ["banned", false, "you may not be in this room"],
  4404: ["no_room", false, "there is no such room"],
  4409: ["too_many_sessions", false, "this user has too many connections"],
};

// What a WebSocket library reports by itself, after a close that the server did not make.
const LOST: Readonly<Record<number, string>> = {
  1005: "the connection was closed without a reason",
  1006: "the connection was lost",
  1014: "the server could not be reached",
};

/** What a close means. */
export interface Close {
  readonly code: number;
  /** Name in the table; `lost` for a connection that broke, `unknown` for a code that is not in it. */
  readonly name: string;
  /** Whether to come back. */
  readonly again: boolean;
  /** Whether to fetch a new token before. */
  readonly newToken: boolean;
  /** For people: the server's reason, or the table's sentence. */
  readonly text: string;
}

export const TOKEN_EXPIRED = 4001;

/** Tell what a close code means; a code that is not known goes by its range. */
export function closeOf(code: number, reason = ""): Close {
  const row = CLOSES[code];
  const lost = LOST[code];
  const again = row ? row[1] : lost !== undefined || (code >= 4000 && code < 4400);
  return {
    code,
    name: row?.[0] ?? (lost ? "lost" : "unknown"),
    again,
    newToken: code === TOKEN_EXPIRED,
    text: reason || (row?.[2] ?? lost ?? "the connection was closed"),
  };
}

/** Whether to try again after the handshake was answered with this HTTP status. */
export function mayDialAgain(httpStatus: number): boolean {
  return httpStatus === 429 || httpStatus >= 500;
}
