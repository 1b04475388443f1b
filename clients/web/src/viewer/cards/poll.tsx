/** A poll: buttons to choose, bars once there is something to see. */

import { useSignal } from "@preact/signals";
import { count } from "../../shared/format";
import { vote } from "../acts";
import { Countdown } from "../clock";
import { Icon } from "../icons";
import { votes } from "../mine";
import { t } from "../texts";
import type { Poll } from "../wire";
import { Card } from "./card";

export function PollCard({ id, poll }: { id: string; poll: Poll }) {
  const mine = votes.value[poll.poll];
  const isOpen = poll.status === "open";
  const aside = isOpen ? poll.ends_ms > 0 && <Countdown until={poll.ends_ms} /> : <span class="word">{t("pollClosed")}</span>;
  return (
    <Card id={id} kind="poll" icon="bars" label={t("poll")} title={poll.title} aside={aside} done={!isOpen}>
      {isOpen && (!mine || poll.change) ? <Choose poll={poll} mine={mine ?? []} /> : <Bars poll={poll} mine={mine ?? []} />}
      <p class="quiet">{t("voted", { n: count(poll.voters) })}{isOpen && poll.hidden && ` · ${t("hiddenTally")}`}</p>
    </Card>
  );
}

function Choose({ poll, mine }: { poll: Poll; mine: number[] }) {
  const chosen = useSignal<readonly number[]>(mine);
  if (!poll.multiple) {
    return (
      <div class="options" role="group" aria-label={poll.title}>
        {poll.options.map((text, i) => (
          <button key={i} type="button" class="option" aria-pressed={mine.includes(i)} onClick={() => void vote(poll.poll, [i])}>
            <Fill poll={poll} i={i} /><bdi>{text}</bdi>{mine.includes(i) && <Icon name="check" />}
          </button>
        ))}
      </div>
    );
  }
  const flip = (i: number): void => {
    chosen.value = chosen.value.includes(i) ? chosen.value.filter((one) => one !== i) : [...chosen.value, i];
  };
  const full = chosen.value.length >= poll.max_choices;
  return (
    <form class="options" onSubmit={(event) => { event.preventDefault(); void vote(poll.poll, [...chosen.value]); }}>
      <p class="quiet">{t("upTo", { n: poll.max_choices })}</p>
      {poll.options.map((text, i) => (
        <label key={i} class="option">
          <Fill poll={poll} i={i} />
          <input type="checkbox" checked={chosen.value.includes(i)} disabled={full && !chosen.value.includes(i)} onChange={() => flip(i)} />
          <bdi>{text}</bdi>
        </label>
      ))}
      <button type="submit" class="main" disabled={!chosen.value.length}>{t("vote")}</button>
    </form>
  );
}

/** The share of an option as a part of its ground; none while the tally is hidden. */
function Fill({ poll, i }: { poll: Poll; i: number }) {
  const n = poll.tally?.[i];
  if (n === undefined || !poll.voters) return null;
  return <span class="fill" aria-hidden="true" style={{ width: `${(n / poll.voters) * 100}%` }} />;
}

function Bars({ poll, mine }: { poll: Poll; mine: number[] }) {
  const most = Math.max(0, ...(poll.tally ?? []));
  return (
    <ul class="options">
      {poll.options.map((text, i) => {
        const n = poll.tally?.[i];
        const best = poll.status === "closed" && n !== undefined && n > 0 && n === most;
        return (
          <li key={i} class={`option result ${best ? "best" : ""}`}>
            <Fill poll={poll} i={i} />
            <bdi>{text}</bdi>
            {mine.includes(i) && <span class="mine-mark"><Icon name="check" /><span class="hidden">{t("yourVote")}</span></span>}
            {n !== undefined && <b class="num">{poll.voters ? Math.round((n / poll.voters) * 100) : 0}%</b>}
          </li>
        );
      })}
    </ul>
  );
}
