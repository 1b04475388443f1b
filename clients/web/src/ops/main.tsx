import { render } from "preact";
import "../shared/base.css";
import "./ops.css";
import { count, timeOfDay } from "../shared/format";
import { bytes, COMMIT_WORRY_S, duration, type Figure, FIGURES, LAG_WORRY_S } from "./board";
import { greatest, quantile, sum } from "./figures";
import { Spark } from "./spark";
import { t } from "./texts";
import { type View, watch, type WorkerStatus } from "./watch";

type Mood = "good" | "warn" | "bad" | "plain";

function Chip({ name, mood, text }: { name: string; mood: Mood; text: string }) {
  return <li class="chip" data-chip={name} data-mood={mood}>{text}</li>;
}

function State({ view }: { view: View }) {
  const { status, silentSince } = view;
  if (silentSince) {
    return <Chip name="state" mood="bad" text={t("silent", { time: timeOfDay(silentSince) })} />;
  }
  if (!status) return <Chip name="state" mood="plain" text={t("waiting")} />;
  if (status.stopping) return <Chip name="state" mood="warn" text={t("stopping")} />;
  const [mood, text] = status.ready ? (["good", "ready"] as const) : (["bad", "notReady"] as const);
  return <Chip name="state" mood={mood} text={t(text)} />;
}

function Chips({ view }: { view: View }) {
  const { status, moments } = view;
  const store = status?.store;
  const broken = sum(moments, "liveroom_invariants_broken_now") ?? 0;
  const level = status?.durability;
  const weak = level === "memory";
  return (
    <div role="status"><ul class="chips">
      <State view={view} />
      {level && (
        <Chip name="durability" mood={weak ? "warn" : "plain"} text={t("durability", { level })} />
      )}
      {store && (
        <Chip name="store" mood={store.up ? "plain" : "bad"} text={t(store.up ? "storeUp" : "storeDown")} />
      )}
      {!!store?.restarts && (
        <Chip name="restarts" mood="warn" text={t("storeRestarts", { n: store.restarts })} />
      )}
      {broken > 0 && <Chip name="broken" mood="bad" text={t("broken", { n: broken })} />}
    </ul></div>
  );
}

function Card({ figure, view }: { figure: Figure; view: View }) {
  const points = view.curves.get(figure.name) ?? [];
  const [at, value] = points.at(-1) ?? [0, undefined];
  const worried = figure.worry !== undefined && value !== undefined && value > figure.worry;
  return (
    <li class="card" data-figure={figure.name} data-mood={worried ? "bad" : "plain"}>
      <span class="name">{t(figure.name as Parameters<typeof t>[0])}</span>
      <strong class="value">{value === undefined ? t("none") : figure.show(value)}</strong>
      {worried && <span class="worry">{t("worried", { limit: figure.show(figure.worry!) })}</span>}
      <Spark points={points} now={at} />
    </li>
  );
}

/** A cell of a worker: its value, marked when above what worries. */
function Cell({ value, show, worry = Infinity }: {
  value: number | undefined; show: (value: number) => string; worry?: number;
}) {
  if (value === undefined) return <td>{t("none")}</td>;
  return <td data-mood={value > worry ? "bad" : "plain"}>{show(value)}{value > worry && " !"}</td>;
}

function Row({ worker, view }: { worker: WorkerStatus; view: View }) {
  const who = String(worker.worker);
  const { moments } = view;
  const draining = worker.reasons.includes("draining");
  const said = draining ? t("draining") : worker.ready ? t("ready") : worker.reasons.join("; ");
  const mood = draining ? "warn" : worker.ready ? "good" : "bad";
  return (
    <tr data-worker={who}>
      <th scope="row">{who}</th>
      <td data-mood={mood}>{said}</td>
      <Cell value={sum(moments, "liveroom_connections", who)} show={count} />
      <Cell value={sum(moments, "liveroom_rooms", who)} show={count} />
      <Cell value={greatest(moments, "liveroom_beat_seconds", who)} show={duration} />
      <Cell value={greatest(moments, "liveroom_loop_lag_seconds", who)} show={duration} worry={LAG_WORRY_S} />
      <Cell value={sum(moments, "liveroom_queue_bytes", who)} show={bytes} />
      <Cell
        value={quantile(moments, "liveroom_commit_seconds", 0.99, who)}
        show={duration}
        worry={COMMIT_WORRY_S}
      />
      <Cell value={worker.restarts} show={count} worry={0} />
    </tr>
  );
}

const COLUMNS = [
  "worker", "state", "viewers", "rooms", "beat", "lag", "queue", "commit99", "restarts",
] as const;

function Page({ view }: { view: View }) {
  const { status } = view;
  return (
    <main>
      <header>
        <h1>liveroom · {t("title")}</h1>
        <p class="dim">
          {status && t("version", { version: status.version, time: uptime(status.uptime_s) })}
        </p>
      </header>
      <Chips view={view} />
      <h2>{t("figures")} <small>{t("figuresNote")}</small></h2>
      <ul class="cards">
        {FIGURES.map((figure) => <Card key={figure.name} figure={figure} view={view} />)}
      </ul>
      <h2>{t("workers")}</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label={t("workers")}>
        <table>
          <thead>
            <tr>{COLUMNS.map((name) => <th key={name} scope="col">{t(name)}</th>)}</tr>
          </thead>
          <tbody>
            {status?.workers.map((worker) => <Row key={worker.worker} worker={worker} view={view} />)}
          </tbody>
        </table>
      </div>
    </main>
  );
}

/** 93784 -> "1d 2h"; 125 -> "2m 5s". */
function uptime(seconds: number): string {
  const parts = [
    [Math.floor(seconds / 86_400), "d"], [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"], [Math.floor(seconds) % 60, "s"],
  ] as const;
  const first = parts.findIndex(([n]) => n > 0);
  const shown = first < 0 ? parts.slice(-1) : parts.slice(first, first + 2);
  return shown.map(([n, unit]) => `${n}${unit}`).join(" ");
}

document.title = `liveroom · ${t("title")}`;
const root = document.getElementById("app")!;
void watch((view) => render(<Page view={view} />, root));
