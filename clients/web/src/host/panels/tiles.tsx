/** The figures that are looked at all the time. */

import { count } from "../../shared/format";
import { columns, figures } from "../series";
import { state } from "../room";
import { shortCash } from "../shown";
import { t } from "../texts";

/** A row of figures. */
export function Tiles() {
  const online = state<{ now: number; peak: number; viewers: number }>("online").value;
  const likes = state<{ total: number }>("likes").value;
  const found = figures.value;
  const { metrics, currency } = found ?? { metrics: undefined, currency: undefined };
  const said = columns.value[2].at(-1) ?? 0;
  const shown = (amount: number | null | undefined): string => shortCash(amount ?? 0, currency);
  return (
    <dl class="tiles">
      <Tile name={t("onlineNow")} value={count(online?.now ?? 0)} more={t("peak", { n: count(online?.peak ?? 0) })} />
      <Tile name={t("viewers")} value={count(metrics?.viewers ?? online?.viewers ?? 0)} />
      <Tile name={t("msgs")} value={count(Math.round(said * 10) / 10)} />
      <Tile name={t("likes")} value={count(likes?.total ?? 0)} />
      {metrics && (
        <>
          <Tile name={t("orders")} value={count(metrics.paid_orders ?? 0)} />
          <Tile name={t("sales")} value={shown(metrics.paid_amount)} />
          <Tile name={t("gpm")} value={shown(Math.round(metrics.gpm ?? 0))} title={t("gpmLong")} />
        </>
      )}
    </dl>
  );
}

function Tile(props: { name: string; value: string; more?: string; title?: string }) {
  return (
    <div class="tile" title={props.title}>
      <dt>{props.name}</dt>
      <dd>
        {props.value}
        {props.more && <small>{props.more}</small>}
      </dd>
    </div>
  );
}
