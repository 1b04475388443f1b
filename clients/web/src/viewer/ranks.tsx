/** The boards: who gave, liked and answered most, and one's own place. */

import { useSignal, useSignalEffect } from "@preact/signals";
import { count, money } from "../shared/format";
import { place } from "./acts";
import { nameOf, tintOf } from "./names";
import { boards, me } from "./room";
import { t } from "./texts";

const BOARDS = ["contribution", "likes", "quiz"] as const;
type BoardName = (typeof BOARDS)[number];
const WORDS = { contribution: "contribution", likes: "likesBoard", quiz: "quizBoard" } as const;

const score = (board: BoardName, n: number): string => (board === "contribution" ? money(n) : count(n));

export function Ranks() {
  const board = useSignal<BoardName>("contribution");
  const own = useSignal<{ rank: number | null; score: number } | undefined>(undefined);
  useSignalEffect(() => {
    void place(board.value).then((found) => { own.value = found; });
  });
  const top = boards.value.find((one) => one.board === board.value)?.top ?? [];
  return (
    <>
      <div class="segments" role="group" aria-label={t("ranks")}>
        {BOARDS.map((name) => (
          <button key={name} type="button" aria-pressed={board.value === name} onClick={() => { board.value = name; }}>{t(WORDS[name])}</button>
        ))}
      </div>
      {top.length === 0 && <p class="quiet empty">{t("nobodyYet")}</p>}
      <ol class="plain-list board">
        {top.map((row, i) => (
          <li key={row.user.id} class={row.user.id === me.value.id ? "me" : ""}>
            <b class={`medal medal-${i + 1}`}>{i + 1}</b>
            <span class={`face tint-${tintOf(row.user.id)}`} aria-hidden="true">{[...nameOf(row.user)][0]}</span>
            <bdi>{nameOf(row.user)}</bdi>
            <span class="num">{score(board.value, row.score)}</span>
          </li>
        ))}
      </ol>
      <p class="quiet">{own.value?.rank ? `${t("yourPlace", { n: own.value.rank })} · ${score(board.value, own.value.score)}` : t("noPlace")}</p>
    </>
  );
}
