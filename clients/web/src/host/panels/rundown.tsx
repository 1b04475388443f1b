/** The run of show: cues with how far they are, and the clock's buttons. */

import { clock } from "../../shared/format";
import { run } from "../act";
import { Button, type ButtonProps } from "../button";
import { confirm } from "../dialog";
import { wordsOf } from "../errors";
import { plan } from "../plan";
import { now, second, state } from "../room";
import { say } from "../say";
import type { Cue, CueStep, Plan } from "../shapes";
import { hour } from "../shown";
import { type Text, t } from "../texts";
import { LoadPlan, openLoad } from "./loadplan";

/** The panel. */
export function Rundown() {
  const found = plan.value;
  const status = state<{ status: string }>("rundown").value?.status ?? found?.status;
  return (
    <section class="panel rundown" aria-labelledby="rundown">
      <header>
        <h2 id="rundown">{t("plan")}</h2>
        {found && <span class={`chip ${status}`}>{t(`show_${status}` as Text)}</span>}
        <Button role="host" off={busyShow(status)} onClick={openLoad}>
          {t("loadPlan")}
        </Button>
      </header>
      {found ? <Cues plan={found} status={status ?? "ready"} /> : <p class="empty">{t("noPlan")}</p>}
      <LoadPlan />
    </section>
  );
}

function busyShow(status: string | undefined): string | undefined {
  const on = status === "running" || status === "paused";
  return on ? say(["The show is on: end it first", "流程进行中,请先结束"]) : undefined;
}

function Cues({ plan: found, status }: { plan: Plan; status: string }) {
  const steps = new Map(found.progress.map((step) => [step.cue, step]));
  const labels = new Map(found.cues.map((cue) => [cue.cue, cue.label || cue.cue]));
  return (
    <>
      {found.title && <p class="plan-title">{found.title}</p>}
      <Clock status={status} />
      <ol class="cues" tabIndex={0} aria-label={t("plan")}>
        {found.cues.map((cue) => (
          <CueRow key={cue.cue} cue={cue} step={steps.get(cue.cue)} status={status} labels={labels} />
        ))}
      </ol>
    </>
  );
}

function Clock({ status }: { status: string }) {
  const act = (op: string, children: string, more: Partial<ButtonProps> = {}) => (
    <Button role="host" op={op} onClick={() => void run({ op })} {...more}>
      {children}
    </Button>
  );
  const start = { tone: "main", icon: "play", onClick: () => void begin() } as const;
  return (
    <div class="clock">
      {(status === "ready" || status === "done") && act("rundown.start", t("startPlan"), start)}
      {status === "running" && act("rundown.pause", t("pausePlan"), { icon: "pause" })}
      {status === "paused" && act("rundown.resume", t("resumePlan"), { icon: "play", tone: "main" })}
      {(status === "running" || status === "paused") &&
        act("rundown.stop", t("stopPlan"), { icon: "stop", onClick: () => void end() })}
    </div>
  );
}

async function begin(): Promise<void> {
  const found = plan.value;
  if (!found) return;
  const facts = [
    say(["{n} cues run by themselves when their time has come", "{n} 个环节将按时自动执行"], {
      n: found.cues.filter((cue) => cue.at_s !== undefined || cue.after).length,
    }),
    ...moving(found),
  ];
  const title = say(["Start “{title}”", "开始“{title}”"], { title: found.title || t("plan") });
  if (await confirm({ title, facts, go: t("startPlan") })) {
    await run({ op: "rundown.start", sees: "rundown" });
  }
}

const MOVES = /^(flash\.(arm|start)|coupon\.(drop|rain)|redpacket\.send|lottery\.open)$/;

function moving(found: Plan): string[] {
  const named = found.cues.filter((cue) => MOVES.test(cue.op)).map((cue) => cue.label || cue.cue);
  return named.length
    ? [say(["Of these, money or goods are moved by: {what}", "其中涉及金钱或商品:{what}"], { what: named.join(", ") })]
    : [];
}

async function end(): Promise<void> {
  const waits = plan.value?.progress.filter((step) => step.status === "waiting").length ?? 0;
  const facts = [say(["{n} cues are not run any more", "{n} 个环节不再执行"], { n: waits })];
  const title = say(["End the run of show", "结束流程"]);
  if (await confirm({ title, facts, go: t("stopPlan") })) await run({ op: "rundown.stop" });
}

interface RowProps {
  cue: Cue;
  step: CueStep | undefined;
  status: string;
  labels: Map<string, string>;
}

function CueRow({ cue, step, status, labels }: RowProps) {
  const how = step?.status ?? "waiting";
  const label = labels.get(cue.cue) ?? cue.cue;
  const can = status === "running" || status === "paused";
  const off = can ? undefined : say(["The show has not begun", "流程尚未开始"]);
  return (
    <li class={`cue ${how}`} data-cue={cue.cue}>
      <span class="time">{timeOf(cue, step, status)}</span>
      <span class="what">
        <span class="label">{label}</span>
        <span class="how">
          {t(`cue_${how}`)}
          {cue.after && how === "waiting" && ` · ${t("afterCue", { cue: labels.get(cue.after) ?? cue.after })}`}
        </span>
        {step?.error && how === "failed" && (
          <span class="fault">{wordsOf({ code: step.error.code, message: step.error.msg })}</span>
        )}
      </span>
      {how !== "fired" && how !== "due" && (
        <Button tone="quiet" icon="play" role="assistant" off={off} op={`rundown.fire`} label={t("fire", { what: label })} onClick={() => void run({ op: "rundown.fire", d: { cue: cue.cue } })} />
      )}
      {(how === "waiting" || how === "failed") && (
        <Button tone="quiet" icon="skip" role="host" off={off} label={t("skip", { what: label })} onClick={() => void run({ op: "rundown.skip", d: { cue: cue.cue } })} />
      )}
    </li>
  );
}

function timeOf(cue: Cue, step: CueStep | undefined, status: string): string {
  if (step?.fired_ms) return hour(step.fired_ms);
  if (status === "running" && step?.due_ms && step.status === "waiting") {
    second.value; // looked at again each second
    return `−${clock(step.due_ms - now())}`;
  }
  if (cue.at_s === undefined && !cue.after) return t("byClick");
  return `+${clock((cue.at_s ?? 0) * 1000)}`;
}
