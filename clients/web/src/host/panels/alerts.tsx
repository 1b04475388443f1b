/** Alerts: what is raised, who has seen it, what was. */

import { run } from "../act";
import { Button } from "../button";
import { alerts, broken } from "../feeds";
import { say } from "../say";
import type { Alert } from "../shapes";
import { hour } from "../shown";
import { t } from "../texts";

/** The list, the newest first. */
export function Alerts() {
  return (
    <>
      {broken.value.length > 0 && (
        <p class="alarm" role="alert">
          {t("broken", { what: broken.value.join(", ") })}
        </p>
      )}
      {alerts.value.length === 0 && <p class="empty">{t("noAlerts")}</p>}
      <ul class="list">
        {alerts.value.map((alert) => (
          <Row key={alert.alert} alert={alert} />
        ))}
      </ul>
    </>
  );
}

function Row({ alert }: { alert: Alert }) {
  const { severity, status, act, ack } = alert;
  return (
    <li class={`alert ${severity} ${status}`} data-alert={alert.alert}>
      <p class="said">
        <span class="name">{alert.name}</span> {alert.text}
      </p>
      <p class="why">
        {hour(alert.since_ms)}
        {alert.ended_ms !== undefined && `–${hour(alert.ended_ms)}`}
        {ack && ` · ${t("ackBy", { who: ack.by })}`}
        {act && ` · ${say(["ran {op}", "已执行 {op}"], { op: act.op })}${act.code ? ` (${act.code})` : ""}`}
      </p>
      {status === "raised" && (
        <div class="deeds">
          <Button role="moderator" op="alert.ack" icon="check" onClick={() => void run({ op: "alert.ack", d: { alert: alert.alert } })}>
            {t("ack")}
          </Button>
        </div>
      )}
    </li>
  );
}
