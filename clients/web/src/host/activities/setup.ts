/** Forms for the room itself and for what stands on its shelf. */

import { freshId } from "../act";
import { type Field, major, type Sheet, type Values } from "../forms/fields";
import type { Item, RoomState, Sku } from "../shapes";

const FACE: readonly Field[] = [
  { name: "title", label: ["Title", "标题"], kind: "text", max: 100 },
  {
    name: "cover",
    label: ["Cover picture", "封面图片"],
    kind: "link",
    max: 500,
    optional: true,
    clears: true,
    help: ["An address with https://", "https:// 图片地址"],
  },
  {
    name: "stream",
    label: ["Video stream", "直播流"],
    kind: "link",
    pattern: "^https://[!-~]+$",
    max: 500,
    optional: true,
    clears: true,
    help: ["An address with https:// that viewers' pages play", "观众端播放的 https:// 地址"],
  },
  {
    name: "tags",
    label: ["Tags, one a line", "标签,每行一个"],
    kind: "lines",
    max: 10,
    each: 32,
    optional: true,
    clears: true,
  },
];

export const OPEN: Sheet = {
  name: "open",
  title: ["Go live", "开播"],
  submit: ["Go live", "开播"],
  op: "room.open",
  role: "host",
  fields: FACE,
};

export const UPDATE: Sheet = {
  name: "update",
  title: ["Title and cover", "标题与封面"],
  submit: ["Save", "保存"],
  op: "room.update",
  partial: true,
  role: "host",
  fields: FACE,
};

/** What the room's form begins with. */
export function faceOf(room: RoomState | undefined): Values {
  return { title: room?.title ?? "", cover: room?.cover ?? "", stream: room?.stream ?? "", tags: (room?.tags ?? []).join("\n") };
}

const NAME = "^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$";

export const ITEM: Sheet = {
  name: "item",
  title: ["Item on the shelf", "货架商品"],
  submit: ["Save", "保存"],
  op: "shelf.put",
  role: "host",
  fields: [
    { name: "title", label: ["Title", "名称"], kind: "text", max: 100 },
    {
      name: "item",
      label: ["Name for systems", "商品编号"],
      kind: "text",
      max: 32,
      half: true,
      optional: true,
      pattern: NAME,
      help: ["Empty: one is made", "留空自动生成"],
    },
    {
      name: "currency",
      label: ["Currency", "币种"],
      kind: "text",
      max: 3,
      start: "CNY",
      half: true,
      pattern: "^[A-Z]{3}$",
      help: ["Three letters, such as CNY", "三位字母,如 CNY"],
    },
    {
      name: "skus",
      label: ["Variants", "规格"],
      kind: "rows",
      max: 50,
      columns: [
        { name: "sku", label: ["SKU", "SKU"], kind: "text", max: 32, optional: true, pattern: NAME },
        { name: "title", label: ["Variant", "规格"], kind: "text", max: 60, optional: true },
        { name: "price", label: ["Price", "价格"], kind: "money", min: 1 },
        { name: "stock", label: ["Stock", "库存"], kind: "whole", max: 1_000_000_000, optional: true },
      ],
    },
    { name: "label", label: ["Label", "角标"], kind: "text", max: 20, optional: true, half: true },
    { name: "image", label: ["Picture", "图片"], kind: "link", max: 500, optional: true, half: true },
    { name: "link", label: ["Where it is bought", "购买链接"], kind: "link", max: 500, optional: true },
  ],
  body: named,
};

/** Give names to what has none; the shop finds its goods by them. */
function named(d: Record<string, unknown>): Record<string, unknown> {
  const item = String(d.item ?? freshId("item"));
  const skus = (d.skus as Partial<Sku>[]).map((sku, at) => ({ sku: `${item}-${at + 1}`, ...sku }));
  return { ...d, item, skus };
}

/** What an item's form begins with. */
export function valuesOf(item: Item): Values {
  const { title, label = "", image = "", link = "", currency } = item;
  return { item: item.item, title, label, image, link, currency, skus: item.skus.map(rowOf) };
}

function rowOf({ sku, title = "", price, stock }: Sku): Values {
  return { sku, title, price: major(price), stock: stock === undefined ? "" : String(stock) };
}
