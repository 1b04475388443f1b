/** Loading a plan: a file, or its text. */

import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { Dialog } from "../dialog";
import { wordsOf } from "../errors";
import { Form } from "../forms/form";
import { putPlan, readPlan } from "../plan";
import { version } from "../room";
import { t } from "../texts";
import { tell } from "../toasts";

const opened = signal<number | undefined>(undefined);
const MAX_BYTES = 256 * 1024;

/** Show the dialog; the plan that is seen now is the one to be replaced. */
export function openLoad(): void {
  opened.value = version("rundown");
}

/** The dialog, if it is open. */
export function LoadPlan() {
  const [text, setText] = useState("");
  const seen = opened.value;
  if (seen === undefined) return null;
  const close = (): void => {
    opened.value = undefined;
    setText("");
  };
  const pick = async (files: FileList | null): Promise<void> => {
    const file = files?.[0];
    if (file && file.size <= MAX_BYTES) setText(await file.text());
  };
  const submit = async (d: Record<string, unknown>): Promise<string | undefined> => {
    const { error, cues } = await putPlan(String(d.text), seen);
    if (error) return wordsOf(error);
    close();
    tell({ tone: "good", text: t("planLoaded", { n: cues ?? 0 }) });
    await readPlan();
    return undefined;
  };
  return (
    <Dialog title={t("loadPlan")} onClose={close} wide>
      <label class="file">
        {t("file")}
        <input
          type="file"
          accept=".toml,.json,application/json,application/toml"
          onChange={(event) => void pick(event.currentTarget.files)}
        />
      </label>
      <Form
        key={text.slice(0, 40) + text.length}
        fields={[
          {
            name: "text",
            label: ["Text", "文本"],
            kind: "area",
            max: MAX_BYTES,
            help: ["A TOML or JSON file, or its text.", "TOML 或 JSON 文件,或直接粘贴文本。"],
          },
        ]}
        given={{ text }}
        submit={t("loadPlan")}
        onSubmit={submit}
        onCancel={close}
      />
    </Dialog>
  );
}
