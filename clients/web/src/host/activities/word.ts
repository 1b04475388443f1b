/** What the desk says to everybody: the notice, and the name of the segment that runs. */

import type { Sheet } from "../forms/fields";
import type { Activity } from "./card";

interface NoticeState {
  text: string;
  level: "info" | "warn";
  until_ms: number;
}

const NOTICE: Sheet = {
  name: "notice",
  title: ["Notice", "公告"],
  submit: ["Show", "发布"],
  op: "notice.set",
  role: "moderator",
  fields: [
    { name: "text", label: ["Text", "内容"], kind: "area", max: 200 },
    {
      name: "level",
      label: ["Kind", "级别"],
      kind: "choice",
      half: true,
      choices: [
        ["info", ["information", "普通"]],
        ["warn", ["warning", "提醒"]],
      ],
    },
    {
      name: "seconds",
      label: ["Stays for", "显示时长"],
      unit: ["s", "秒"],
      kind: "whole",
      min: 1,
      max: 86_400,
      optional: true,
      half: true,
      help: ["Empty: until it is replaced", "留空表示一直显示"],
    },
  ],
};

export const notice: Activity<NoticeState> = {
  name: "notice",
  label: ["Notice", "公告"],
  icon: "notice",
  sheets: [NOTICE],
  prefix: "notice",
  view: (s) => ({
    title: s.text,
    status: s.level === "warn" ? ["warning", "提醒"] : ["shown", "显示中"],
    tone: "live",
    ends: s.until_ms,
    figures: [],
    actions: [
      {
        label: ["Change", "修改"],
        op: "notice.set",
        d: {},
        role: "moderator",
        icon: "edit",
        sees: "notice",
        sheet: { sheet: NOTICE, given: { text: s.text, level: s.level, seconds: "60" } },
      },
      {
        label: ["Remove", "撤下"],
        op: "notice.set",
        d: { text: "" },
        role: "moderator",
        icon: "close",
        sees: "notice",
      },
    ],
  }),
};

const SEGMENT: Sheet = {
  name: "segment",
  title: ["Segment", "直播环节"],
  submit: ["Mark", "标记"],
  op: "segment.mark",
  role: "host",
  fields: [
    {
      name: "name",
      label: ["Name", "名称"],
      kind: "text",
      max: 64,
      help: ["Figures are counted by segment from now on.", "此后的数据将按环节统计。"],
    },
  ],
};

export const segment: Activity = {
  name: "segment",
  label: ["Segment", "环节"],
  icon: "segment",
  feature: "counters",
  sheets: [SEGMENT],
};
