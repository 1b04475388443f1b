/** Short messages, and deeds that can still be taken back. */

import { signal } from "@preact/signals";

export interface Toast {
  id: number;
  tone: "good" | "bad" | "info";
  text: string;
  /** Takes it back. */
  undo?: () => void;
  /** Does at once what waits. */
  go?: () => void;
  until: number;
}

export const toasts = signal<readonly Toast[]>([]);

const GRACE_MS = 5_000;
const READ_MS = 7_000;
let last = 0;

/** Show a message for a while. */
export function tell(what: { tone: Toast["tone"]; text: string; undo?: () => void }): void {
  put({ ...what, id: ++last, until: Date.now() + READ_MS }, READ_MS);
}

/** Do something in five seconds, unless it is taken back before. */
export function later(text: string, act: () => void, back?: () => void): void {
  const id = ++last;
  const timer = setTimeout(act, GRACE_MS);
  const settle = (next?: () => void): void => {
    clearTimeout(timer);
    dismiss(id);
    next?.();
  };
  const until = Date.now() + GRACE_MS;
  put({ id, tone: "info", text, until, go: () => settle(act), undo: () => settle(back) }, GRACE_MS);
}

/** Tell that something was done, and how to undo it. */
export function done(text: string, inverse: () => void): void {
  const id = ++last;
  const undo = (): void => {
    dismiss(id);
    inverse();
  };
  put({ id, tone: "good", text, undo, until: Date.now() + READ_MS }, READ_MS);
}

/** Take a message away. */
export function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

function put(toast: Toast, ms: number): void {
  const same = toasts.value.filter((other) => other.undo || other.text !== toast.text);
  toasts.value = [...same.slice(-4), toast];
  setTimeout(() => dismiss(toast.id), ms);
}

