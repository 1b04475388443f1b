/** Records: who did what, webhooks that were given up, who is muted or banned. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { look, present, run } from "../act";
import { Button, reasonAgainst } from "../button";
import { sanctions } from "../feeds";
import { atLeast, now } from "../room";
import type { Dead, Sanction } from "../shapes";
import { t } from "../texts";
import { hour } from "../shown";
import { tell } from "../toasts";
import { Trail } from "./trail";

/** The panel. */
export function Records() {
  const reason = reasonAgainst("moderator");
  if (reason) return <p class="empty">{reason}</p>;
  return (
    <>
      {atLeast("host") && <Trail />}
      {present.value.mod && <Sanctions />}
      {atLeast("host") && <DeadLetters />}
    </>
  );
}

function Sanctions() {
  const { mute, ban } = sanctions.value;
  return (
    <section class="panel" aria-labelledby="sanctions">
      <h2 id="sanctions">{t("sanctions")}</h2>
      {mute.length + ban.length === 0 && <p class="empty">{t("nobody")}</p>}
      <ul class="list">
        {mute.map((row) => (
          <Held key={row.user} row={row} op="mod.unmute" what={t("unmute")} />
        ))}
        {ban.map((row) => (
          <Held key={row.user} row={row} op="mod.unban" what={t("unban")} />
        ))}
      </ul>
    </section>
  );
}

function Held({ row, op, what }: { row: Sanction; op: string; what: string }) {
  const end = row.until_ms > now() + 86_400_000 * 2 || !row.until_ms;
  return (
    <li class="sanction">
      {row.name && <b>{row.name} </b>}
      <code>{row.user}</code>{" "}
      {end ? t("forGood") : t("until", { at: hour(row.until_ms) })}
      {row.reason && ` · ${row.reason}`}
      <Button role="moderator" op={op} onClick={() => void run({ op, d: { user: row.user } })}>
        {what}
      </Button>
    </li>
  );
}

interface DeadAnswer {
  entries: Dead[];
  pending: number;
  delivered: number;
  dead: number;
}

const letters = signal<DeadAnswer | undefined>(undefined);

async function readDead(): Promise<void> {
  letters.value = await look<DeadAnswer>("webhook", "webhook.dead", { limit: 50 });
}

async function redeliver(d: { id: string } | { all: true }): Promise<void> {
  const answer = await run<{ moved: number }>({ op: "webhook.redeliver", d });
  if (answer) tell({ tone: "good", text: t("redelivered", { n: answer.moved }) });
  await readDead();
}

function DeadLetters() {
  useEffect(() => void readDead(), []);
  const found = letters.value;
  if (!found) return null;
  const { delivered, pending, dead } = found;
  return (
    <section class="panel" aria-labelledby="dead">
      <header>
        <h2 id="dead">{t("dead")}</h2>
        {dead > 0 && (
          <Button role="host" op="webhook.redeliver" onClick={() => void redeliver({ all: true })}>
            {t("redeliverAll")}
          </Button>
        )}
        <Button icon="redo" onClick={() => void readDead()}>
          {t("refresh")}
        </Button>
      </header>
      <p class="help">{t("deadFigures", { delivered, pending, dead })}</p>
      {dead === 0 && <p class="empty">{t("noDead")}</p>}
      <ul class="list">
        {found.entries.map((entry) => (
          <li key={entry.id} class="sanction">
            <time>{hour(entry.ts)}</time> <strong>{entry.type}</strong> {entry.why} ×{entry.attempts}
            <Button role="host" onClick={() => void redeliver({ id: entry.id })}>
              {t("redeliver")}
            </Button>
          </li>
        ))}
      </ul>
    </section>
  );
}
