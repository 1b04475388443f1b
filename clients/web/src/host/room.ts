/** The connection, and what it tells, as signals. */

import { batch, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { type AskOptions, HostRoom, type LiveState, type Status } from "liveroom-client";

export type Role = "viewer" | "assistant" | "moderator" | "host" | "service";
const ROLES: readonly Role[] = ["viewer", "assistant", "moderator", "host", "service"];

export interface Me {
  user: string;
  name: string;
  role: Role;
  room: string;
}

type Listener = (d: never, item: never) => void;

export const me = signal<Me | undefined>(undefined);
export const link = signal<{ status: Status; retryAt?: number; text?: string }>({ status: "idle" });
/** Why the room could not be entered: an error or a close. */
export const refused = signal<{ code: string; text: string } | undefined>(undefined);
/** Names of the states that are there. */
export const names = signal<readonly string[]>([]);
/** Changes once a second, for clocks. */
export const second = signal(Date.now());

const cells = new Map<string, Signal<unknown>>();
const listeners: [string, Listener][] = [];
const beginnings: (() => void)[] = [];
const returns: (() => void)[] = [];
let live: HostRoom | undefined;
let token = "";

setInterval(() => (second.value = Date.now()), 1000);

/** Say what to do with an event, in every room that is entered. */
export function on<D, I = unknown>(event: string, heard: (d: D, item: I) => void): void {
  listeners.push([event, heard as Listener]);
}

/** Say what to do when all that was derived has to be dropped. */
export function onBegin(act: () => void): void {
  beginnings.push(act);
}

/** Say what to do with every greeting, resumed or not: what is not resumed has to be asked for. */
export function onLive(act: () => void): void {
  returns.push(act);
}

/** Enter a room; `refused` tells if that failed. */
export async function enter(room: string, withToken: string): Promise<void> {
  leave();
  token = withToken;
  const own = new HostRoom({ url: "/control", room, token: () => token, client: "console/1" });
  live = own;
  own.on("sdk.status", (state: LiveState) => follow(own, state));
  own.on("sdk.state", ({ key, value }: { key: string; value: unknown }) => set(key, value));
  own.on("sdk.greeting", () => {
    if (own === live) for (const act of returns) act();
  });
  own.on("sdk.reset", () => begin(own));
  for (const [event, heard] of listeners) own.on(event, heard as never);
  try {
    await own.join();
  } catch (error) {
    if (live === own) refused.value ??= reasonOf(error, own.state);
  }
}

/** Leave the room and forget it. */
export function leave(): void {
  void live?.close();
  live = undefined;
  batch(() => {
    me.value = undefined;
    refused.value = undefined;
    link.value = { status: "idle" };
    forget();
  });
}

function follow(own: HostRoom, state: LiveState): void {
  if (own !== live) return;
  link.value = {
    status: state.status,
    ...(state.retryAt ? { retryAt: state.retryAt } : {}),
    ...(state.close ? { text: state.close.text } : {}),
  };
  if (state.status === "waiting" && state.close?.name === "token_expired") {
    refused.value = reasonOf(undefined, state); // nobody has another token but who signs in
    void own.close();
  }
  if (state.status === "ended") refused.value ??= reasonOf(undefined, state);
  if (state.status !== "live") return;
  me.value = { user: state.user, name: state.name, role: state.role as Role, room: state.room };
}

function begin(own: HostRoom): void {
  if (own !== live) return;
  batch(() => {
    forget();
    for (const act of beginnings) act();
    for (const [key, value] of own.state.states) set(key, value);
  });
}

function forget(): void {
  for (const cell of cells.values()) cell.value = undefined;
  names.value = [];
}

function reasonOf(error: unknown, state: LiveState): { code: string; text: string } {
  const { code, message } = (error ?? {}) as { code?: string; message?: string };
  const close = state.close;
  return { code: code ?? close?.name ?? "closed", text: message ?? close?.text ?? "" };
}

function set(key: string, value: unknown): void {
  const known = names.value.includes(key);
  const there = value !== undefined && value !== null;
  if (known !== there) {
    names.value = there ? [...names.value, key] : names.value.filter((name) => name !== key);
  }
  cell(key).value = there ? value : undefined;
}

function cell(key: string): Signal<unknown> {
  let found = cells.get(key);
  if (!found) cells.set(key, (found = signal<unknown>(undefined)));
  return found;
}

/** The newest value of a state. */
export function state<T>(key: string): ReadonlySignal<T | undefined> {
  return cell(key) as Signal<T | undefined>;
}

/** The newest values of all states `prefix:…`. */
export function all<T>(prefix: string): T[] {
  const found = names.value.filter((name) => name.startsWith(`${prefix}:`));
  return found.map((name) => cell(name).value as T).filter((value) => value !== undefined);
}

/** The version of a state that is shown; 0: there is none. */
export function version(key: string): number {
  return live?.state.versions.get(key) ?? 0;
}

/** The greeting's field for this user alone. */
export function own<T>(field: string): T | undefined {
  return live?.state.own[field] as T | undefined;
}

/** The greeting's field for everybody. */
export function snapshot<T>(field: string): T | undefined {
  return live?.state.snapshot[field] as T | undefined;
}

/** The server's time. */
export function now(): number {
  return live?.serverNow() ?? Date.now();
}

/** Send a command. Rejects with LiveError. */
export function ask<R>(op: string, d: object = {}, options: AskOptions = {}): Promise<R> {
  if (!live) return Promise.reject(new Error("not connected"));
  return live.ask<R>(op, d, options);
}

/** Ask the HTTP interface about this room, as who is signed in. */
export function http(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { ...init.headers, Authorization: `Bearer ${token}` };
  const room = encodeURIComponent(me.value?.room ?? "");
  return fetch(`/api/rooms/${room}/${path}`, { ...init, headers });
}

/** Whether one's role is at least this one. */
export function atLeast(role: Role): boolean {
  return ROLES.indexOf(me.value?.role ?? "viewer") >= ROLES.indexOf(role);
}
