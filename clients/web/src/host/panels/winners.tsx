/** Who won a draw, and where to reach them. */

import { signal } from "@preact/signals";
import { run } from "../act";
import { Dialog } from "../dialog";
import { t } from "../texts";

interface Winner {
  slot: number;
  prize: string;
  user: string;
  name: string;
  claimed_ms?: number;
  contact?: string;
}

const shown = signal<Winner[] | undefined>(undefined);

/** Ask for the winners and show them. */
export async function showWinners(d: Record<string, unknown>): Promise<void> {
  const answer = await run<{ winners: Winner[] }>({ op: "lottery.winners", d: { ...d, limit: 200 } });
  if (answer) shown.value = answer.winners;
}

/** The list, if it was asked for. */
export function Winners() {
  const list = shown.value;
  if (!list) return null;
  return (
    <Dialog title={t("winners")} wide onClose={() => (shown.value = undefined)}>
      {list.length === 0 && <p>{t("noWinners")}</p>}
      <ul class="list">
        {list.map((winner) => (
          <li key={winner.slot}>
            <strong>{winner.name || winner.user}</strong> <code>{winner.user}</code> {winner.prize}
            {winner.claimed_ms !== undefined && <span class="good"> {t("claimed")}</span>}
            {winner.contact && <p class="contact">{winner.contact}</p>}
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
