/** The audit trail: the newest commands, by whom, and how they ended. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { look } from "../act";
import { Button, roleText } from "../button";
import { wordsOf } from "../errors";
import { onBegin, type Role } from "../room";
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

/** The newest first. */
const entries = signal<readonly Entry[]>([]);
/** Whether there are older ones. */
const more = signal(false);
const PAGE = 50;
const NEWS = 200;
const KEPT = 1000;
const EVERY_MS = 4_000;
let reading = false;

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
      {more.value && (
        <Button tone="quiet" onClick={() => void alone(readOlder)}>
          {t("older")}
        </Button>
      )}
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

/** Read what is new; at first the newest page. */
async function read(): Promise<void> {
  await alone(entries.value.length === 0 ? readOlder : readNews);
}

/** Do one reading at a time: two would bring the same entries. */
async function alone(act: () => Promise<void>): Promise<void> {
  if (reading) return;
  reading = true;
  await act().finally(() => (reading = false));
}

async function readNews(): Promise<void> {
  let found: Entry[] | undefined;
  do {
    found = await page({ after: entries.value[0]?.id, limit: NEWS });
    const all = [...(found ?? []).reverse(), ...entries.value];
    entries.value = all.slice(0, KEPT);
    if (all.length > KEPT) more.value = true;
  } while (found?.length === NEWS);
}

async function readOlder(): Promise<void> {
  const found = await page({ before: entries.value.at(-1)?.id ?? "", limit: PAGE });
  if (!found) return;
  entries.value = [...entries.value, ...found];
  more.value = found.length === PAGE;
}

async function page(which: object): Promise<Entry[] | undefined> {
  type Page = { entries: { id: string; e: string }[] };
  const answer = await look<Page>("audit", "audit.read", which);
  return answer?.entries.map(({ id, e }) => ({ ...(JSON.parse(e) as Entry), id }));
}
