/** Questions to the host: ask, second, and see what was answered. */

import { signal, useSignal } from "@preact/signals";
import { count } from "../shared/format";
import { ask, upvote } from "./acts";
import { Icon } from "./icons";
import { asked, upvoted } from "./mine";
import { nameOf } from "./names";
import { me, onAnswered, onReset, questions } from "./room";
import { t } from "./texts";
import { toast } from "./toast";
import type { Answered, Question } from "./wire";

const KEPT = 5;
const answered = signal<Answered[]>([]);
onAnswered((d) => {
  answered.value = [d, ...answered.value].slice(0, KEPT);
  if (d.user.id === me.value.id) toast(`${t("answeredNow")}: ${d.text || t("aloud")}`, "good");
});
onReset(() => { answered.value = []; });

export function Questions() {
  const queue = questions.value?.top ?? [];
  return (
    <>
      <Ask />
      {queue.length === 0 && <p class="quiet empty">{t("noQuestions")}</p>}
      <ol class="plain-list">{queue.map((one) => <Asked key={one.question} one={one} />)}</ol>
      {answered.value.length > 0 && <h3>{t("answeredNow")}</h3>}
      <ul class="plain-list">
        {answered.value.map((one) => (
          <li key={one.question} class="question done">
            <p><bdi class="dim">{nameOf(one.user)}</bdi> <bdi>{one.asked}</bdi></p>
            <p class="reply"><Icon name="check" /> <bdi>{one.text || t("aloud")}</bdi></p>
          </li>
        ))}
      </ul>
    </>
  );
}

function Ask() {
  const text = useSignal("");
  const put = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (!text.value.trim() || !(await ask(text.value.trim()))) return;
    text.value = "";
    toast(t("askedIt"), "good");
  };
  return (
    <form class="line-form" onSubmit={(event) => void put(event)}>
      <input aria-label={t("askHost")} placeholder={t("askHost")} maxLength={200} value={text}
        onInput={(event) => { text.value = event.currentTarget.value; }} />
      <button type="submit" class="main">{t("ask")}</button>
    </form>
  );
}

function Asked({ one }: { one: Question }) {
  const mine = asked.value.has(one.question) || one.user.id === me.value.id;
  const done = upvoted.value.has(one.question);
  return (
    <li class="question" data-question={one.question}>
      <p><bdi class="dim">{nameOf(one.user)}</bdi> <bdi>{one.text}</bdi></p>
      <button type="button" class="small vote" aria-pressed={done} disabled={done || mine}
        aria-label={`${t("upvote", { text: one.text })}, ${t("votesN", { n: one.votes })}`} onClick={() => void upvote(one.question)}>
        <Icon name="up" /> <b class="num">{count(one.votes)}</b>
      </button>
    </li>
  );
}
