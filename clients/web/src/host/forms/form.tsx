/** The one form of the console: it draws fields, checks them, and hands over a body. */

import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { Button } from "../button";
import { t } from "../texts";
import { Control } from "./control";
import { beginning, type Faults, type Field, read, type Value, type Values } from "./fields";

interface FormProps {
  fields: readonly Field[];
  given?: Values | undefined;
  /** Fields that are shown and not changed. */
  fixed?: readonly string[] | undefined;
  submit: string;
  tone?: "main" | "danger";
  /** Sends it; what it returns is shown as the reason why it failed. */
  onSubmit: (d: Record<string, unknown>, values: Values) => Promise<string | undefined>;
  onCancel?: (() => void) | undefined;
  children?: ComponentChildren;
}

/** A form; what is wrong stands at the fields. */
export function Form({ fields, given, fixed, submit, tone = "main", onSubmit, onCancel, children }: FormProps) {
  const [values, change] = useState(() => beginning(fields, given));
  const [faults, blame] = useState<Faults>({});
  const [refusal, refuse] = useState("");
  const sending = useRef(false);
  const form = useRef<HTMLFormElement>(null);
  const set = (name: string, value: Value): void => change((old) => ({ ...old, [name]: value }));

  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (sending.current) return;
    const found = read(fields, values);
    blame(found.faults);
    const [first] = Object.keys(found.faults);
    if (first) return focusOn(form.current, first);
    sending.current = true;
    refuse((await onSubmit(found.d, values)) ?? "");
    sending.current = false;
  };
  return (
    <form ref={form} class="form" noValidate onSubmit={send}>
      {children}
      <div class="fields">
        {fields.map((field) =>
          field.when && !field.when(values) ? null : (
            <Control
              key={field.name}
              field={field}
              value={values[field.name] ?? ""}
              fault={faults[field.name]}
              fixed={fixed?.includes(field.name)}
              onChange={(value) => set(field.name, value)}
            />
          ),
        )}
      </div>
      {refusal && (
        <p class="refusal" role="alert">
          {refusal}
        </p>
      )}
      <footer>
        {onCancel && <Button onClick={onCancel}>{t("cancel")}</Button>}
        <button type="submit" class={`button ${tone}`}>
          {submit}
        </button>
      </footer>
    </form>
  );
}

function focusOn(form: HTMLFormElement | null, name: string): void {
  const found = form?.querySelector<HTMLElement>(`[name="${CSS.escape(name)}"]`);
  const input = found instanceof HTMLFieldSetElement ? found.querySelector("input") : found;
  input?.focus();
}
