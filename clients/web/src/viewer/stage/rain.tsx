/** Red packets fall over the stage for some seconds when one opens; the card has the same button. */

import { computed } from "@preact/signals";
import { grab } from "../acts";
import { packetsGot } from "../mine";
import { now, packets } from "../room";

const FALLS_MS = 9000;
const LANES = [6, 22, 38, 54, 70, 84, 14, 46, 78];

const falling = computed(() => packets.value.find((packet) =>
  packet.status === "open" && packet.left > 0 && !(packet.packet in packetsGot.value)
  && now.value - packet.starts_ms < FALLS_MS)?.packet);

export function PacketRain() {
  const packet = falling.value;
  if (!packet) return null;
  return (
    <div class="rain" aria-hidden="true">
      {LANES.map((_, i) => (
        <button key={i} type="button" tabIndex={-1} class={`falling lane-${i}`} onClick={() => void grab(packet)}>
          <svg viewBox="0 0 30 40" aria-hidden="true">
            <rect x="1" y="1" width="28" height="38" rx="4" fill="#d7263d" />
            <path d="M1 9c8 9 20 9 28 0V5a4 4 0 0 0-4-4H5a4 4 0 0 0-4 4z" fill="#b3182d" />
            <circle cx="15" cy="16" r="6" fill="#ffc857" />
            <path d="M12.300 12.500l2.700 3.500 2.700-3.500M15 16v4M12.600 17.200h4.800" stroke="#b3182d" stroke-width="1.500" fill="none" />
          </svg>
        </button>
      ))}
    </div>
  );
}
