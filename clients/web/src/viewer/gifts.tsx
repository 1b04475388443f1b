/** The tray: gifts with their prices, how many at once, and what is left in the wallet. */

import { useSignal } from "@preact/signals";
import { money } from "../shared/format";
import { give } from "./acts";
import { GiftIcon } from "./icons";
import { balance } from "./mine";
import { giftName } from "./names";
import { SendPacket } from "./packets";
import { gifts, isGuest, mode } from "./room";
import { t } from "./texts";
import type { Gift } from "./wire";

const COUNTS = [1, 10, 66, 520];

/** What a room offers until its host sets something else (docs/protocol.md). */
const USUAL: Gift[] = [
  { id: "rose", name: "Rose", price: 100 },
  { id: "heart", name: "Heart", price: 990 },
  { id: "rocket", name: "Rocket", price: 50_000 },
];

export function Gifts() {
  const n = useSignal(1);
  const offered = gifts.value?.gifts ?? USUAL;
  const off = mode.value?.gift === false;
  return (
    <>
      {off && <p class="quiet">{t("giftsOff")}</p>}
      <div class="gift-grid">
        {offered.map((gift) => (
          <button key={gift.id} type="button" class="gift" data-gift={gift.id} disabled={off} onClick={() => void give(gift.id, n.value)}>
            <GiftIcon id={gift.id} />
            <bdi>{giftName(gift.id, offered)}</bdi>
            <span class="num">{money(gift.price * n.value)}</span>
          </button>
        ))}
      </div>
      <div class="gift-foot">
        <div class="segments" role="group" aria-label={t("howMany")}>
          {COUNTS.map((one) => (
            <button key={one} type="button" aria-pressed={n.value === one} onClick={() => { n.value = one; }}>×{one}</button>
          ))}
        </div>
        <Balance />
      </div>
      <SendPacket />
    </>
  );
}

export function Balance() {
  return (
    <p class="balance"><span>{t(isGuest ? "demoMoney" : "balance")}</span> <b class="num" id="balance">{balance.value === undefined ? "–" : money(balance.value)}</b></p>
  );
}
