/** Dialogs: the browser's own, which keep the focus and close with Escape. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Button } from "./button";
import { t } from "./texts";

/** A dialog that is open as long as it is rendered. */
export function Dialog(props: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  wide?: boolean;
}) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => element.current?.showModal(), []);
  return (
    <dialog
      ref={element}
      class={props.wide ? "dialog wide" : "dialog"}
      aria-labelledby={id}
      onClose={props.onClose}
    >
      <header>
        <h2 id={id}>{props.title}</h2>
        <Button tone="quiet" icon="close" label={t("close")} onClick={props.onClose} />
      </header>
      {props.children}
    </dialog>
  );
}

/** What has to be confirmed: the facts, line by line, and what the button says. */
export interface Deed {
  title: string;
  facts: readonly string[];
  go: string;
  /** There is a way back, so it is not said that there is none. */
  reversible?: boolean;
}

const asked = signal<(Deed & { answer: (yes: boolean) => void }) | undefined>(undefined);

/** Ask whether it shall really be done. */
export function confirm(deed: Deed): Promise<boolean> {
  asked.value?.answer(false);
  return new Promise((resolve) => {
    const answer = (yes: boolean): void => {
      asked.value = undefined;
      resolve(yes);
    };
    asked.value = { ...deed, answer };
  });
}

/** The confirmation that is open, if there is one. */
export function Confirmation() {
  const deed = asked.value;
  if (!deed) return null;
  return (
    <Dialog key={deed.title} title={deed.title} onClose={() => deed.answer(false)}>
      <ul class="facts">
        {deed.facts.map((fact) => (
          <li key={fact}>{fact}</li>
        ))}
      </ul>
      {!deed.reversible && <p class="final">{t("finalNote")}</p>}
      <footer>
        <Button onClick={() => deed.answer(false)}>{t("cancel")}</Button>
        <Button tone="danger" onClick={() => deed.answer(true)}>
          {deed.go}
        </Button>
      </footer>
    </Dialog>
  );
}
