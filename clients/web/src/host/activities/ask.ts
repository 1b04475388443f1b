/** Polls, quizzes and riddles. */

import { count } from "../../shared/format";
import type { Field, Sheet, Values } from "../forms/fields";
import { say } from "../say";
import { type Activity, amount, type Bar } from "./card";

interface PollState {
  poll: string;
  title: string;
  options: string[];
  hidden: boolean;
  status: "open" | "closed";
  ends_ms: number;
  voters: number;
  tally?: number[];
}

const POLL: Sheet = {
  name: "poll",
  title: ["Poll", "投票"],
  op: "poll.open",
  role: "host",
  id: "poll",
  fields: [
    { name: "title", label: ["Question", "问题"], kind: "text", max: 60 },
    {
      name: "options",
      label: ["Options, one a line", "选项,每行一个"],
      kind: "lines",
      min: 2,
      max: 10,
      each: 25,
    },
    {
      name: "seconds",
      label: ["Lasts", "时长"],
      unit: ["s", "秒"],
      kind: "whole",
      max: 1800,
      start: "60",
      half: true,
      help: ["15 to 1800; 0: until you close it", "15 至 1800;0 表示手动结束"],
    },
    {
      name: "max_choices",
      label: ["Choices per viewer", "每人可选"],
      kind: "whole",
      min: 1,
      max: 10,
      start: "1",
      half: true,
    },
    { name: "change", label: ["Votes may be changed", "允许改票"], kind: "flag", half: true },
    { name: "hidden", label: ["Hide the tally until the end", "结束前隐藏票数"], kind: "flag", half: true },
  ],
  body: ({ max_choices, ...d }) =>
    Number(max_choices) > 1 ? { ...d, multiple: true, max_choices } : d,
};

function bars(labels: readonly string[], counts?: readonly number[], right?: number): Bar[] {
  return labels.map((label, at) => ({ label, n: counts?.[at] ?? 0, mark: at === right }));
}

export const poll: Activity<PollState> = {
  name: "poll",
  label: ["Poll", "投票"],
  icon: "poll",
  sheets: [POLL],
  prefix: "poll",
  peek: (s) => (s.tally ? undefined : { op: "poll.result", d: { poll: s.poll } }),
  view: (s) => ({
    title: s.title,
    status: s.status === "open" ? ["open", "进行中"] : ["closed", "已结束"],
    tone: s.status === "open" ? "live" : "over",
    ends: s.ends_ms,
    figures: [
      [["Voters", "投票人数"], count(s.voters)],
      [["Viewers see", "观众可见"], say(s.hidden ? ["no tally", "不显示票数"] : ["the tally", "票数"])],
    ],
    bars: bars(s.options, s.tally),
    actions:
      s.status === "open"
        ? [{ label: ["Close", "结束"], op: "poll.close", d: { poll: s.poll }, role: "host", icon: "stop" }]
        : [],
  }),
};

interface QuizState {
  quiz: string;
  question: string;
  kind: "choice" | "riddle";
  options?: string[];
  status: "open" | "closed";
  ends_ms: number;
  answered: number;
  correct?: number;
  counts?: number[];
  accepted?: string[];
  right?: number;
  share?: number;
}

const PRIZED = (values: Values): boolean => values.mode === "prize";
const ENDING: readonly Field[] = [
  {
    name: "seconds",
    label: ["Time to answer", "答题时间"],
    unit: ["s", "秒"],
    kind: "whole",
    min: 5,
    max: 300,
    start: "30",
    half: true,
  },
  { name: "points", label: ["Points", "积分"], kind: "whole", min: 1, max: 1000, start: "100", half: true },
  {
    name: "speed_bonus",
    label: ["Bonus for speed", "抢答加分"],
    kind: "whole",
    max: 1000,
    start: "0",
    half: true,
  },
  {
    name: "mode",
    label: ["For", "奖励方式"],
    kind: "choice",
    half: true,
    choices: [
      ["points", ["points", "积分"]],
      ["prize", ["a shared prize", "瓜分奖金"]],
    ],
  },
  {
    name: "prize",
    label: ["Prize to share", "奖金"],
    kind: "money",
    min: 1,
    half: true,
    when: PRIZED,
    help: ["Announced; the engine moves no money.", "仅公布,不自动发放。"],
  },
];

const QUESTION: Field = { name: "question", label: ["Question", "题目"], kind: "text", max: 200 };

const QUIZ: Sheet = {
  name: "quiz",
  title: ["Quiz", "答题"],
  op: "quiz.open",
  role: "host",
  id: "quiz",
  fields: [
    QUESTION,
    { name: "options", label: ["Options, one a line", "选项,每行一个"], kind: "lines", min: 2, max: 6, each: 100 },
    {
      name: "correct",
      label: ["The right one is line", "正确选项为第几行"],
      kind: "whole",
      min: 1,
      max: 6,
      start: "1",
      half: true,
      help: ["Secret until the end.", "结束前保密。"],
    },
    ...ENDING,
  ],
  body: (d) => ({ ...d, correct: Number(d.correct) - 1 }),
};

const RIDDLE: Sheet = {
  name: "riddle",
  title: ["Riddle", "猜谜"],
  op: "quiz.open",
  role: "host",
  id: "quiz",
  fields: [
    QUESTION,
    {
      name: "riddle",
      label: ["Accepted answers, one a line", "可接受的答案,每行一个"],
      kind: "lines",
      min: 1,
      max: 10,
      each: 100,
      help: ["Case, width, spaces and punctuation do not matter.", "不区分大小写、全半角、空格与标点。"],
    },
    ...ENDING,
  ],
};

export const quiz: Activity<QuizState> = {
  name: "quiz",
  label: ["Quiz", "答题"],
  icon: "quiz",
  sheets: [QUIZ, RIDDLE],
  prefix: "quiz",
  view: (s) => ({
    title: s.question,
    status: s.status === "open" ? ["open", "进行中"] : ["closed", "已结束"],
    tone: s.status === "open" ? "live" : "over",
    ends: s.ends_ms,
    figures: [
      [["Answers", "作答"], count(s.answered)],
      ...(s.options && !s.counts ? [[["Options", "选项"], s.options.join(" / ")] as const] : []),
      ...(s.right === undefined ? [] : [[["Right", "答对"], count(s.right)] as const]),
      ...(s.share === undefined ? [] : [[["Share", "每人"], amount(s.share)] as const]),
      ...(s.accepted ? [[["Answer", "答案"], s.accepted[0] ?? ""] as const] : []),
    ],
    ...(s.options && s.counts ? { bars: bars(s.options, s.counts, s.correct) } : {}),
    actions:
      s.status === "open"
        ? [{ label: ["Close", "结束"], op: "quiz.close", d: { quiz: s.quiz }, role: "host", icon: "stop" }]
        : [],
  }),
};
