/** A flash sale: the price, the time by the server's clock, and an honest account of the units. */

import { useSignal } from "@preact/signals";
import { count, money } from "../../shared/format";
import { cancel, reserve } from "../acts";
import { Countdown } from "../clock";
import { reservations, units } from "../mine";
import { now, skuOf } from "../room";
import { t } from "../texts";
import type { Reservation, Stock } from "../wire";
import { Card } from "./card";

export function FlashCard({ id, sale }: { id: string; sale: Stock }) {
  const known = skuOf(sale.sku);
  const title = known ? [known.item.title, known.sku.title].filter(Boolean).join(" · ") : sale.sku;
  const mine = reservations.value.filter((r) => r.sku === sale.sku);
  return (
    <Card id={id} kind="flash" icon="bolt" label={t("flash")} title={title} aside={<When sale={sale} />} done={sale.status === "ended"}>
      <p class="price-row">
        <b class="price">{money(sale.price, sale.currency)}</b>
        {sale.list_price > sale.price && <s class="was">{money(sale.list_price, sale.currency)}</s>}
        <span class="tag">{t("perUser", { n: sale.per_user })}</span>
      </p>
      <Units sale={sale} />
      {mine.map((r) => <Held key={r.reservation} held={r} />)}
      <Buy sale={sale} />
    </Card>
  );
}

function When({ sale }: { sale: Stock }) {
  if (sale.status === "armed") return sale.starts_ms ? <><small>{t("startsIn")}</small> <Countdown until={sale.starts_ms} /></> : null;
  if (sale.status === "sold_out") return <b class="word">{t("soldOut")}</b>;
  if (sale.status === "ended") return <span class="word">{t("saleOver")}</span>;
  return sale.ends_ms ? <><span class="hidden">{t("endsIn")}</span> <Countdown until={sale.ends_ms} /></> : null;
}

/** Available, held and sold: they always add up to the total. */
function Units({ sale }: { sale: Stock }) {
  const share = (n: number): string => `${sale.total ? (n / sale.total) * 100 : 0}%`;
  return (
    <div class="units">
      <div class="bar" aria-hidden="true">
        <span class="bar-sold" style={{ width: share(sale.sold) }} />
        <span class="bar-held" style={{ width: share(sale.reserved) }} />
      </div>
      <p class="legend">
        <span data-units="available">{t("left")} <b>{count(sale.available)}</b></span>
        <span data-units="reserved"><i class="dot held" />{t("held")} <b>{count(sale.reserved)}</b></span>
        <span data-units="sold"><i class="dot sold" />{t("sold")} <b>{count(sale.sold)}</b></span>
      </p>
    </div>
  );
}

function Held({ held }: { held: Reservation }) {
  return (
    <div class="held-row" data-reservation={held.reservation}>
      <p>{t("yours")} <Countdown until={held.expires_ms} /></p>
      <b>{money(held.amount, held.currency)}</b>
      <button type="button" class="small" onClick={() => void cancel(held.reservation)}>{t("giveUp")}</button>
    </div>
  );
}

function Buy({ sale }: { sale: Stock }) {
  const busy = useSignal(false);
  const mine = units.value[sale.sku] ?? 0;
  if (sale.status === "ended") return null;
  if (mine >= sale.per_user) return <p class="quiet">{t("yourLimit")}</p>;
  if (sale.status === "sold_out") {
    return <p class="quiet">{t("soldOut")}{sale.reserved > 0 && ` · ${t("comeBack")}`}</p>;
  }
  if (sale.status === "armed" && !sale.starts_ms) return <p class="quiet">{t("startsSoon")}</p>;
  const early = sale.status === "armed" && now.value < sale.starts_ms;
  const press = async (): Promise<void> => {
    busy.value = true;
    await reserve(sale);
    busy.value = false;
  };
  return (
    <button type="button" class="main" disabled={busy.value || early} onClick={() => void press()}>
      {busy.value ? t("reserving") : early ? <>{t("startsIn")} <Countdown until={sale.starts_ms} /></> : t("reserve")}
    </button>
  );
}
