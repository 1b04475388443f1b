/** A word at the bottom of the screen, which goes by itself. */

import { signal } from "@preact/signals";

interface Toast {
  id: number;
  text: string;
  tone: "good" | "bad" | "plain";
}

const SHOWN_MS = 4500;
const MOST = 3;

const toasts = signal<Toast[]>([]);
let last = 0;

/** Say something; the same text again is not stacked. */
export function toast(text: string, tone: Toast["tone"] = "plain"): void {
  const id = ++last;
  toasts.value = [...toasts.value.filter((one) => one.text !== text), { id, text, tone }].slice(-MOST);
  setTimeout(() => { toasts.value = toasts.value.filter((one) => one.id !== id); }, SHOWN_MS);
}

export function Toasts() {
  return (
    <div class="toasts" role="status">
      {toasts.value.map((one) => <p key={one.id} class={`toast ${one.tone}`}>{one.text}</p>)}
    </div>
  );
}
