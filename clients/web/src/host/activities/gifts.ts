/** What is given away: coupons, rains of them, red packets. */

import { count } from "../../shared/format";
import type { Field, Sheet, Values } from "../forms/fields";
import { type Pair, say } from "../say";
import { type Activity, amount } from "./card";

interface DropState {
  drop: string;
  title: string;
  quota: number;
  left: number;
  claimed: number;
  kind: "amount" | "percent";
  value: number;
  starts_ms: number;
  ends_ms: number;
  status: "planned" | "running" | "sold_out" | "ended";
}

const AMOUNT = (values: Values): boolean => values.kind !== "percent";

const TERMS: readonly Field[] = [
  { name: "title", label: ["Title", "名称"], kind: "text", max: 100 },
  {
    name: "kind",
    label: ["Kind", "类型"],
    kind: "choice",
    half: true,
    choices: [
      ["amount", ["an amount off", "满减"]],
      ["percent", ["percent off", "折扣百分比"]],
    ],
  },
  { name: "value", label: ["Amount off", "减免金额"], kind: "money", min: 1, half: true, when: AMOUNT },
  {
    name: "percent",
    label: ["Percent off", "减免比例"],
    unit: ["%", "%"],
    kind: "whole",
    min: 1,
    max: 99,
    half: true,
    when: (values) => !AMOUNT(values),
  },
  { name: "min_spend", label: ["From a spend of", "使用门槛"], kind: "money", min: 1, optional: true, half: true },
  { name: "quota", label: ["How many", "数量"], kind: "whole", min: 1, max: 1_000_000, half: true },
  { name: "per_user", label: ["Per viewer", "每人限领"], kind: "whole", min: 1, max: 10, start: "1", half: true },
  { name: "valid_h", label: ["Valid for", "有效期"], unit: ["h", "小时"], kind: "whole", min: 1, max: 8784, start: "24", half: true },
];

const CLAIM: Field = {
  name: "seconds",
  label: ["To be claimed for", "领取时长"],
  unit: ["s", "秒"],
  kind: "whole",
  max: 3600,
  start: "300",
  half: true,
  help: ["0: until you stop it", "0 表示手动结束"],
};

function worth(d: Record<string, unknown>): string {
  return d.kind === "percent"
    ? say(["{n} % off", "减 {n}%"], { n: Number(d.value) })
    : say(["{sum} off", "减 {sum}"], { sum: amount(d.value) });
}

function bodyOf({ percent, valid_h, ...d }: Record<string, unknown>): Record<string, unknown> {
  return { ...d, valid_s: Number(valid_h) * 3600, ...(percent === undefined ? {} : { value: percent }) };
}

function factsOf(d: Record<string, unknown>): string[] {
  const quota = Number(d.quota) * Number(d.drops ?? 1);
  const most = d.kind === "percent" ? [] : [Number(d.value) * quota];
  return [
    say(["{n} coupons “{title}”: {worth}", "{n} 张优惠券“{title}”:{worth}"], {
      n: count(quota),
      title: String(d.title),
      worth: worth(d),
    }),
    ...most.map((sum) =>
      say(["Up to {sum} in discounts", "优惠总额最多 {sum}"], { sum: amount(sum) }),
    ),
    say(["What is claimed stays claimed", "已领取的优惠券不会收回"]),
  ];
}

const DROP: Sheet = {
  name: "coupon",
  title: ["Coupons", "发优惠券"],
  submit: ["Drop", "发放"],
  op: "coupon.drop",
  role: "host",
  id: "drop",
  fields: [...TERMS, CLAIM, { name: "conditions.follow", label: ["For followers alone", "仅限粉丝"], kind: "flag", half: true }],
  body: (d) => bodyOf(d),
  confirm: factsOf,
};

const RAIN: Sheet = {
  name: "rain",
  title: ["Coupon rain", "优惠券雨"],
  submit: ["Let it rain", "开始"],
  op: "coupon.rain",
  role: "host",
  id: "rain",
  fields: [
    ...TERMS,
    { name: "drops", label: ["Drops", "场次"], kind: "whole", min: 2, max: 50, start: "5", half: true },
    { name: "over_s", label: ["Over", "持续"], unit: ["s", "秒"], kind: "whole", min: 1, max: 600, start: "60", half: true },
  ],
  body: (d) => ({ ...bodyOf(d), seconds: 30 }),
  confirm: factsOf,
};

