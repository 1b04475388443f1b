/** One field of a form, of whatever kind. */

import { useId } from "preact/hooks";
import { Button } from "../button";
import { all } from "../room";
import { say } from "../say";
import type { Item } from "../shapes";
import { t } from "../texts";
import { beginning, type Field, labelOf, type Value, type Values } from "./fields";

interface ControlProps {
  field: Field;
  value: Value;
  fault?: string | undefined;
  fixed?: boolean | undefined;
  onChange: (value: Value) => void;
}

/** A field with its label, its help, and what is wrong with it. */
export function Control(props: ControlProps) {
  const { field, fault } = props;
  const id = useId();
  if (field.kind === "rows") return <Rows {...props} />;
  const note = [field.help && `${id}-help`, fault && `${id}-fault`].filter(Boolean).join(" ");
  const input = <Input {...props} id={id} note={note || undefined} />;
  const tick = field.kind === "flag";
  return (
    <div class={`field${field.half ? " half" : ""}${tick ? " tick" : ""}`}>
      {tick && input}
      <label for={id}>
        {labelOf(field)}
        {field.optional && !tick && <span class="optional"> {t("optional")}</span>}
      </label>
      {!tick && input}
      {field.help && (
        <p class="help" id={`${id}-help`}>
          {say(field.help)}
        </p>
      )}
      {fault && (
        <p class="fault" id={`${id}-fault`}>
          {fault}
        </p>
      )}
    </div>
  );
}

type InputProps = ControlProps & { id: string; note: string | undefined };
type Typed = { currentTarget: { value: string } };

function Input({ field, value, fault, fixed, onChange, id, note }: InputProps) {
  const common = {
    id,
    name: field.name,
    "aria-describedby": note,
    "aria-invalid": fault ? ("true" as const) : undefined,
    disabled: fixed === true,
  };
  const typed = (event: Typed): void => onChange(event.currentTarget.value);
  const { kind } = field;
  if (kind === "flag") {
    const ticked = (event: { currentTarget: { checked: boolean } }): void =>
      onChange(event.currentTarget.checked);
    return <input {...common} type="checkbox" checked={value === true} onChange={ticked} />;
  }
  if (kind === "choice" || kind === "sku") {
    return (
      <select {...common} value={String(value)} onChange={typed}>
        {kind === "sku" && <option value="">{t("pickOne")}</option>}
        {choicesOf(field).map(([key, label]) => (
          <option key={key} value={key} selected={key === value}>
            {label}
          </option>
        ))}
      </select>
    );
  }
  if (kind === "lines" || kind === "area") {
    const rows = kind === "lines" ? Math.max(3, String(value).split("\n").length) : 3;
    return <textarea {...common} rows={rows} value={String(value)} onInput={typed} />;
  }
  const modes = { whole: "numeric", money: "decimal", link: "url" } as const;
  return (
    <input
      {...common}
      type="text"
      inputMode={kind in modes ? modes[kind as keyof typeof modes] : "text"}
      autocomplete="off"
      value={String(value)}
      onInput={typed}
    />
  );
}

function choicesOf(field: Field): (readonly [string, string])[] {
  if (field.kind === "choice") return (field.choices ?? []).map(([key, pair]) => [key, say(pair)]);
  return all<Item>("item").flatMap((item) =>
    item.skus.map((sku) => [sku.sku, [item.title, sku.title].filter(Boolean).join(" · ")] as const),
  );
}

function Rows({ field, value, fault, onChange }: ControlProps) {
  const rows = value as Values[];
  const columns = field.columns ?? [];
  const put = (index: number, name: string, to: Value): void =>
    onChange(rows.map((row, at) => (at === index ? { ...row, [name]: to } : row)));
  return (
    <fieldset class="rows" name={field.name}>
      <legend>{labelOf(field)}</legend>
      {rows.map((row, index) => (
        <div class="row" key={index}>
          {columns.map((column) => (
            <Control
              key={column.name}
              field={column}
              value={row[column.name] ?? ""}
              onChange={(to) => put(index, column.name, to)}
            />
          ))}
          <Button
            tone="quiet"
            icon="minus"
            label={t("dropRow", { n: index + 1 })}
            off={rows.length <= (field.min ?? 1) ? t("required") : undefined}
            onClick={() => onChange(rows.filter((_, at) => at !== index))}
          />
        </div>
      ))}
      {fault && <p class="fault">{fault}</p>}
      {rows.length < (field.max ?? 20) && (
        <Button icon="plus" onClick={() => onChange([...rows, beginning(columns)])}>
          {t("addRow")}
        </Button>
      )}
    </fieldset>
  );
}
