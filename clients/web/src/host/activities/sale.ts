/** Flash sales: armed, started, stopped, with units that can be added. */

import { count } from "../../shared/format";
import type { Sheet } from "../forms/fields";
import { all } from "../room";
import { type Pair, say } from "../say";
import type { Item } from "../shapes";
import { type Action, type Activity, amount } from "./card";

interface StockState {
  sale: string;
  sku: string;
  price: number;
  list_price: number;
  total: number;
  available: number;
  reserved: number;
  sold: number;
  per_user: number;
  status: "armed" | "running" | "sold_out" | "ended";
  starts_ms: number;
  ends_ms: number;
}

/** What a SKU is called on the shelf. */
export function titleOf(sku: string): string {
  for (const item of all<Item>("item")) {
    const found = item.skus.find((other) => other.sku === sku);
    if (found) return [item.title, found.title].filter(Boolean).join(" · ");
  }
  return sku;
}

function terms(d: Record<string, unknown>): string[] {
  return [
    say(["{what} for {price}", "{what},秒杀价 {price}"], {
      what: titleOf(String(d.sku)),
      price: amount(d.price),
    }),
    say(["{n} units, at most {m} for each viewer", "{n} 件,每人限购 {m} 件"], {
      n: count(Number(d.total)),
      m: Number(d.per_user),
    }),
    say(["Worth {sum} if all are sold", "全部售出共 {sum}"], {
      sum: amount(Number(d.total) * Number(d.price)),
    }),
  ];
}

export const FLASH: Sheet = {
  name: "flash",
  title: ["Flash sale", "秒杀"],
  submit: ["Arm", "就位"],
  op: "flash.arm",
  role: "host",
  id: "sale",
  fields: [
    { name: "sku", label: ["What", "商品"], kind: "sku" },
    { name: "price", label: ["Price", "秒杀价"], kind: "money", min: 1, half: true },
    { name: "total", label: ["Units", "数量"], kind: "whole", min: 1, max: 1_000_000, half: true },
    { name: "per_user", label: ["Per viewer", "每人限购"], kind: "whole", min: 1, max: 100, start: "1", half: true },
    {
      name: "hold_s",
      label: ["To pay within", "支付时限"],
      unit: ["s", "秒"],
      kind: "whole",
      min: 30,
      max: 3600,
      start: "300",
      half: true,
    },
    {
      name: "run_s",
      label: ["Lasts", "时长"],
      unit: ["s", "秒"],
      kind: "whole",
      max: 86_400,
      start: "600",
      half: true,
      help: ["0: until you stop it", "0 表示手动结束"],
    },
    {
      name: "starts_in_s",
      label: ["Starts in", "倒计时"],
      unit: ["s", "秒"],
      kind: "whole",
      max: 86_400,
      optional: true,
      half: true,
      help: ["Empty: when you say so", "留空表示手动开始"],
    },
  ],
  confirm: (d) =>
    d.starts_in_s === undefined
      ? undefined
      : [...terms(d), say(["It starts by itself in {n} s", "{n} 秒后自动开始"], { n: Number(d.starts_in_s) })],
};

const UNITS: Sheet = {
  name: "units",
  title: ["Units of the sale", "秒杀数量"],
  submit: ["Save", "保存"],
  op: "flash.stock",
  role: "host",
  fields: [
    { name: "sku", label: ["What", "商品"], kind: "sku" },
    { name: "total", label: ["Units in all", "总数量"], kind: "whole", max: 1_000_000 },
  ],
  confirm: (d) => [
    say(["{what}: {n} units in all", "{what}:共 {n} 件"], {
      what: titleOf(String(d.sku)),
      n: count(Number(d.total)),
    }),
  ],
};

function actions(s: StockState): Action[] {
  if (s.status === "ended") return [];
  const name = titleOf(s.sku);
  const start: Action = {
    label: ["Start now", "立即开抢"],
    op: "flash.start",
    d: { sku: s.sku },
    role: "host",
    tone: "main",
    icon: "play",
    confirm: {
      title: say(["Start the flash sale", "开始秒杀"]),
      facts: terms({ ...s }),
      go: say(["Start", "开抢"]),
    },
  };
  const stop: Action = {
    label: ["Stop", "停止"],
    op: "flash.stop",
    d: { sku: s.sku },
    role: "host",
    tone: "danger",
    icon: "stop",
    confirm: {
      title: say(["Stop the flash sale of {name}", "停止 {name} 的秒杀"], { name }),
      facts: [
        say(["{n} units are sold, {m} are held and may still be paid", "已售 {n} 件,{m} 件待支付(仍可支付)"], {
          n: s.sold,
          m: s.reserved,
        }),
        say(["{n} units go back to the shelf", "{n} 件退回货架"], { n: s.available }),
      ],
      go: say(["Stop", "停止"]),
    },
  };
  const more: Action = {
    label: ["Units", "改数量"],
    op: "flash.stock",
    d: {},
    role: "host",
    icon: "plus",
    sees: `stock:${s.sku}`,
    sheet: { sheet: UNITS, given: { sku: s.sku, total: String(s.total) }, fixed: ["sku"] },
  };
  return s.status === "armed" ? [start, more, stop] : [more, stop];
}

const STATUS: Record<StockState["status"], Pair> = {
  armed: ["armed", "待开始"],
  running: ["running", "抢购中"],
  sold_out: ["sold out", "已售罄"],
  ended: ["over", "已结束"],
};
const TONES = { armed: "wait", running: "live", sold_out: "wait", ended: "over" } as const;

export const sale: Activity<StockState> = {
  name: "flash",
  label: ["Flash sale", "秒杀"],
  icon: "flash",
  sheets: [FLASH],
  prefix: "stock",
  view: (s) => ({
    title: titleOf(s.sku),
    status: STATUS[s.status],
    tone: TONES[s.status],
    ends: s.status === "armed" ? 0 : s.ends_ms,
    ...(s.status === "armed" && s.starts_ms ? { starts: s.starts_ms } : {}),
    figures: [
      [["Price", "价格"], amount(s.price)],
      [["Sold", "已售"], count(s.sold)],
      [["Held", "待支付"], count(s.reserved)],
      [["Left", "剩余"], count(s.available)],
      [["Taken in", "成交额"], amount(s.sold * s.price)],
    ],
    meter: { part: s.sold + s.reserved, whole: s.total, label: ["sold or held", "已售与待支付"] },
    actions: actions(s),
  }),
};
