/** Which screen is shown: signing in, waiting, going live, or the desk. */

import { place } from "../shared/place";
import { ConflictNotice } from "./conflict";
import { Desk } from "./desk";
import { Confirmation } from "./dialog";
import { OpenSheet } from "./forms/sheet";
import { GoLive } from "./panels/golive";
import { SignIn } from "./panels/signin";
import { TopBar } from "./panels/top";
import { Winners } from "./panels/winners";
import { enter, link, me, refused, state } from "./room";
import type { RoomState } from "./shapes";
import { t } from "./texts";
import { Toasts } from "./toastlist";

const here = place();
if (here.token) void enter(here.room, here.token);

/** The page. */
export function App() {
  return (
    <>
      <Screen />
      <OpenSheet />
      <Winners />
      <Confirmation />
      <ConflictNotice />
      <Toasts />
    </>
  );
}

function Screen() {
  if (refused.value || link.value.status === "idle") return <SignIn room={here.room} />;
  if (!me.value) return <Waiting />;
  const room = state<RoomState>("room").value;
  const open = room?.status === "open";
  return (
    <>
      <TopBar room={room} />
      {link.value.status !== "live" && <p class="strip">{t("holdOn")}</p>}
      {open ? <Desk /> : <GoLive room={room} />}
    </>
  );
}

function Waiting() {
  return (
    <main class="alone">
      <h1>{t("console")}</h1>
      <p role="status">{t("entering")}</p>
    </main>
  );
}
