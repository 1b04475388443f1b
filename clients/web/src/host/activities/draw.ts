/** Draws of prizes. */

import { count } from "../../shared/format";
import type { Sheet, Values } from "../forms/fields";
import { type Pair, say } from "../say";
import { type Action, type Activity, amount } from "./card";

interface LotteryState {
  lottery: string;
  title: string;
  prizes: { prize: string; title: string; n: number; value?: number }[];
  status: "open" | "frozen" | "drawn" | "settled" | "cancelled";
  entrants: number;
  ends_ms?: number;
  of?: number;
  claim_by_ms?: number;
}

type Prizes = LotteryState["prizes"];

const LOTTERY: Sheet = {
  name: "lottery",
  title: ["Lottery", "抽奖"],
  op: "lottery.open",
  role: "host",
  id: "lottery",
  fields: [
    { name: "title", label: ["Title", "标题"], kind: "text", max: 100 },
    {
      name: "prizes",
      label: ["Prizes", "奖品"],
      kind: "rows",
      max: 20,
      columns: [
        { name: "title", label: ["Prize", "奖品"], kind: "text", max: 60 },
        { name: "n", label: ["How many", "份数"], kind: "whole", min: 1, max: 10_000, start: "1" },
        { name: "value", label: ["Worth", "单价"], kind: "money", max: 5_000_000, optional: true },
      ],
    },
    {
      name: "seconds",
      label: ["Takes entries for", "报名时长"],
      unit: ["s", "秒"],
      kind: "whole",
      max: 3600,
      start: "120",
      half: true,
      help: ["10 to 3600; 0: until you draw", "10 至 3600;0 表示手动开奖"],
    },
    {
      name: "claim_h",
      label: ["To be claimed within", "领奖时限"],
      unit: ["h", "小时"],
      kind: "whole",
      min: 1,
      max: 168,
      start: "48",
      half: true,
    },
    { name: "conditions.danmaku", label: ["Must have said", "需发送口令"], kind: "text", max: 32, optional: true, half: true },
    { name: "conditions.likes", label: ["Likes, at least", "点赞不少于"], kind: "whole", min: 1, max: 100_000, optional: true, half: true },
    { name: "conditions.watch_s", label: ["Watched, at least", "观看不少于"], unit: ["s", "秒"], kind: "whole", min: 1, max: 3600, optional: true, half: true },
    { name: "conditions.level", label: ["Level, at least", "等级不低于"], kind: "whole", min: 1, max: 1000, optional: true, half: true },
    { name: "follow", label: ["Must follow the room", "需关注直播间"], kind: "flag", half: true },
    { name: "bought", label: ["Must have bought", "需购买商品"], kind: "flag", half: true },
    { name: "once", label: ["Not who won before", "排除往期中奖者"], kind: "flag", half: true },
  ],
  body: bodyOf,
  confirm: (d) => [
    ...facts(d.prizes as Prizes),
    say(["Rules and prizes cannot be changed once it is open", "开始后规则与奖品不可更改"]),
  ],
};

function bodyOf(found: Record<string, unknown>, values: Values): Record<string, unknown> {
  const { claim_h, follow: _follow, bought: _bought, once: _once, ...d } = found;
  const conditions = {
    ...(d.conditions as object | undefined),
    ...(values.follow ? { follow: true } : {}),
    ...(values.bought ? { bought: true } : {}),
  };
  const prizes = (d.prizes as Prizes).map((prize, at) => ({ ...prize, prize: `p${at + 1}` }));
  const exclude = { staff: true, winners: values.once ? "room" : "none" };
  return { ...d, prizes, conditions, exclude, claim_s: Number(claim_h) * 3600 };
}

function facts(prizes: Prizes): string[] {
  return prizes.map(({ title, n, value }) =>
    value === undefined ? `${count(n)} × ${title}` : `${count(n)} × ${title} (${amount(value)})`,
  );
}

function actions(s: LotteryState): Action[] {
  const d = { lottery: s.lottery };
  if (s.status === "drawn" || s.status === "settled") {
    return [{ label: ["Winners", "中奖名单"], op: "lottery.winners", d, role: "host", shows: "winners" }];
  }
  if (s.status === "cancelled") return [];
  const entered = say(["{n} viewers have entered", "已有 {n} 人参与"], { n: count(s.entrants) });
  const cancel: Action = {
    label: ["Cancel", "取消抽奖"],
    op: "lottery.cancel",
    d,
    role: "host",
    tone: "danger",
    icon: "close",
    confirm: {
      title: say(["Cancel the draw “{title}”", "取消抽奖“{title}”"], { title: s.title }),
      facts: [entered, say(["Nobody wins, and everybody is told", "无人中奖,所有观众会看到取消"])],
      go: say(["Cancel the draw", "取消抽奖"]),
    },
  };
  if (s.status !== "open" || s.ends_ms) return [cancel];
  const freeze: Action = {
    label: ["Draw now", "立即开奖"],
    op: "lottery.freeze",
    d,
    role: "host",
    tone: "main",
    icon: "check",
    confirm: {
      title: say(["Draw “{title}” now", "立即开奖“{title}”"], { title: s.title }),
      facts: [entered, ...facts(s.prizes)],
      go: say(["Draw", "开奖"]),
    },
  };
  return [freeze, cancel];
}

const STATUS: Record<LotteryState["status"], Pair> = {
  open: ["open", "报名中"],
  frozen: ["drawing", "开奖中"],
  drawn: ["drawn", "已开奖"],
  settled: ["all claimed", "已领完"],
  cancelled: ["cancelled", "已取消"],
};
const TONES = { open: "live", frozen: "wait", drawn: "over", settled: "over", cancelled: "bad" } as const;

export const draw: Activity<LotteryState> = {
  name: "lottery",
  label: ["Lottery", "抽奖"],
  icon: "lottery",
  sheets: [LOTTERY],
  prefix: "lottery",
  view: (s) => ({
    title: s.title,
    status: STATUS[s.status],
    tone: TONES[s.status],
    ends: s.status === "open" ? (s.ends_ms ?? 0) : 0,
    figures: [
      [["Entrants", "参与人数"], count(s.entrants)],
      [["Prizes", "奖品"], facts(s.prizes).join(", ")],
      ...(s.of === undefined ? [] : [[["Winners", "中奖"], count(s.of)] as const]),
    ],
    actions: actions(s),
  }),
};
