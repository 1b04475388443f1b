/** What a moderator does about a message and who said it; each of it can be taken back. */

import { signal } from "@preact/signals";
import { run } from "../act";
import { Button } from "../button";
import { confirm } from "../dialog";
import type { Line } from "../feeds";
import { say } from "../say";
import type { Person } from "../shapes";
import { t } from "../texts";
import { done, later } from "../toasts";

/** Messages (`m:`) and users (`u:`) of which something is about to be deleted. */
const going = signal<ReadonlySet<string>>(new Set());

/** Whether a line will be deleted in a moment. */
export function waits(line: Line): boolean {
  return !line.gift && (going.value.has(`m:${line.id}`) || going.value.has(`u:${line.user.id}`));
}

/** The buttons of one line. */
export function LineActions({ line, onDone }: { line: Line; onDone: () => void }) {
  const { user } = line;
  const name = user.name || user.id;
  const act = (deed: () => void) => (): void => {
    onDone();
    deed();
  };
  return (
    <div class="line-actions" role="group" aria-label={t("more", { name })}>
      {!line.gift && (
        <>
          <Button role="moderator" onClick={act(() => remove(`m:${line.id}`, { id: line.id }, t("deleting", { name })))}>
            {t("deleteOne")}
          </Button>
          <Button role="moderator" onClick={act(() => remove(`u:${user.id}`, { user: user.id }, t("deletingAll", { name })))}>
            {t("deleteAll")}
          </Button>
        </>
      )}
      <Button role="moderator" onClick={act(() => void mute(user, 600))}>
        {t("mute")}
      </Button>
      <Button role="moderator" onClick={act(() => void mute(user, 86_400))}>
        {t("muteLong")}
      </Button>
      <Button role="moderator" onClick={act(() => kick(user))}>
        {t("kick")}
      </Button>
      <Button role="moderator" tone="danger" onClick={act(() => void ban(user))}>
        {t("ban")}
      </Button>
    </div>
  );
}

function remove(mark: string, d: object, text: string): void {
  const keep = (): void => {
    going.value = new Set([...going.value].filter((other) => other !== mark));
  };
  going.value = new Set([...going.value, mark]);
  const act = async (): Promise<void> => {
    await run({ op: "mod.delete", d });
    keep();
  };
  later(text, () => void act(), keep);
}

async function mute(user: Person, seconds: number): Promise<void> {
  const name = user.name || user.id;
  if (!(await run({ op: "mod.mute", d: { user: user.id, seconds } }))) return;
  done(t("muted", { name }), () => void run({ op: "mod.unmute", d: { user: user.id } }));
}

function kick(user: Person): void {
  const name = user.name || user.id;
  later(t("kicking", { name }), () => void run({ op: "mod.kick", d: { user: user.id } }));
}

async function ban(user: Person): Promise<void> {
  const name = user.name || user.id;
  const facts = [
    say(["{name} ({id}) is sent away at once and cannot come back", "{name}({id})将立即离开且不能再进入"], { name, id: user.id }),
    say(["It holds until somebody lifts it under “Records”", "可在“记录”中解除"]),
  ];
  const title = say(["Ban {name}", "封禁 {name}"], { name });
  if (!(await confirm({ title, facts, go: t("ban"), reversible: true }))) return;
  if (!(await run({ op: "mod.ban", d: { user: user.id } }))) return;
  done(t("banned", { name }), () => void run({ op: "mod.unban", d: { user: user.id } }));
}
