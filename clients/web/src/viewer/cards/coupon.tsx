/** Coupons that are dropped into the room, one by one or as a rain. */

import { useSignal } from "@preact/signals";
import { count, money } from "../../shared/format";
import { claimCoupon } from "../acts";
import { Countdown } from "../clock";
import { Icon } from "../icons";
import { coupons } from "../mine";
import { drops, now, rains } from "../room";
import { t } from "../texts";
import type { Drop, Rain } from "../wire";
import { Card } from "./card";

/** "10.00 off", "15 % off". */
export const worth = (d: { kind: string; value: number }): string =>
  d.kind === "percent" ? t("percentOff", { n: d.value }) : t("off", { amount: money(d.value) });

export const terms = (d: { min_spend?: number }): string =>
  d.min_spend ? t("over", { amount: money(d.min_spend) }) : t("noMinimum");

export function CouponCard({ id, drop }: { id: string; drop: Drop }) {
  const over = drop.status === "sold_out" || drop.status === "ended";
  return (
    <Card id={id} kind="coupon" icon="ticket" label={t("coupon")} title={drop.title} aside={<When drop={drop} />} done={over}>
      <Ticket drop={drop} />
    </Card>
  );
}

function When({ drop }: { drop: Drop }) {
  if (drop.status === "sold_out") return <b class="word">{t("soldOut")}</b>;
  if (drop.status === "ended") return null;
  if (drop.status === "planned") return <><small>{t("startsIn")}</small> <Countdown until={drop.starts_ms} /></>;
  return drop.ends_ms ? <Countdown until={drop.ends_ms} /> : null;
}

function Ticket({ drop }: { drop: Drop }) {
  const busy = useSignal(false);
  const got = coupons.value.filter((one) => one.drop === drop.drop).length;
  const spread = rains.value.find((rain) => rain.rain === drop.rain)?.spread_ms ?? 0;
  const press = async (): Promise<void> => {
    busy.value = true;
    await claimCoupon(drop, spread);
    busy.value = false;
  };
  const conditions = drop.conditions ?? {};
  const rules = [
    conditions.follow && t("condFollow"),
    conditions.watch_s && t("condWatch", { n: conditions.watch_s }),
    conditions.level && t("condLevel", { n: conditions.level }),
  ].filter((word): word is string => Boolean(word));
  return (
    <>
      <div class="ticket">
        <p class="ticket-worth"><b>{worth(drop)}</b><small>{terms(drop)}</small></p>
        {got >= drop.per_user
          ? <p class="won"><Icon name="check" /> {t("inWallet")}</p>
          : drop.status === "running" && (
            <button type="button" class="main" disabled={busy.value} onClick={() => void press()}>{t("claimIt")}</button>
          )}
        {drop.status === "sold_out" && got < drop.per_user && <b class="word">{t("soldOut")}</b>}
      </div>
      {rules.length > 0 && <p class="quiet">{t("conditions")}: {rules.join(t("and"))}</p>}
      <p class="quiet">{t("leftOf", { n: count(drop.left), total: count(drop.quota) })}</p>
    </>
  );
}

/** A rain: when the next coupon falls; each becomes a card of its own when it does. */
export function RainCard({ id, rain }: { id: string; rain: Rain }) {
  const next = rain.drops.find((one) => one.starts_ms > now.value);
  const falling = drops.value.filter((drop) => drop.rain === rain.rain && drop.status === "running");
  return (
    <Card id={id} kind="coupon" icon="ticket" label={t("couponRain")} title={rain.title} aside={next && <Countdown until={next.starts_ms} />}>
      <p class="quiet">{next ? <>{t("nextDrop")} <Countdown until={next.starts_ms} /></> : t("leftOf", { n: falling.length, total: rain.drops.length })}</p>
    </Card>
  );
}
