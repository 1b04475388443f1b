/** The right column: the chat, and beneath it what waits for an answer. */

import { signal } from "@preact/signals";
import { present } from "../act";
import { Tabs } from "../desk";
import { alerts, broken, held, questions } from "../feeds";
import { atLeast } from "../room";
import { Alerts } from "./alerts";
import { Chat } from "./chat";
import { HeldQueue } from "./held";
import { Questions } from "./questions";

type Queue = "held" | "questions" | "alerts";
const chosen = signal<Queue>("questions");

/** The column. */
export function Talk() {
  const { mod, alert } = present.value;
  const moderates = atLeast("moderator");
  const names: Queue[] = [...(mod && moderates ? (["held"] as const) : []), "questions", ...((alert && moderates) || broken.value.length ? (["alerts"] as const) : [])];
  const name = names.includes(chosen.value) ? chosen.value : names[0]!;
  const counts = {
    held: held.value.length,
    questions: questions.value.length,
    alerts: alerts.value.filter((one) => one.status === "raised").length + (broken.value.length ? 1 : 0),
  };
  return (
    <>
      <Chat />
      <Tabs names={names} chosen={name} counts={counts} onChoose={(next) => (chosen.value = next)}>
        {name === "held" && <HeldQueue />}
        {name === "questions" && <Questions />}
        {name === "alerts" && <Alerts />}
      </Tabs>
    </>
  );
}
