// Listeners by name. One that throws, or whose promise fails, harms nobody else.

import type { EventBodies, EventItem, Unknown } from "./types.js";

/** A listener: the body, and the whole item for what came over the wire. */
export type Listener<D = Unknown> = (d: D, item: EventItem) => unknown;

/** Body of an event, by its name. */
export type BodyOf<N extends string> = N extends keyof EventBodies ? EventBodies[N] : Unknown;

interface Waiter {
  name: string;
  resolve: (d: Unknown) => void;
  reject: (error: Error) => void;
}

export class Emitter {
  readonly #listeners = new Map<string, Listener[]>();
  #waiters: Waiter[] = [];

  /** Add a listener; returns what takes it off again. */
  on(name: string, fn: Listener): () => void {
    // A new list each time: whoever is being told goes on with the one it had.
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), fn]);
    return () => this.off(name, fn);
  }

  off(name: string, fn: Listener): void {
    const kept = (this.#listeners.get(name) ?? []).filter((listener) => listener !== fn);
    if (kept.length > 0) this.#listeners.set(name, kept);
    else this.#listeners.delete(name);
  }

  /** Wait for the next event of a name. Rejects when the client is closed. */
  once(name: string): Promise<Unknown> {
    const event = new Promise((resolve, reject) => this.#waiters.push({ name, resolve, reject }));
    event.catch(() => {}); // one that nobody waits for any more must not end a Node program
    return event;
  }

  /** Tell all listeners of a name. */
  emit(name: string, d: unknown, item?: unknown): void {
    this.#settle(name, d);
    for (const listener of this.#listeners.get(name) ?? []) this.#tell(listener, name, d, item);
  }

  /** Have all waiting promises fail. */
  end(error: Error): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { reject } of waiters) reject(error);
  }

  #settle(name: string, d: unknown): void {
    if (!this.#waiters.some((waiter) => waiter.name === name)) return;
    const told = this.#waiters.filter((waiter) => waiter.name === name);
    this.#waiters = this.#waiters.filter((waiter) => waiter.name !== name);
    for (const { resolve } of told) resolve(d);
  }

  #tell(listener: Listener, name: string, d: unknown, item: unknown): void {
    try {
      const result = listener(d, item as EventItem);
      if (result instanceof Promise) result.catch((error: unknown) => this.#failed(name, error));
    } catch (error) {
      this.#failed(name, error);
    }
  }

  #failed(name: string, cause: unknown): void {
    if (name === "sdk.error") return; // whoever hears of errors fails itself: there is nobody left to tell
    const error = cause instanceof Error ? cause : new Error(String(cause));
    this.emit("sdk.error", { error });
  }
}
