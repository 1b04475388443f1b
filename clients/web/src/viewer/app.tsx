/** The page: one tree, laid out by the style sheet for a phone or for a desk. */

import { useSignalEffect } from "@preact/signals";
import { Deck } from "./cards/deck";
import { Chat } from "./chat";
import { Actions, Ended, Head, ShelfOpener, Strips } from "./frame";
import { Gifts } from "./gifts";
import { Guard } from "./guard";
import { Questions } from "./questions";
import { Ranks } from "./ranks";
import { here, room } from "./room";
import { Sheet, sheet } from "./sheet";
import { Explained, Shelf } from "./shelf";
import { Stage } from "./stage/stage";
import { Talk } from "./talk";
import { t } from "./texts";
import { Toasts } from "./toast";
import { Wallet } from "./wallet";
import { wide } from "./wide";

export function App() {
  useSignalEffect(() => { document.title = room.value?.title || here.room; });
  return (
    <div class="page">
      <Guard><Stage /></Guard>
      <Guard><Head /></Guard>
      <main class="main-area">
        <Guard><Strips /></Guard>
        <div class="left">
          <Guard><Deck /></Guard>
          {wide.value && (
            <aside class="side" aria-label={t("shelf")}>
              <h2>{t("shelf")}</h2>
              <Guard><Shelf /></Guard>
            </aside>
          )}
        </div>
        <div class="low">
          <Chat />
          {!wide.value && <Guard><Explained /></Guard>}
        </div>
      </main>
      <footer class="foot">{!wide.value && <ShelfOpener />}<Talk /><Guard><Actions /></Guard></footer>
      <Ended />
      <Toasts />
      <Open />
    </div>
  );
}

const SHEETS = { shelf: Shelf, gifts: Gifts, questions: Questions, ranks: Ranks, mine: Wallet } as const;

function Open() {
  const name = sheet.value;
  if (!name) return null;
  const Body = SHEETS[name];
  return <Sheet key={name} name={name} title={t(name)}><Guard><Body /></Guard></Sheet>;
}
