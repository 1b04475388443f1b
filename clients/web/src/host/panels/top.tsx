/** The top bar: which room, how it goes, who one is. */

import { clock, count } from "../../shared/format";
import { run } from "../act";
import { faceOf, UPDATE } from "../activities/setup";
import { Button, roleText } from "../button";
import { confirm } from "../dialog";
import { openSheet } from "../forms/sheet";
import { leave, link, me, now, second, state, version } from "../room";
import { say } from "../say";
import type { RoomState } from "../shapes";
import { t } from "../texts";

/** The bar. */
export function TopBar({ room }: { room: RoomState | undefined }) {
  const open = room?.status === "open";
  const online = state<{ now: number; peak: number }>("online").value;
  return (
    <header class="top">
      <div class="name">
        <span class={open ? "onair live" : "onair"}>{open ? t("live") : t("off")}</span>
        <h1>{room?.title || me.value?.room}</h1>
        {open && (
          <Button tone="quiet" icon="edit" role="host" label={t("editRoom")} onClick={() => edit(room)} />
        )}
      </div>
      {open && (
        <dl class="facts-line">
          <div>
            <dd class="online">{count(online?.now ?? 0)}</dd>
            <dt>{t("online")}</dt>
          </div>
          <div>
            <dd>
              <Elapsed since={room.opened_ms} />
            </dd>
            <dt>{t("elapsed")}</dt>
          </div>
        </dl>
      )}
      <Connection />
      <div class="who">
        <span class="person">{me.value?.name}</span>
        <span class="role">{roleText(me.value?.role ?? "viewer")}</span>
        <Button tone="quiet" icon="out" label={t("signOut")} onClick={signOut} />
      </div>
      {open && (
        <Button tone="danger" role="host" op="room.close" onClick={() => void closeRoom(room)}>
          {t("endShow")}
        </Button>
      )}
    </header>
  );
}

function Elapsed({ since }: { since: number }) {
  second.value; // looked at again each second
  return <>{clock(Math.max(0, now() - since))}</>;
}

const WORDS = { idle: "ended", connecting: "connecting", live: "connected", waiting: "waiting", ended: "ended" } as const;

function Connection() {
  const { status } = link.value;
  return (
    <span class={`link ${status}`} role="status" data-state={status}>
      {t(WORDS[status])}
    </span>
  );
}

function edit(room: RoomState): void {
  openSheet({ sheet: UPDATE, given: faceOf(room), sees: "room", seen: version("room") });
}

async function closeRoom(room: RoomState): Promise<void> {
  const online = state<{ now: number }>("online").value?.now ?? 0;
  const facts = [
    say(["{n} viewers are watching; nobody can talk, like or give any more", "{n} 位观众在线;关播后无法发言、点赞、送礼"], {
      n: count(online),
    }),
    say(["Sales and activities that run are not stopped by this: stop them first", "进行中的秒杀与活动不会自动停止,请先结束"]),
  ];
  const title = say(["Close the room “{title}”", "关闭直播间“{title}”"], { title: room.title });
  if (await confirm({ title, facts, go: t("endShow") })) await run({ op: "room.close" });
}

function signOut(): void {
  for (const name of Object.keys(sessionStorage)) {
    if (name.startsWith("liveroom.token")) sessionStorage.removeItem(name);
  }
  leave();
}
