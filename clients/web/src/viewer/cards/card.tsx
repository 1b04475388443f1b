/** The frame of an activity: a head that opens and closes it, and what there is to do. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { Icon, type IconName } from "../icons";
import { t } from "../texts";
import { wide } from "../wide";

/** Which cards are open; on a phone one at a time. */
export const opened = signal<ReadonlySet<string>>(new Set());

/** Which cards this viewer has put away. */
export const dismissed = signal<ReadonlySet<string>>(new Set());

export function open(id: string): void {
  opened.value = wide.peek() ? new Set([...opened.peek(), id]) : new Set([id]);
}

function toggle(id: string): void {
  if (!opened.value.has(id)) open(id);
  else opened.value = new Set([...opened.value].filter((one) => one !== id));
}

export interface CardProps {
  id: string;
  kind: "flash" | "poll" | "quiz" | "lottery" | "coupon" | "packet";
  icon: IconName;
  label: string;
  title: string;
  /** A countdown, or a word on how it stands. */
  aside?: ComponentChildren;
  /** It is over: it may be put away. */
  done?: boolean;
  children: ComponentChildren;
}

export function Card({ id, kind, icon, label, title, aside, done = false, children }: CardProps) {
  const isOpen = opened.value.has(id);
  const body = `card-${id.replace(/[^\w-]/g, "_")}`;
  return (
    <article class={`card ${kind} ${isOpen ? "open" : "shut"} ${done ? "done" : ""}`} data-card={id}>
      <div class="card-head">
        <button type="button" class="card-toggle" aria-expanded={isOpen} aria-controls={body} onClick={() => toggle(id)}>
          <span class="card-icon"><Icon name={icon} /></span>
          <span class="card-name"><small>{label}</small><bdi>{title}</bdi></span>
          {aside && <span class="card-aside">{aside}</span>}
        </button>
        {isOpen && done && (
          <button type="button" class="plain" aria-label={t("close")}
            onClick={() => { dismissed.value = new Set([...dismissed.value, id]); }}>
            <Icon name="close" />
          </button>
        )}
      </div>
      <div class="card-body" id={body} hidden={!isOpen}>{isOpen && children}</div>
    </article>
  );
}
