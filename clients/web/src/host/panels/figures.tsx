/** Charts: viewers, talk, the funnel, sales. */

import { count } from "../../shared/format";
import { Chart } from "../charts";
import { columns, figures, sales } from "../series";
import { cash } from "../shown";
import { t } from "../texts";

/** The panel. */
export function Figures() {
  const [times, online, said, likes] = columns.value;
  const { metrics, currency } = figures.value ?? { metrics: undefined, currency: undefined };
  return (
    <div class="charts">
      <Chart title={t("viewersOnline")} data={[times, online]} lines={[{ label: t("viewersOnline"), colour: "--chart-1", fill: true }]} />
      <Chart
        title={t("perSecond")}
        data={[times, said, likes]}
        lines={[
          { label: t("msgs"), colour: "--chart-2" },
          { label: t("likesRate"), colour: "--chart-3" },
        ]}
      />
      {metrics && <Funnel metrics={metrics} />}
      {metrics && (
        <Chart
          title={`${t("salesMinute")} · ${cash(metrics.paid_amount ?? 0, currency)}`}
          data={sales.value}
          empty={t("noSales")}
          lines={[{ label: t("sales"), colour: "--chart-4", bars: true }]}
        />
      )}
    </div>
  );
}

const STEPS = [
  ["exposures", "exposure"],
  ["viewers", "view"],
  ["product_clickers", "click"],
  ["orderers", "order"],
  ["buyers", "paid"],
] as const;

function Funnel({ metrics }: { metrics: Record<string, number | null> }) {
  const values = STEPS.map(([name]) => metrics[name] ?? 0);
  const most = Math.max(1, ...values);
  return (
    <section class="chart funnel" aria-labelledby="funnel">
      <h3 id="funnel">{t("funnel")}</h3>
      <ol>
        {STEPS.map(([name, text], at) => (
          <li key={name}>
            <span class="label">{t(text)}</span>
            <span class="track">
              <span class="fill" style={{ width: `${(100 * values[at]!) / most}%` }} />
            </span>
            <span class="n">{count(values[at]!)}</span>
            <span class="share">{at && values[at - 1] ? `${Math.round((100 * values[at]!) / values[at - 1]!)} %` : ""}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}
