/** A sheet: from below on a phone, at the side where there is room. The browser keeps the focus in it. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "./icons";
import { t } from "./texts";

export type SheetName = "shelf" | "gifts" | "questions" | "ranks" | "mine";

/** Which sheet is open; its opener has the focus again when it closes. */
export const sheet = signal<SheetName | undefined>(undefined);

export function Sheet({ name, title, children }: { name: SheetName; title: string; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const box = dialog.current!;
    box.showModal();
    return () => { if (box.open) box.close(); };
  }, []);
  const close = (): void => {
    dialog.current?.close(); // while it is there: so its opener has the focus again
    sheet.value = undefined;
  };
  return (
    <dialog ref={dialog} class={`sheet ${name}`} aria-labelledby={`sheet-${name}`} data-sheet={name}
      onCancel={(event) => { event.preventDefault(); close(); }}
      onClick={(event) => { if (event.target === dialog.current) close(); }}>
      <div class="sheet-inner">
        <div class="sheet-head">
          <h2 id={`sheet-${name}`}>{title}</h2>
          <button type="button" class="plain" aria-label={t("close")} onClick={close}><Icon name="close" /></button>
        </div>
        <div class="sheet-body">{children}</div>
      </div>
    </dialog>
  );
}
