/** The shelf: what is for sale, in which order, what is explained now. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { look, run } from "../act";
import { FLASH } from "../activities/sale";
import { ITEM, valuesOf } from "../activities/setup";
import { Button } from "../button";
import { openSheet } from "../forms/sheet";
import { Icon } from "../icon";
import { atLeast, state, version } from "../room";
import type { Item, ShelfState, Sku } from "../shapes";
import { cash } from "../shown";
import { t } from "../texts";
import { done, later } from "../toasts";

interface Counts {
  item: string;
  clicks: number;
  carts: number;
}

const counts = signal<ReadonlyMap<string, Counts>>(new Map());
const dragged = signal<string | undefined>(undefined);
const leaving = signal<ReadonlySet<string>>(new Set());

/** The panel. */
export function Shelf() {
  const shelf = shown();
  useEffect(() => {
    void readCounts();
    const timer = setInterval(() => void readCounts(), 10_000);
    return () => clearInterval(timer);
  }, []);
  return (
    <section class="panel shelf" aria-labelledby="shelf">
      <header>
        <h2 id="shelf">{t("shelf")}</h2>
        <Button icon="plus" role="host" onClick={() => openSheet({ sheet: ITEM, title: t("addItem") })}>
          {t("addItem")}
        </Button>
      </header>
      {shelf.items.length === 0 && <p class="empty">{t("emptyShelf")}</p>}
      <ol class="items">
        {shelf.items.map((id, at) => (
          <Row key={id} id={id} at={at} shelf={shelf} />
        ))}
      </ol>
    </section>
  );
}

async function readCounts(): Promise<void> {
  const found = await look<{ items: Counts[] }>("shelf", "shelf.stats");
  if (found) counts.value = new Map(found.items.map((row) => [row.item, row]));
}

function shown(): ShelfState {
  return state<ShelfState>("shelf").value ?? { items: [], pinned: null };
}

/** Put an item to another place; `to` is told the one that it has when the order's turn has come. */
function move(id: string, to: (at: number) => number): void {
  const d = (): object => {
    const before = shown().items;
    const items = before.filter((other) => other !== id);
    items.splice(Math.max(0, to(before.indexOf(id))), 0, id);
    return { items };
  };
  void run({ op: "shelf.order", d, sees: "shelf", name: t("shelf") });
}

function Row({ id, at, shelf }: { id: string; at: number; shelf: ShelfState }) {
  const item = state<Item>(`item:${id}`).value;
  if (!item || leaving.value.has(id)) return null;
  const { title } = item;
  const pinned = shelf.pinned === id;
  const drop = (event: Event): void => {
    event.preventDefault();
    if (dragged.value && dragged.value !== id) move(dragged.value, () => at);
    dragged.value = undefined;
  };
  return (
    <li
      class={`item${pinned ? " pinned" : ""}${dragged.value === id ? " dragged" : ""}`}
      data-item={id}
      draggable={atLeast("assistant")}
      onDragStart={() => (dragged.value = id)}
      onDragEnd={() => (dragged.value = undefined)}
      onDragOver={(event) => dragged.value && event.preventDefault()}
      onDrop={drop}
    >
      <span class="grip">
        <Icon name="grip" />
      </span>
      <div class="about">
        <h3>
          {title}
          {item.label && <span class="chip">{item.label}</span>}
          {pinned && <span class="chip now">{t("explaining")}</span>}
        </h3>
        <Clicks id={id} />
      </div>
      <ul class="skus">
        {item.skus.map((sku) => (
          <SkuRow key={sku.sku} item={item} sku={sku} />
        ))}
      </ul>
      <div class="deeds">
        <Button icon="pin" role="assistant" op="shelf.pin" pressed={pinned} onClick={() => void pin(pinned ? null : id, shelf.pinned)}>
          {pinned ? t("unpin") : t("pin")}
        </Button>
        <Button tone="quiet" icon="up" role="assistant" label={t("up", { what: title })} off={at === 0 ? "↑" : undefined} onClick={() => move(id, (now) => now - 1)} />
        <Button tone="quiet" icon="down" role="assistant" label={t("down", { what: title })} off={at === shelf.items.length - 1 ? "↓" : undefined} onClick={() => move(id, (now) => now + 1)} />
        <Button tone="quiet" icon="edit" role="host" label={t("editItem", { what: title })} onClick={() => edit(item)} />
        <Button tone="quiet" icon="close" role="host" label={`${t("remove")} ${title}`} onClick={() => remove(item)} />
      </div>
    </li>
  );
}

function Clicks({ id }: { id: string }) {
  const row = counts.value.get(id);
  return row ? <p class="counts">{t("clicks", { n: row.clicks, m: row.carts })}</p> : null;
}

function SkuRow({ item, sku }: { item: Item; sku: Sku }) {
  const name = [item.title, sku.title].filter(Boolean).join(" · ");
  const put = (text: string): void => {
    const stock = Number(text);
    if (!/^\d{1,9}$/.test(text) || stock === sku.stock) return;
    void run({ op: "shelf.stock", d: { sku: sku.sku, stock }, sees: `item:${item.item}`, name: t("stockOf", { what: name }) });
  };
  const flash = (): void => openSheet({ sheet: FLASH, given: { sku: sku.sku } });
  return (
    <li class="sku">
      <span class="name">{sku.title || sku.sku}</span>
      <span class="price">{cash(sku.price, item.currency)}</span>
      {sku.stock !== undefined && (
        <label>
          {t("stock")}
          <input
            key={sku.stock}
            type="text"
            inputMode="numeric"
            aria-label={t("stockOf", { what: name })}
            defaultValue={String(sku.stock)}
            readOnly={!atLeast("assistant")}
            onChange={(event) => put(event.currentTarget.value.trim())}
          />
        </label>
      )}
      <Button tone="quiet" icon="flash" role="host" label={`${t("flash")}: ${name}`} onClick={flash} />
    </li>
  );
}

async function pin(item: string | null, before: string | null): Promise<void> {
  const wants = { pinned: item };
  const answer = await run({ op: "shelf.pin", d: { item }, sees: "shelf", name: t("explaining"), wants });
  if (!answer) return;
  const title = item && state<Item>(`item:${item}`).value?.title;
  const back = (): void => void run({ op: "shelf.pin", d: { item: before }, changes: "shelf" });
  done(title ? t("pinned", { what: title }) : t("unpinned"), back);
}

function edit(item: Item): void {
  const sees = `item:${item.item}`;
  openSheet({ sheet: ITEM, given: valuesOf(item), sees, seen: version(sees), fixed: ["item"], title: t("editItem", { what: item.title }) });
}

function remove(item: Item): void {
  const show = (there: boolean): void => {
    const rest = [...leaving.value].filter((id) => id !== item.item);
    leaving.value = new Set(there ? rest : [...rest, item.item]);
  };
  show(false);
  const act = async (): Promise<void> => {
    await run({ op: "shelf.remove", d: { item: item.item }, changes: "shelf" });
    show(true);
  };
  later(t("removing", { what: item.title }), () => void act(), () => show(true));
}
