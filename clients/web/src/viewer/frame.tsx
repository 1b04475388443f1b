/** What stands around the stage: the head, the notice, how the connection is, and the row of buttons. */

import { useComputed } from "@preact/signals";
import { count } from "../shared/format";
import { closing } from "../shared/words";
import { follow, like, share } from "./acts";
import { Icon, type IconName } from "./icons";
import { following, reservations, coupons } from "./mine";
import { followers, goods, here, likes, link, mode, notShown, notice, now, online, questions, room } from "./room";
import { type SheetName, sheet } from "./sheet";
import { dropped, flying, rise } from "./stage/stage";
import { t } from "./texts";

export function Head() {
  const title = room.value?.title || here.room;
  const isOpen = room.value?.status === "open";
  return (
    <header class="head">
      <div class="who-card">
        <span class="face host" aria-hidden="true">{[...title][0]}</span>
        <div class="who-text">
          <h1 id="title"><bdi>{title}</bdi></h1>
          <p class="meta">
            <span class={isOpen ? "on-air" : "off-air"}>{isOpen && <i class="pulse" />}{t(isOpen ? "live" : "offAir")}</span>
            {(followers.value?.total ?? 0) > 0 && <span>{t("followers", { n: count(followers.value!.total) })}</span>}
          </p>
        </div>
        <button type="button" class={`follow ${following.value ? "is" : ""}`} aria-pressed={following.value} onClick={() => void follow(!following.value)}>
          {!following.value && <Icon name="plus" />}{t(following.value ? "following" : "follow")}
        </button>
      </div>
      <p class="audience"><Icon name="eye" /><b class="num" id="online">{count(online.value?.now ?? 0)}</b><span class="hidden">{t("online")}</span></p>
      <Tools />
    </header>
  );
}

/** Covers the stage when the page will not come back by itself. */
export function Ended() {
  if (link.value.status !== "ended") return null;
  const { close } = link.value;
  return (
    <div class="ended" role="alert">
      <p>{close ? closing(close.name, close.text) : t("ended")}</p>
      <button type="button" class="main" onClick={() => location.reload()}>{t("reload")}</button>
    </div>
  );
}

/** How the connection is: nothing to see while all is well, words when it is not. */
function ConnectionMark() {
  const text = useComputed(() => {
    const { status, retryAt, close } = link.value;
    if (status === "live") return t("connected");
    if (status === "ended") return close ? closing(close.name, close.text) : t("ended");
    if (status !== "waiting") return t("connecting");
    void now.value; // the text counts down
    return t("backIn", { n: Math.max(0, Math.ceil((retryAt - Date.now()) / 1000)) });
  });
  return <p id="link" class="link" role="status" data-state={link.value.status}>{text}</p>;
}

export function Strips() {
  const said = notice.value;
  const over = said && said.until_ms > 0 && said.until_ms <= now.value;
    return (
    <div class="strips">
      <ConnectionMark />
      {room.value?.status === "closed" && <p class="strip">{t("closedRoom")}</p>}
      <div role="status" aria-label={t("notice")}>
        {said && !over && <p class={`strip notice ${said.level}`}><Icon name="megaphone" /> <bdi>{said.text}</bdi></p>}
      </div>
      <p class="shed" id="shed" hidden={notShown.value === 0}>{t("tooMany", { n: count(notShown.value) })}</p>
    </div>
  );
}

interface OpenerProps {
  name: SheetName;
  icon: IconName;
  badge?: number;
  /** It has its name beside it where there is room. */
  worded?: boolean;
}

function Opener({ name, icon, badge = 0, worded = false }: OpenerProps) {
  return (
    <button type="button" class={`round ${worded ? "worded" : ""}`} data-open={name} aria-haspopup="dialog"
      onClick={() => { sheet.value = name; }}>
      <Icon name={icon} />
      <span class={worded ? "word-of" : "hidden"}>{t(name)}</span>
      {badge > 0 && <b class="badge-n">{count(badge)}</b>}
    </button>
  );
}

/** What is rather looked at than done: at the side of a phone, in the head of a desk. */
function Tools() {
  const mine = reservations.value.length + coupons.value.filter((one) => (one.state ?? "unused") === "unused").length;
  return (
    <nav class="tools" aria-label={t("tools")}>
      <Opener name="ranks" icon="crown" />
      <Opener name="questions" icon="question" badge={questions.value?.open ?? 0} />
      <Opener name="mine" icon="wallet" badge={mine} />
      <FlyToggle />
      <button type="button" class="round" aria-label={t("share")} onClick={() => void share()}><Icon name="share" /></button>
    </nav>
  );
}

function FlyToggle() {
  const n = dropped.value;
  return (
    <button type="button" class="round fly-toggle" aria-pressed={flying.value} aria-label={t(flying.value ? "danmakuOff" : "danmakuOn")}
      title={n ? t("noRoomFor", { n: count(n) }) : undefined} onClick={() => { flying.value = !flying.value; }}>
      <Icon name="fly" />
    </button>
  );
}

/** What is done: to buy, to give, to like. */
export function Actions() {
  const n = count(likes.value?.total ?? 0);
  const tap = (): void => { like(); rise(1); };
  return (
    <nav class="actions" aria-label={t("activities")}>
      <Opener name="gifts" icon="gift" worded />
      <button type="button" class="round worded like" id="like" disabled={mode.value?.like === false} onClick={tap}>
        <Icon name="heart" filled />
        <span class="hidden">{t("like")}</span>
        <b class="likes-n" id="likes">{n}</b>
      </button>
    </nav>
  );
}

export const ShelfOpener = () => <Opener name="shelf" icon="bag" badge={goods.value.length} />;
