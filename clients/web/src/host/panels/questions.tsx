/** The queue of questions: most votes first. */

import { useState } from "preact/hooks";
import { run } from "../act";
import { Button } from "../button";
import { questions } from "../feeds";
import { state } from "../room";
import type { QaState, Question } from "../shapes";
import { t } from "../texts";
import { hour } from "../shown";
import { later } from "../toasts";

/** The queue. */
export function Questions() {
  const qa = state<QaState>("qa").value;
  const median = qa?.median_answer_ms;
  return (
    <>
      {median !== undefined && (
        <p class="help">{t("medianAnswer", { s: Math.round(median / 1000) })}</p>
      )}
      {questions.value.length === 0 && <p class="empty">{t("noQuestions")}</p>}
      <ul class="list">
        {questions.value.map((question) => (
          <Row key={question.question} question={question} />
        ))}
      </ul>
    </>
  );
}

function Row({ question: q }: { question: Question }) {
  const [text, setText] = useState("");
  const [going, setGoing] = useState(false);
  const answer = (event: Event): void => {
    event.preventDefault();
    const said = text.trim();
    void run({ op: "qa.answer", d: { question: q.question, ...(said ? { text: said } : {}) } });
  };
  const drop = (): void => {
    setGoing(true);
    later(`${t("drop")}: ${q.text}`, () => void run({ op: "qa.drop", d: { question: q.question } }), () => setGoing(false));
  };
  return (
    <li class={going ? "going" : ""} data-question={q.question}>
      <p class="said">
        <span class="name">{q.user.name || q.user.id}</span> {q.text}
      </p>
      <p class="why">
        {t("votes", { n: q.votes })} · {hour(q.asked_ms)}
      </p>
      <form class="deeds" onSubmit={answer}>
        <input type="text" maxLength={500} aria-label={t("answerText")} placeholder={t("answerText")} value={text} onInput={(event) => setText(event.currentTarget.value)} />
        <button type="submit" class="button main">
          {t("answered")}
        </button>
        <Button role="assistant" onClick={drop}>
          {t("drop")}
        </Button>
      </form>
    </li>
  );
}
