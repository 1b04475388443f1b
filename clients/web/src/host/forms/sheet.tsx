/** A form in a dialog that sends a command. */

import { signal } from "@preact/signals";
import { clashed, freshId, send } from "../act";
import { confirm, Dialog } from "../dialog";
import { wordsOf } from "../errors";
import { say } from "../say";
import { t } from "../texts";
import { tell } from "../toasts";
import { changed, type Sheet, type Values } from "./fields";
import { Form } from "./form";

interface Opened {
  sheet: Sheet;
  given?: Values;
  /** The state that is edited, and the version that was seen when the form opened. */
  sees?: string;
  seen?: number;
  title?: string;
  fixed?: readonly string[];
}

const opened = signal<Opened | undefined>(undefined);

/** Show a form. */
export function openSheet(what: Opened): void {
  opened.value = what;
}

/** The form that is open, if there is one. */
export function OpenSheet() {
  const what = opened.value;
  return what ? <SheetDialog key={what.sheet.name} what={what} /> : null;
}

const ids = new WeakMap<Opened, string>();

function idOf(what: Opened): string {
  const kept = ids.get(what) ?? freshId(what.sheet.name.slice(0, 12));
  ids.set(what, kept);
  return kept;
}

function SheetDialog({ what }: { what: Opened }) {
  const { sheet } = what;
  const close = (): void => {
    if (opened.value === what) opened.value = undefined;
  };
  const submit = async (found: Record<string, unknown>, values: Values): Promise<string | undefined> => {
    if (sheet.partial) found = changed(sheet.fields, found, what.given ?? {});
    const named = sheet.id && !(sheet.id in found) ? { [sheet.id]: idOf(what) } : {};
    const d = sheet.body?.({ ...named, ...found }, values) ?? { ...named, ...found };
    if (!(await confirmed(sheet, d))) return undefined;
    const order = {
      op: sheet.op,
      d,
      ...(what.sees ? { sees: what.sees } : {}),
      ...(what.seen === undefined ? {} : { seen: what.seen }),
      name: what.title ?? say(sheet.title),
    };
    try {
      await send(order);
    } catch (error) {
      if (!(await clashed(order, error))) return wordsOf(error);
      close();
      return undefined;
    }
    close();
    const text = sheet.id ? t("started", { what: say(sheet.title) }) : t("saved");
    tell({ tone: "good", text });
    return undefined;
  };
  return (
    <Dialog title={what.title ?? say(sheet.title)} onClose={close} wide={isLong(sheet)}>
      <Form
        fields={sheet.fields}
        given={what.given}
        fixed={what.fixed}
        submit={say(sheet.submit ?? ["Start", "发起"])}
        onSubmit={submit}
        onCancel={close}
      />
    </Dialog>
  );
}

function isLong({ fields }: Sheet): boolean {
  return fields.length > 7 || fields.some((field) => field.kind === "rows");
}

async function confirmed(sheet: Sheet, d: Record<string, unknown>): Promise<boolean> {
  const facts = sheet.confirm?.(d);
  const go = say(sheet.submit ?? ["Start", "发起"]);
  return facts === undefined || confirm({ title: say(sheet.title), facts, go });
}
