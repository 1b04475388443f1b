/** What waits for a moderator: approve or reject, by mouse or by A and R. */

import { useRef } from "preact/hooks";
import { clock } from "../../shared/format";
import { run } from "../act";
import { Button } from "../button";
import { held } from "../feeds";
import { atLeast, now, second } from "../room";
import type { Held } from "../shapes";
import { t } from "../texts";

const settle = (id: string, how: "approve" | "reject"): void => void run({ op: `mod.${how}`, d: { id } });

/** The queue, the oldest first. */
export function HeldQueue() {
  const list = useRef<HTMLUListElement>(null);
  const keys = (event: KeyboardEvent): void => {
    const row = (event.target as HTMLElement).closest<HTMLElement>("[data-held]");
    const id = row?.dataset.held;
    if (!id || event.ctrlKey || event.metaKey || event.altKey) return;
    const how = { a: "approve", r: "reject" }[event.key.toLowerCase()] as "approve" | "reject";
    if (how && atLeast("moderator")) {
      neighbour(row, 1)?.focus();
      settle(id, how);
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      neighbour(row, step, false)?.focus();
    }
  };
  if (!held.value.length) return <p class="empty">{t("nothingHeld")}</p>;
  return (
    <>
      <p class="help">{t("heldHelp")}</p>
      <ul ref={list} class="list held" onKeyDown={keys}>
        {held.value.map((entry) => (
          <Row key={entry.id} entry={entry} />
        ))}
      </ul>
    </>
  );
}

/** The next row, or the one before where there is none. */
function neighbour(row: HTMLElement, step: number, turn = true): HTMLElement | null {
  const next = row.nextElementSibling as HTMLElement | null;
  const before = row.previousElementSibling as HTMLElement | null;
  const [first, second] = step > 0 ? [next, before] : [before, next];
  return first ?? (turn ? second : null);
}

function Row({ entry }: { entry: Held }) {
  second.value; // looked at again each second
  return (
    <li data-held={entry.id} tabIndex={0}>
      <p class="said">
        <span class="name">{entry.name || entry.user}</span> {entry.text}
      </p>
      <p class="why">
        {entry.rules.join(", ")} · {clock(entry.until_ms - now())}
      </p>
      <div class="deeds">
        <Button tone="main" role="moderator" op="mod.approve" icon="check" onClick={() => settle(entry.id, "approve")}>
          {t("approve")}
        </Button>
        <Button role="moderator" op="mod.reject" icon="close" onClick={() => settle(entry.id, "reject")}>
          {t("reject")}
        </Button>
      </div>
    </li>
  );
}
