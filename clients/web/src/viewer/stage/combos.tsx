/** Gifts on the stage: who sent what, and the count of the combo as it grows. */

import { signal } from "@preact/signals";
import { GiftIcon } from "../icons";
import { gifts, onGift, onReset } from "../room";
import { t } from "../texts";
import type { GiftSent } from "../wire";
import { giftName, nameOf } from "../names";

const MOST = 3;
const SHOWN_MS = 4200;
const AFTER_END_MS = 1400;

interface Shown extends GiftSent {
  slot: string;
  until: number;
}

const shown = signal<Shown[]>([]);
let timer: ReturnType<typeof setTimeout> | undefined;

onGift((d) => {
  const slot = `${d.user.id}|${d.gift}`;
  const before = shown.value.find((one) => one.slot === slot);
  if (d.n === 0 && !before) return;
  const until = performance.now() + (d.combo_end ? AFTER_END_MS : SHOWN_MS);
  const next: Shown = { ...d, combo: d.n ? d.combo : (before?.combo ?? d.combo), slot, until };
  const others = shown.value.filter((one) => one !== before);
  shown.value = before ? shown.value.map((one) => (one === before ? next : one)) : [...others, next].slice(-MOST);
  sweep();
});
onReset(() => { shown.value = []; });

function sweep(): void {
  clearTimeout(timer);
  const at = performance.now();
  shown.value = shown.value.filter((one) => one.until > at);
  if (!shown.value.length) return;
  timer = setTimeout(sweep, Math.min(...shown.value.map((one) => one.until)) - at + 20);
}

export function Combos() {
  return (
    <ul class="combos" aria-hidden="true">
      {shown.value.map((one) => (
        <li key={one.slot} class="combo">
          <span class="combo-icon"><GiftIcon id={one.gift} /></span>
          <span class="combo-text">
            <bdi>{nameOf(one.user)}</bdi>
            <small>{t("sentGift")} {giftName(one.gift, gifts.value?.gifts)}</small>
          </span>
          <b key={one.combo} class="combo-n">×{one.combo}</b>
        </li>
      ))}
    </ul>
  );
}
