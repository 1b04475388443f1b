/** The desk: its columns on a wide screen, its sections on a narrow one. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { alerts, held, questions } from "./feeds";
import { Figures } from "./panels/figures";
import { Modes } from "./panels/modes";
import { Records } from "./panels/records";
import { Rundown } from "./panels/rundown";
import { Shelf } from "./panels/shelf";
import { Stage } from "./panels/stage";
import { Talk } from "./panels/talk";
import { Tiles } from "./panels/tiles";
import { type Text, t } from "./texts";

const SECTIONS = ["show", "plan", "talk"] as const;
const VIEWS = ["show", "figures", "records"] as const;

const section = signal<(typeof SECTIONS)[number]>("show");
const view = signal<(typeof VIEWS)[number]>("show");

/** Everything that a live room is run with. */
export function Desk() {
  const waits = held.value.length + questions.value.length + raised();
  return (
    <main class="desk" data-section={section.value}>
      <nav class="sections" aria-label={t("section")}>
        {SECTIONS.map((name) => (
          <button
            key={name}
            type="button"
            aria-current={section.value === name ? "page" : undefined}
            onClick={() => (section.value = name)}
          >
            {t(name)}
            {name === "talk" && waits > 0 && <span class="badge">{waits}</span>}
          </button>
        ))}
      </nav>
      <div class="column plan-column">
        <Rundown />
        <Modes />
      </div>
      <div class="column show-column">
        <Tiles />
        <Tabs names={VIEWS} chosen={view.value} onChoose={(name) => (view.value = name)}>
          {view.value === "show" && (
            <>
              <Stage />
              <Shelf />
            </>
          )}
          {view.value === "figures" && <Figures />}
          {view.value === "records" && <Records />}
        </Tabs>
      </div>
      <div class="column talk-column">
        <Talk />
      </div>
    </main>
  );
}

function raised(): number {
  return alerts.value.filter((alert) => alert.status === "raised").length;
}

interface TabsProps<N extends Text> {
  names: readonly N[];
  chosen: N;
  onChoose: (name: N) => void;
  counts?: Partial<Record<N, number>>;
  children: ComponentChildren;
}

/** Tabs, as assistive technology knows them: arrows move between them. */
export function Tabs<N extends Text>({ names, chosen, onChoose, counts, children }: TabsProps<N>) {
  const id = useId();
  const move = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = names[(names.indexOf(chosen) + step + names.length) % names.length]!;
    onChoose(next);
    document.getElementById(`${id}-${next}`)?.focus();
  };
  return (
    <section class="tabbed">
      <div class="tabs" role="tablist" onKeyDown={move}>
        {names.map((name) => (
          <button
            key={name}
            id={`${id}-${name}`}
            type="button"
            role="tab"
            aria-selected={name === chosen}
            aria-controls={`${id}-panel`}
            tabIndex={name === chosen ? 0 : -1}
            onClick={() => onChoose(name)}
          >
            {t(name)}
            {!!counts?.[name] && <span class="badge">{counts[name]}</span>}
          </button>
        ))}
      </div>
      <div class="tabpanel" role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${chosen}`}>
        {children}
      </div>
    </section>
  );
}
