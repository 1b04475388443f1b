/** A draw: enter, wait, see who won, claim, and check that all went right. */

import { useSignal } from "@preact/signals";
import { count, dayAndTime, money } from "../../shared/format";
import { claimPrize, enterDraw } from "../acts";
import { Countdown } from "../clock";
import { Icon } from "../icons";
import { entered, wins } from "../mine";
import { me } from "../room";
import { t } from "../texts";
import type { Conditions, Lottery, Win } from "../wire";
import { Card } from "./card";
import { Verify } from "./verify";

export function LotteryCard({ id, draw }: { id: string; draw: Lottery }) {
  const over = draw.status === "drawn" || draw.status === "settled" || draw.status === "cancelled";
  const aside = draw.status === "open" && draw.ends_ms ? <Countdown until={draw.ends_ms} /> : null;
  return (
    <Card id={id} kind="lottery" icon="gift" label={t("lottery")} title={draw.title} aside={aside} done={over}>
      <ul class="prizes">
        {draw.prizes.map((prize) => <li key={prize.prize}><bdi>{prize.title}</bdi> <b class="num">×{count(prize.n)}</b></li>)}
      </ul>
      {draw.status === "open" && <Enter draw={draw} />}
      {draw.status === "frozen" && <p class="drawing"><Icon name="dice" /> {t(draw.overdue ? "overdue" : "drawing")}</p>}
      {draw.status === "cancelled" && <p class="quiet">{t("cancelled")}</p>}
      {(draw.status === "drawn" || draw.status === "settled") && <Result draw={draw} />}
      <p class="quiet">{t("entrants", { n: count(draw.entrants) })}</p>
    </Card>
  );
}

function Enter({ draw }: { draw: Lottery }) {
  const rules = conditionsIn(draw.conditions);
  return (
    <>
      {rules.length > 0 && <p class="quiet">{t("conditions")}: {rules.join(t("and"))}</p>}
      {!draw.ends_ms && <p class="quiet">{t("waitsForHost")}</p>}
      {entered.value.has(draw.lottery)
        ? <p class="won"><Icon name="check" /> {t("entered")}</p>
        : <button type="button" class="main" onClick={() => void enterDraw(draw.lottery)}>{t("enter")}</button>}
    </>
  );
}

function conditionsIn(asked: Conditions): string[] {
  const words: (string | false | undefined)[] = [
    asked.danmaku && t("condDanmaku", { text: asked.danmaku }),
    asked.likes ? t("condLikes", { n: count(asked.likes) }) : "",
    asked.gift === undefined || asked.gift === null ? "" : asked.gift ? t("condGift", { amount: money(asked.gift) }) : t("condAnyGift"),
    asked.follow && t("condFollow"),
    asked.watch_s ? t("condWatch", { n: asked.watch_s }) : "",
    asked.level ? t("condLevel", { n: asked.level }) : "",
    asked.bought && t("condBought"),
  ];
  return words.filter((word): word is string => Boolean(word));
}

function Result({ draw }: { draw: Lottery }) {
  const winners = draw.winners ?? [];
  const titles = new Map(draw.prizes.map((prize) => [prize.prize, prize.title]));
  const win = wins.value[draw.lottery];
  const more = (draw.of ?? winners.length) - winners.length;
  return (
    <>
      {win ? <Won win={win} /> : entered.value.has(draw.lottery) && <p class="quiet">{t("notYou")}</p>}
      <h4>{t("winners")}</h4>
      {winners.length === 0 && <p class="quiet">{t("noWinners")}</p>}
      <ol class="winners">
        {winners.map((one, i) => (
          <li key={i} class={one.user === me.value.id ? "me" : ""}>
            <bdi>{one.name || one.user}</bdi> <span>{titles.get(one.prize) ?? one.prize}</span>
          </li>
        ))}
      </ol>
      {more > 0 && <p class="quiet">{t("moreWinners", { n: count(draw.of ?? 0) })}</p>}
      {draw.proof && <Verify draw={draw} />}
    </>
  );
}

function Won({ win }: { win: Win }) {
  const contact = useSignal("");
  if (win.claimed) return <p class="won"><Icon name="check" /> {t("youWon", { prize: win.title })} · {t("claimed")}</p>;
  return (
    <div class="win">
      <p class="won">{t("youWon", { prize: win.title })}</p>
      <p class="quiet">{t("claimBy", { time: dayAndTime(win.claim_by_ms) })}</p>
      <form class="line-form" onSubmit={(event) => { event.preventDefault(); void claimPrize(win.lottery, contact.value.trim()); }}>
        <input aria-label={t("contact")} placeholder={t("contact")} maxLength={200} value={contact} autocomplete="street-address"
          onInput={(event) => { contact.value = event.currentTarget.value; }} />
        <button type="submit" class="main">{t("claim")}</button>
      </form>
    </div>
  );
}
