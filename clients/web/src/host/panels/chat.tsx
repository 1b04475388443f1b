/** The chat: who says what, and what can be done about it. */

import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { count } from "../../shared/format";
import { present, run } from "../act";
import { Button, roleText } from "../button";
import { type Line, lines } from "../feeds";
import { me, type Role } from "../room";
import { hour } from "../shown";
import { t } from "../texts";
import { LineActions, waits } from "./lineactions";

const chosen = signal<string | undefined>(undefined);

/** The panel. */
export function Chat() {
  const list = useRef<HTMLUListElement>(null);
  const [behind, setBehind] = useState(0);
  const last = lines.value.at(-1)?.id;
  const atEnd = useRef(true);
  useEffect(() => {
    if (atEnd.current) toEnd(list.current);
    else setBehind((n) => n + 1);
  }, [last]);
  const top = useRef(0);
  const scrolled = (): void => {
    const { scrollHeight, scrollTop, clientHeight } = list.current!;
    const near = scrollHeight - scrollTop - clientHeight < 40;
    // Only somebody who scrolls up wants to stay: the list itself grows and shrinks, too.
    if (near || scrollTop < top.current) atEnd.current = near;
    top.current = scrollTop;
    if (near) setBehind(0);
  };
  return (
    <section class="panel chat" aria-labelledby="chat">
      <h2 id="chat">{t("chat")}</h2>
      {lines.value.length === 0 && <p class="empty">{t("quiet")}</p>}
      <ul ref={list} class="lines" tabIndex={0} aria-labelledby="chat" onScroll={scrolled}>
        {lines.value.map((line) => (
          <LineRow key={line.id} line={line} />
        ))}
      </ul>
      {behind > 0 && (
        <div class="behind">
          <Button icon="down" onClick={() => toEnd(list.current)}>
            {t("newLines", { n: behind })}
          </Button>
        </div>
      )}
      <Composer />
    </section>
  );
}

function toEnd(list: HTMLUListElement | null): void {
  if (list) list.scrollTop = list.scrollHeight;
}

function LineRow({ line }: { line: Line }) {
  const { user } = line;
  const open = chosen.value === line.id;
  const staff = user.role && user.role !== "viewer";
  const going = waits(line);
  const marks = [line.gift && "gift", line.gone && "gone", going && "going", open && "open", staff && "staff"];
  return (
    <li class={["line", ...marks.filter(Boolean)].join(" ")} data-line={line.id}>
      <p>
        <time>{hour(line.ts)}</time> <span class="name">{user.name || user.id}</span>
        {staff && <span class="chip">{roleText(user.role as Role)}</span>} <span class="text">{line.text}</span>
        {line.more && <span class="note"> {t("sayToo", { n: count(line.more) })}</span>}
        {line.gone && <span class="note"> {t("deleted")}</span>}
      </p>
      {present.value.mod && user.id !== me.value?.user && (
        <Button tone="quiet" icon="more" expanded={open} label={t("more", { name: user.name || user.id })} onClick={() => (chosen.value = open ? undefined : line.id)} />
      )}
      {open && <LineActions line={line} onDone={() => (chosen.value = undefined)} />}
    </li>
  );
}

function Composer() {
  const [text, setText] = useState("");
  const label = t("say", { name: me.value?.name ?? "" });
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    const said = text.trim();
    if (!said) return;
    setText("");
    if (!(await run({ op: "danmaku.send", d: { text: said } }))) setText(said);
  };
  return (
    <form class="composer" onSubmit={send}>
      <input
        type="text"
        maxLength={100}
        aria-label={label}
        placeholder={label}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button type="submit" class="button">
        {t("send")}
      </button>
    </form>
  );
}
