/** A quiz or a riddle: one answer, the right one at the end. */

import { useSignal } from "@preact/signals";
import { count, money } from "../../shared/format";
import { answer } from "../acts";
import { Countdown } from "../clock";
import { Icon } from "../icons";
import { answers } from "../mine";
import { t } from "../texts";
import type { Quiz } from "../wire";
import { Card } from "./card";

export function QuizCard({ id, quiz }: { id: string; quiz: Quiz }) {
  const isOpen = quiz.status === "open";
  const mine = answers.value[quiz.quiz];
  const label = t(quiz.kind === "riddle" ? "riddle" : "quiz");
  return (
    <Card id={id} kind="quiz" icon="bulb" label={label} title={quiz.question} aside={isOpen && <Countdown until={quiz.ends_ms} />} done={!isOpen}>
      {quiz.prize !== undefined && <p class="tag">{money(quiz.prize)}</p>}
      {quiz.kind === "choice" ? <Options quiz={quiz} /> : isOpen && !mine && <Guess quiz={quiz} />}
      {quiz.kind === "riddle" && mine?.text && <p>{t("givenAnswer", { text: mine.text })}</p>}
      {mine?.out && <p class="quiet">{t("outOfSeries")}</p>}
      {!isOpen && <Outcome quiz={quiz} />}
      <p class="quiet">{t("answered", { n: count(quiz.answered) })}</p>
    </Card>
  );
}

function Options({ quiz }: { quiz: Quiz }) {
  const isOpen = quiz.status === "open";
  const mine = answers.value[quiz.quiz]?.option;
  const share = (i: number): string => `${quiz.answered ? ((quiz.counts?.[i] ?? 0) / quiz.answered) * 100 : 0}%`;
  return (
    <div class="options" role="group" aria-label={quiz.question}>
      {(quiz.options ?? []).map((text, i) => (
        <button key={i} type="button" class={`option ${quiz.correct === i ? "best" : ""}`} aria-pressed={mine === i}
          disabled={!isOpen || mine !== undefined} onClick={() => void answer(quiz.quiz, { option: i })}>
          {quiz.counts && <span class="fill" aria-hidden="true" style={{ width: share(i) }} />}
          <bdi>{text}</bdi>
          {mine === i && <Icon name="check" />}
          {quiz.counts && <b class="num">{count(quiz.counts[i] ?? 0)}</b>}
        </button>
      ))}
    </div>
  );
}

function Guess({ quiz }: { quiz: Quiz }) {
  const text = useSignal("");
  return (
    <form class="line-form" onSubmit={(event) => { event.preventDefault(); void answer(quiz.quiz, { text: text.value.trim() }); }}>
      <input aria-label={t("yourAnswer")} placeholder={t("yourAnswer")} maxLength={100} value={text} required
        onInput={(event) => { text.value = event.currentTarget.value; }} />
      <button type="submit" class="main">{t("send")}</button>
    </form>
  );
}

function Outcome({ quiz }: { quiz: Quiz }) {
  const mine = answers.value[quiz.quiz]?.option;
  return (
    <>
      {quiz.accepted && <p>{t("answerIs", { text: quiz.accepted.join(" / ") })}</p>}
      {mine !== undefined && quiz.correct !== undefined && (
        <p class={mine === quiz.correct ? "won" : "quiet"}>{t(mine === quiz.correct ? "youRight" : "youWrong")}</p>
      )}
      {quiz.right !== undefined && (
        <p class="quiet">{t("rightOnes", { n: count(quiz.right) })}{quiz.share ? ` · ${t("prizeShare", { amount: money(quiz.share) })}` : ""}</p>
      )}
    </>
  );
}
