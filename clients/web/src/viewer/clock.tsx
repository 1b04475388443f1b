/** What is left of a time, by the server's clock. */

import { useComputed, useSignal } from "@preact/signals";
import { clock } from "../shared/format";
import { now } from "./room";

/** "0:09", counting down; only this text changes. */
export function Countdown({ until }: { until: number }) {
  const end = useSignal(until);
  end.value = until;
  const text = useComputed(() => clock(end.value - now.value));
  const hot = useComputed(() => (end.value - now.value < 10_000 ? "clock hot" : "clock"));
  return <span class={hot} role="timer">{text}</span>;
}
