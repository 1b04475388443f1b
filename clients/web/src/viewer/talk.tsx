/** The line to say something, and what keeps one from it. */

import { useComputed, useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { mind, say, silencedBy } from "./acts";
import { Icon } from "./icons";
import { mode, now } from "./room";
import { t } from "./texts";

const MAX_LENGTH = 100;

export function Talk() {
  const field = useRef<HTMLInputElement>(null);
  const text = useSignal("");
  const why = useComputed(() => silencedBy(mode.value?.talk, now.value)).value;
  const rules = mind();
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    const typed = text.value.trim();
    if (!typed) return;
    text.value = "";
    if (!(await say(typed)) && !text.value) text.value = typed; // not lost, unless something else was begun
    field.current?.focus();
  };
  return (
    <form class="talk" onSubmit={(event) => void send(event)} autocomplete="off">
      {why && <p class="silenced" id="silenced">{why}</p>}
      <label class="hidden" for="text">{t("saySomething")}</label>
      <input ref={field} id="text" maxLength={MAX_LENGTH} enterkeyhint="send" value={text} disabled={why !== ""}
        placeholder={rules || t("saySomething")} aria-describedby={why ? "silenced" : undefined}
        onInput={(event) => { text.value = event.currentTarget.value; }} />
      <button type="submit" class="round" aria-label={t("send")} disabled={why !== ""}><Icon name="send" /></button>
    </form>
  );
}
