/** What runs now, and what can be started. */

import { useEffect, useState } from "preact/hooks";
import { clock, count } from "../../shared/format";
import { look, present, run } from "../act";
import type { Action, Activity, Bar, Card } from "../activities/card";
import { ACTIVITIES } from "../activities/index";
import { Button } from "../button";
import { confirm } from "../dialog";
import { openSheet } from "../forms/sheet";
import { Icon } from "../icon";
import { names, now, second, state, version } from "../room";
import { say } from "../say";
import { t } from "../texts";
import { showWinners } from "./winners";

/** The stage: cards, then buttons that open forms. */
export function Stage() {
  const running = ACTIVITIES.flatMap(statesOf);
  running.sort((a, b) => Number(a.over) - Number(b.over));
  return (
    <section class="stage" aria-labelledby="running">
      <div class="starters" role="group" aria-label={t("start")}>
        {ACTIVITIES.flatMap(startersOf)}
      </div>
      <h2 id="running">{t("running")}</h2>
      {running.length === 0 && <p class="empty">{t("nothingRuns")}</p>}
      <div class="cards">
        {running.map(({ activity, key, value }) => (
          <ActivityCard key={key} activity={activity} value={value} />
        ))}
      </div>
    </section>
  );
}

interface Running {
  activity: Activity;
  key: string;
  value: never;
  over: boolean;
}

function statesOf(activity: Activity): Running[] {
  const { prefix, view } = activity;
  if (!prefix || !view) return [];
  const keys = names.value.filter((name) => name === prefix || name.startsWith(`${prefix}:`));
  return keys.flatMap((key) => {
    const value = state<never>(key).value;
    if (value === undefined) return [];
    return [{ activity, key, value, over: view(value).tone === "over" }];
  });
}

function startersOf(activity: Activity) {
  if (activity.feature && !present.value[activity.feature]) return [];
  return activity.sheets.map((sheet, at) => (
    <Button
      key={sheet.name}
      icon={at ? (sheet.name === "rain" ? "rain" : activity.icon) : activity.icon}
      role={sheet.role}
      onClick={() => openSheet({ sheet, ...(sheet.op === "notice.set" ? { sees: "notice", seen: version("notice") } : {}) })}
    >
      {say(sheet.title)}
    </Button>
  ));
}

function ActivityCard({ activity, value }: { activity: Activity; value: never }) {
  const more = useMore(activity, value);
  const card = activity.view!({ ...(value as object), ...more } as never);
  return (
    <article class={`card ${card.tone}`} data-activity={activity.name}>
      <header>
        <Icon name={activity.icon} />
        <span class="kind">{say(activity.label)}</span>
        <span class="state">{say(card.status)}</span>
        <TimeLeft card={card} />
      </header>
      <h3>{card.title}</h3>
      {card.bars && <Bars bars={card.bars} />}
      {card.meter && <Meter {...card.meter} label={say(card.meter.label)} />}
      {card.figures.length > 0 && (
        <dl class="figures">
          {card.figures.map(([name, text]) => (
            <div key={name[0]}>
              <dt>{say(name)}</dt>
              <dd>{text}</dd>
            </div>
          ))}
        </dl>
      )}
      {card.actions.length > 0 && (
        <footer>
          {card.actions.map((action) => (
            <ActionButton key={action.label[0]} action={action} />
          ))}
        </footer>
      )}
    </article>
  );
}

/** What a state does not say is asked for, anew whenever it has changed. */
function useMore(activity: Activity, value: never): object {
  const [more, set] = useState<object>({});
  const text = JSON.stringify(value);
  useEffect(() => {
    const question = activity.peek?.(value);
    if (!question) return set({});
    const timer = setTimeout(() => {
      void look<object>(activity.name, question.op, question.d).then((found) => found && set(found));
    }, 300);
    return () => clearTimeout(timer);
  }, [text]);
  return more;
}

function TimeLeft({ card }: { card: Card }) {
  second.value; // looked at again each second
  if (card.starts) return <time class="left">−{clock(card.starts - now())}</time>;
  if (card.tone === "over" || card.tone === "bad" || card.ends === undefined) return null;
  if (!card.ends) return <span class="left">{card.tone === "live" ? t("untilStopped") : ""}</span>;
  return <time class="left">{clock(card.ends - now())}</time>;
}

function Bars({ bars }: { bars: readonly Bar[] }) {
  const most = Math.max(1, ...bars.map((bar) => bar.n));
  return (
    <ul class="bars">
      {bars.map((bar, at) => (
        <li key={at} class={bar.mark ? "mark" : ""}>
          <span class="label">{bar.label}</span>
          <span class="track">
            <span class="fill" style={{ width: `${(100 * bar.n) / most}%` }} />
          </span>
          <span class="n">{count(bar.n)}</span>
        </li>
      ))}
    </ul>
  );
}

function Meter({ part, whole, label }: { part: number; whole: number; label: string }) {
  return (
    <meter min={0} max={Math.max(1, whole)} value={part} aria-label={`${label}: ${part} / ${whole}`}>
      {part} / {whole}
    </meter>
  );
}

function ActionButton({ action }: { action: Action }) {
  const act = async (): Promise<void> => {
    const { sheet, sees, confirm: deed, op, d } = action;
    if (action.shows) return showWinners(d);
    const seen = sees ? { sees, seen: version(sees) } : {};
    if (sheet) return openSheet({ ...sheet, ...seen });
    if (!deed || (await confirm(deed))) await run({ op, d, ...seen });
  };
  const { tone, role, op, icon } = action;
  return (
    <Button tone={tone} role={role} op={op} icon={icon} onClick={() => void act()}>
      {say(action.label)}
    </Button>
  );
}
