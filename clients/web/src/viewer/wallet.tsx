/** What is this viewer's: money, what is held, coupons. */

import { dayAndTime, money } from "../shared/format";
import { cancel } from "./acts";
import { terms, worth } from "./cards/coupon";
import { Countdown } from "./clock";
import { Balance } from "./gifts";
import { coupons, reservations } from "./mine";
import { isGuest, skuOf } from "./room";
import { t } from "./texts";
import type { Coupon, Reservation } from "./wire";

export function Wallet() {
  return (
    <>
      <Balance />
      {isGuest && <p class="quiet">{t("demoNote")}</p>}
      <h3>{t("myHolds")}</h3>
      {reservations.value.length === 0 && <p class="quiet">{t("noHolds")}</p>}
      <ul class="plain-list">{reservations.value.map((held) => <Hold key={held.reservation} held={held} />)}</ul>
      <h3>{t("myCoupons")}</h3>
      {coupons.value.length === 0 && <p class="quiet">{t("noCoupons")}</p>}
      <ul class="plain-list">{coupons.value.map((coupon) => <Owned key={coupon.coupon} coupon={coupon} />)}</ul>
    </>
  );
}

function Hold({ held }: { held: Reservation }) {
  return (
    <li class="held-row">
      <p><bdi>{skuOf(held.sku)?.item.title ?? held.sku}</bdi> <Countdown until={held.expires_ms} /></p>
      <b class="num">{money(held.amount, held.currency)}</b>
      <button type="button" class="small" onClick={() => void cancel(held.reservation)}>{t("giveUp")}</button>
    </li>
  );
}

function Owned({ coupon }: { coupon: Coupon }) {
  const state = coupon.state ?? "unused";
  return (
    <li class={`ticket owned ${state}`}>
      <p class="ticket-worth"><b>{worth(coupon)}</b><small>{terms(coupon)}</small></p>
      <p class="owned-main">
        <bdi>{coupon.title}</bdi>
        <small>{t(state)} · {t("validUntil", { time: dayAndTime(coupon.valid_until_ms) })}</small>
        <code aria-label={t("code")}>{coupon.code}</code>
      </p>
    </li>
  );
}
