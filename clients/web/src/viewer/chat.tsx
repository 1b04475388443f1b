/** The list of what is said, given and done, and the line to say something. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { count } from "../shared/format";
import { ChatLog, type Line } from "./chatlog";
import { Icon } from "./icons";
import { giftName, nameOf, tintOf } from "./names";
import { gifts, me, onDanmaku, onDeleted, onEnter, onFollow, onGift, onReset, onWave } from "./room";
import { t } from "./texts";
import { Waves } from "./waves";
import type * as wire from "./wire";
import "./chat.css";

export function Chat() {
  const list = useRef<HTMLUListElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const log = useRef<ChatLog>(undefined);
  const waiting = useSignal(0);
  const spoken = useSignal("");

  useEffect(() => {
    const made = new ChatLog(list.current!, {
      waiting: (n) => { waiting.value = n; },
      speak: (text, others) => { spoken.value = others ? `${text} (${t("moreLines", { n: others })})` : text; },
    });
    log.current = made;
    const off = listen(made);
    return () => { off(); made.destroy(); };
  }, []);

  const back = (): void => {
    box.current?.scrollTo({ top: 0 });
    log.current?.hold(false);
  };
  return (
    <section class="chat" aria-label={t("chat")}>
      <div ref={box} class="chat-box" tabIndex={0} role="group" aria-label={t("chat")}
        onScroll={() => log.current?.hold((box.current?.scrollTop ?? 0) < -32)}>
        <ul ref={list} class="lines" id="log" />
      </div>
      <div class="hidden" role="log" aria-live="polite">{spoken}</div>
      {waiting.value > 0 && (
        <button type="button" class="pill" onClick={back}>
          <Icon name="down" /> {t("newLines", { n: count(waiting.value) })}
        </button>
      )}
    </section>
  );
}

/** Feed the list from the room; returns how to stop. */
function listen(log: ChatLog): () => void {
  const known = new Set<string>();
  const combos = new Map<string, HTMLElement>();
  const waves = new Waves();
  const talk = (d: wire.Danmaku, line: Line, quiet = false): void => {
    waves.line(d.text, line.node);
    log.add(line, quiet);
  };
  const fresh = (recent: wire.Danmaku[]): void => {
    log.clear();
    combos.clear();
    known.clear();
    waves.clear();
    for (const d of recent) { known.add(d.id); talk(d, said(d, false), true); }
  };
  resetList = fresh;
  if (recentAtStart) fresh(recentAtStart);
  const offs = [
    onDanmaku((d, kept) => { if (!known.has(d.id)) talk(d, said(d, kept)); }),
    onWave(({ text, n }) => {
      const tell = (more: number): string => t("sayToo", { n: count(more) });
      if (!waves.more(text, n, tell)) log.add(many(text, tell(n)), true);
    }),
    onDeleted((d) => log.remove(d.ids, d.user)),
    onEnter((d) => { if (d.user.id !== me.value.id) log.add(event("enter", d.user, t("cameIn")), true); }),
    onFollow((d) => log.add(event("enter", d.user, t("isFollowing")), true)),
    onGift((d) => gave(log, combos, d)),
  ];
  return () => { for (const off of offs) off(); resetList = undefined; };
}

let resetList: ((recent: wire.Danmaku[]) => void) | undefined;
let recentAtStart: wire.Danmaku[] | undefined;
onReset((recent) => {
  recentAtStart = recent;
  resetList?.(recent);
});

// Lines. What people wrote is put in as text nodes.

function make(tag: string, className: string, text: string): HTMLElement {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function row(className: string, ...parts: Node[]): HTMLElement {
  const node = make("li", className, "");
  node.append(...parts);
  return node;
}

function said(d: wire.Danmaku, kept: boolean): Line {
  const role = d.user.role;
  const staff = role !== undefined && role !== "viewer";
  const node = row(kept ? "line kept" : "line");
  if (staff) node.append(make("span", "badge", t(role === "host" ? "host" : "staff")));
  node.append(make("bdi", `who tint-${tintOf(d.user.id)}`, nameOf(d.user)), make("bdi", "text", d.text));
  if (kept) node.append(make("small", "aside", t("onlyYou")));
  return { node, id: d.id, user: d.user.id, spoken: `${nameOf(d.user)}: ${d.text}` };
}

function many(text: string, who: string): Line {
  const node = row("line", make("bdi", "text", text), make("b", "more", who));
  return { node, user: "", spoken: `${text} (${who})` };
}

function event(className: string, user: wire.Person, what: string): Line {
  const node = row(`line ${className}`, make("bdi", "who", nameOf(user)), make("span", "", what));
  return { node, user: user.id, spoken: `${nameOf(user)} ${what}` };
}

function gave(log: ChatLog, combos: Map<string, HTMLElement>, d: wire.GiftSent): void {
  const slot = `${d.user.id}|${d.gift}`;
  const before = combos.get(slot);
  if (before && d.n) before.textContent = `×${d.combo}`;
  else if (d.n) {
    const name = giftName(d.gift, gifts.value?.gifts);
    const line = event("gave", d.user, `${t("sentGift")} ${name}`);
    const n = make("b", "n", `×${d.combo}`);
    line.node.append(n);
    combos.set(slot, n);
    log.add(line);
  }
  if (d.combo_end) combos.delete(slot);
}
