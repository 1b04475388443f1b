/** Refusals in words: the pages' own ones, and what the desk says differently. */

import { closing, refusal } from "../shared/words";
import { type Pair, say } from "./say";
import { t } from "./texts";

const HERE: Record<string, Pair> = {
  bad_request: ["This cannot be sent like this", "内容不符合要求"],
  not_allowed: ["The room does not allow this now", "直播间当前不允许此操作"],
  already_done: ["It was done before and stays as it is", "已经执行过,不能更改"],
  limit_reached: ["The room has as many as it may have", "已达到上限"],
  rejected: ["The text was not accepted: it holds words that may not be shown", "文字未通过审核"],
  not_eligible: ["The conditions are not met", "不满足条件"],
  too_early: ["It is too early for this", "还没有到时间"],
  sold_out: ["There are not so many on the shelf", "货架库存不足"],
  exists: ["There is one of this name with another content", "同名的内容已存在"],
};

const DETAILED = new Set(["bad_request", "bad_message", "not_found", "forbidden", "rejected"]);

/** Say a refusal; where the server's own words tell which field it is, they follow. */
export function wordsOf(error: unknown): string {
  const { code = "internal", message = "" } = error as { code?: string; message?: string };
  const here = Object.hasOwn(HERE, code) ? HERE[code] : undefined;
  const text = here ? say(here) : refusal(code, message);
  return DETAILED.has(code) && message ? `${text}: ${message}` : text;
}

/** Say why the room could not be entered or was left. */
export function endingOf(reason: { code: string; text: string }): string {
  if (reason.code === "bad_token") return t("notStaff");
  const close = closing(reason.code, "");
  return close === reason.code ? refusal(reason.code, reason.text) : close;
}
