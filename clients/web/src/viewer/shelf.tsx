/** The shelf: what is for sale, in the host's order, the explained item first to the eye. */

import { useSignal } from "@preact/signals";
import { count, money } from "../shared/format";
import { cart, look } from "./acts";
import { open } from "./cards/card";
import { Icon } from "./icons";
import { httpsOnly } from "./links";
import { goods, pinned, sales, shelf } from "./room";
import { sheet } from "./sheet";
import { t } from "./texts";
import type { Item, Sku, Stock } from "./wire";

export function Shelf() {
  if (!goods.value.length) return <p class="quiet empty">{t("emptyShelf")}</p>;
  return (
    <ul class="goods">
      {goods.value.map((item) => <Good key={item.item} item={item} explained={item.item === shelf.value?.pinned} />)}
    </ul>
  );
}

function Good({ item, explained }: { item: Item; explained: boolean }) {
  const link = httpsOnly(item.link);
  return (
    <li class={`product ${explained ? "explained" : ""}`} data-item={item.item}>
      <Picture item={item} />
      <div class="product-main">
        {explained && <p class="now"><i class="pulse" />{t("explaining")}</p>}
        <h3><bdi>{item.title}</bdi>{item.label && <span class="tag">{item.label}</span>}</h3>
        <ul class="skus">{item.skus.map((sku) => <Unit key={sku.sku} item={item} sku={sku} />)}</ul>
        {link && (
          <a class="small" href={link} target="_blank" rel="noopener noreferrer" onClick={() => look(item.item)}>
            {t("details")} <Icon name="link" /><span class="hidden">: {item.title}</span>
          </a>
        )}
      </div>
    </li>
  );
}

function Unit({ item, sku }: { item: Item; sku: Sku }) {
  const sale = saleOf(sku);
  const out = sku.stock === 0;
  return (
    <li class="sku">
      <span class="sku-name"><bdi>{sku.title ?? ""}</bdi>{sku.stock !== undefined && <small class={out ? "out" : ""}>{out ? t("noStock") : t("inStock", { n: count(sku.stock) })}</small>}</span>
      <span class="sku-side">
        <b class="num">{money(sale?.price ?? sku.price, item.currency)}</b>
        {sale
          ? <button type="button" class="small hot" onClick={() => toSale(`stock:${sale.sku}:${sale.sale}`)}><Icon name="bolt" filled /> {t("deal")}<span class="hidden">: {item.title} {sku.title}</span></button>
          : <button type="button" class="small" disabled={out} onClick={() => void cart(item.item, sku.sku)}>{t("addCart")}<span class="hidden">: {item.title} {sku.title}</span></button>}
      </span>
    </li>
  );
}

const saleOf = (sku: Sku): Stock | undefined =>
  sales.value.find((one) => one.sku === sku.sku && (one.status === "running" || one.status === "sold_out"));

function toSale(id: string): void {
  sheet.value = undefined;
  open(id);
}

/** The picture, if it may be loaded and is one; else the first letter. */
function Picture({ item }: { item: Item }) {
  const broken = useSignal("");
  const source = httpsOnly(item.image);
  if (!source || broken.value === source) {
    return <span class="picture letter" aria-hidden="true">{[...item.title][0] ?? ""}</span>;
  }
  return <img class="picture" src={source} alt="" loading="lazy" referrerpolicy="no-referrer" onError={() => { broken.value = source; }} />;
}

/** The explained item, small, beside the chat: for screens without the panel. */
export function Explained() {
  const item = pinned.value;
  if (!item) return null;
  const inStock = item.skus.filter((sku) => sku.stock !== 0);
  const prices = (inStock.length ? inStock : item.skus).map((sku) => saleOf(sku)?.price ?? sku.price);
  return (
    <button type="button" class="explained-mini" onClick={() => { look(item.item); sheet.value = "shelf"; }}>
      <Picture item={item} />
      <span class="now"><i class="pulse" />{t("explaining")}</span>
      <bdi>{item.title}</bdi>
      {prices.length > 0 && <b class="num">{money(Math.min(...prices), item.currency)}</b>}
    </button>
  );
}
