/** The audit trail: the newest commands, by whom, and how they ended. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { look } from "../act";
import { Button, roleText } from "../button";
import { wordsOf } from "../errors";
import { now, onBegin, type Role } from "../room";
import { moment } from "../shown";
import { t } from "../texts";

interface Entry {
  id: string;
  ts: number;
  user: string;
  role: Role;
  op: string;
  d?: Record<string, unknown>;
  code?: string;
}

const entries = signal<readonly Entry[]>([]);
const SHOWN = 50;
const EVERY_MS = 4_000;
const FIRST_BACK_MS = 600_000;

onBegin(() => (entries.value = []));

/** The table; it looks for news while it is shown. */
export function Trail() {
  useEffect(() => {
    void read();
    const timer = setInterval(() => void read(), EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <section class="panel trail" aria-labelledby="trail">
      <header>
        <h2 id="trail">{t("trail")}</h2>
        <Button icon="redo" onClick={() => void read()}>
          {t("refresh")}
        </Button>
      </header>
      <p class="help">{t("trailHelp")}</p>
      {entries.value.length === 0 ? <p class="empty">{t("nothingDone")}</p> : <Table />}
    </section>
  );
}

function Table() {
  return (
    <div class="scroll" tabIndex={0} role="group" aria-labelledby="trail">
      <table>
        <thead>
          <tr>
            {(["when", "who", "what", "outcome"] as const).map((name) => (
              <th key={name} scope="col">
                {t(name)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {entries.value.map((entry) => (
            <Row key={entry.id} entry={entry} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ entry }: { entry: Entry }) {
  return (
    <tr>
      <td class="time">{moment(entry.ts)}</td>
      <td>
        {entry.user} <span class="role">{roleText(entry.role)}</span>
      </td>
      <td>
        <code>{entry.op}</code> <span class="body">{brief(entry.d)}</span>
      </td>
      <td class={entry.code ? "fault" : "good"} title={entry.code ? wordsOf({ code: entry.code }) : undefined}>
        {entry.code ?? t("ok")}
      </td>
    </tr>
  );
}

function brief(d: Record<string, unknown> | undefined): string {
  const parts = Object.entries(d ?? {}).map(([name, value]) =>
    `${name}: ${typeof value === "object" ? JSON.stringify(value) : String(value)}`,
  );
  const text = parts.join(", ");
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}

/**
 * Read what is new. The trail is read oldest first, so the newest are looked for from a time on,
 * which is put farther back until there are enough of them or nothing is before.
 */
async function read(): Promise<void> {
  const newest = entries.value[0];
  const found = newest ? await all(newest.id) : await lastOnes();
  entries.value = [...found.reverse(), ...entries.value].slice(0, SHOWN);
}

async function lastOnes(): Promise<Entry[]> {
  for (let back = FIRST_BACK_MS; back < 86_400_000 * 30; back *= 12) {
    const found = await all(`${Math.max(0, Math.round(now() - back))}-0`);
    if (found.length >= SHOWN) return found;
    if (back * 12 >= 86_400_000 * 30) return found;
  }
  return [];
}

async function all(after: string): Promise<Entry[]> {
  const found: Entry[] = [];
  let from = after;
  for (let page = 0; page < 20; page++) {
    type Page = { entries: { id: string; e: string }[] };
    const answer = await look<Page>("audit", "audit.read", { after: from, limit: 200 });
    const rows = answer?.entries ?? [];
    found.push(...rows.map(({ id, e }) => ({ ...(JSON.parse(e) as Entry), id })));
    if (rows.length < 200) break;
    from = rows.at(-1)!.id;
  }
  return found;
}