const DROPPED: Record<DropState["status"], Pair> = {
  planned: ["planned", "待开始"],
  running: ["running", "发放中"],
  sold_out: ["all claimed", "已领完"],
  ended: ["over", "已结束"],
};
const TONES = { planned: "wait", running: "live", sold_out: "over", ended: "over" } as const;

export const coupon: Activity<DropState> = {
  name: "coupon",
  label: ["Coupon", "优惠券"],
  icon: "coupon",
  feature: "coupon",
  sheets: [DROP, RAIN],
  prefix: "coupon",
  view: (s) => ({
    title: s.title,
    status: DROPPED[s.status],
    tone: TONES[s.status],
    ends: s.status === "running" ? s.ends_ms : 0,
    ...(s.status === "planned" ? { starts: s.starts_ms } : {}),
    figures: [
      [["Each", "面额"], worth({ ...s })],
      [["Claimed", "已领"], count(s.claimed)],
      [["Left", "剩余"], count(s.left)],
    ],
    meter: { part: s.claimed, whole: s.quota, label: ["claimed", "已领取"] },
    actions:
      s.status === "running" || s.status === "planned"
        ? [{ label: ["Stop", "停止"], op: "coupon.stop", d: { drop: s.drop }, role: "host", tone: "danger", icon: "stop", confirm: stopping(s) }]
        : [],
  }),
};

function stopping(s: DropState) {
  return {
    title: say(["Stop the drop “{title}”", "停止发放“{title}”"], { title: s.title }),
    facts: [
      say(["{n} of {of} coupons are claimed and stay valid", "{of} 张中已领 {n} 张,仍然有效"], {
        n: count(s.claimed),
        of: count(s.quota),
      }),
    ],
    go: say(["Stop", "停止"]),
  };
}

interface PacketState {
  packet: string;
  user: { name: string };
  total: number;
  shares: number;
  left: number;
  status: "countdown" | "open" | "done";
  starts_ms: number;
  ends_ms: number;
  grabbed?: number;
  refunded?: number;
}

const PACKET: Sheet = {
  name: "redpacket",
  title: ["Red packet", "红包"],
  submit: ["Send", "发出"],
  op: "redpacket.send",
  role: "assistant",
  id: "packet",
  fields: [
    { name: "total", label: ["Amount in all", "总金额"], kind: "money", min: 1, max: 2_000_000, half: true },
    { name: "shares", label: ["Shares", "个数"], kind: "whole", min: 1, max: 2000, start: "20", half: true },
    {
      name: "split",
      label: ["Split", "分配方式"],
      kind: "choice",
      half: true,
      choices: [
        ["random", ["at random", "拼手气"]],
        ["equal", ["equally", "均分"]],
      ],
    },
    { name: "seconds", label: ["Open for", "时长"], unit: ["s", "秒"], kind: "whole", min: 10, max: 600, start: "180", half: true },
    { name: "countdown_s", label: ["Countdown", "倒计时"], unit: ["s", "秒"], kind: "whole", max: 60, start: "10", half: true },
  ],
  confirm: (d) => [
    say(["{sum} leaves your wallet at once", "立即从你的钱包扣除 {sum}"], { sum: amount(d.total) }),
    say(["{n} shares, {how}", "{n} 个,{how}"], {
      n: count(Number(d.shares)),
      how: say(d.split === "equal" ? ["all alike", "均分"] : ["at random", "拼手气"]),
    }),
    say(["What nobody takes comes back after {n} s", "{n} 秒后未领取的退回"], { n: Number(d.seconds) + Number(d.countdown_s) }),
  ],
};

export const redpacket: Activity<PacketState> = {
  name: "redpacket",
  label: ["Red packet", "红包"],
  icon: "redpacket",
  feature: "redpacket",
  sheets: [PACKET],
  prefix: "redpacket",
  view: (s) => ({
    title: say(["{sum} from {name}", "{name} 的 {sum} 红包"], { sum: amount(s.total), name: s.user.name }),
    status: s.status === "done" ? ["over", "已结束"] : s.status === "open" ? ["open", "可领取"] : ["countdown", "倒计时"],
    tone: s.status === "done" ? "over" : s.status === "open" ? "live" : "wait",
    ends: s.status === "open" ? s.ends_ms : 0,
    ...(s.status === "countdown" ? { starts: s.starts_ms } : {}),
    figures: [
      [["Shares", "个数"], count(s.shares)],
      [["Left", "剩余"], count(s.left)],
      ...(s.refunded === undefined ? [] : [[["Came back", "退回"], amount(s.refunded)] as const]),
    ],
    meter: { part: s.shares - s.left, whole: s.shares, label: ["taken", "已领"] },
    actions: [],
  }),
};
