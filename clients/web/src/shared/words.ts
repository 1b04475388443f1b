/** What refusals and closes mean, in both languages: one table for all pages. */

import { lang } from "./i18n";

type Both = readonly [en: string, zh: string];

/** Codes of refusals: docs/protocol.md, section 10, and the SDK's own. */
const REFUSALS: Record<string, Both> = {
  bad_message: ["The server could not read this", "服务器无法识别这条消息"],
  bad_request: ["This cannot be sent like this", "内容不符合要求"],
  unknown_op: ["This room does not offer this", "这个直播间没有这项功能"],
  key_required: ["Please try again", "请再试一次"],
  key_mismatch: ["Please try again", "请再试一次"],
  amount_too_large: ["The amount is above the limit", "金额超过上限"],
  unauthorized: ["You have to be signed in for this", "请先登录"],
  forbidden: ["You may not do this", "你没有权限"],
  not_found: ["It is not there any more", "已经不存在了"],
  no_room: ["There is no such room", "没有这个直播间"],
  room_closed: ["The room is closed", "直播间已关闭"],
  version_conflict: ["It has just changed, please look again", "内容刚刚有变化，请再看一下"],
  not_allowed: ["The host does not allow this now", "主播暂时不允许"],
  muted: ["You are muted in this room", "你在本直播间被禁言了"],
  rejected: ["This was not accepted, please word it differently", "内容未通过审核，请换个说法"],
  rate_limited: ["Too fast, wait a moment", "太快了，请稍等"],
  insufficient_funds: ["Your balance is too low", "余额不足"],
  aborted: ["It was given up, please try again", "已取消，请重试"],
  exists: ["There is one of this name already", "同名的已经存在"],
  already_running: ["Another one is still running", "还有一个正在进行"],
  already_done: ["You have done this before, it stays as it is", "你已经操作过，不能更改"],
  too_early: ["It has not begun yet", "还没有开始"],
  ended: ["It is over", "已经结束"],
  sold_out: ["Sold out", "已抢光"],
  limit_reached: ["You have had as many as one may have", "已达到每人上限"],
  not_eligible: ["You do not meet the conditions yet", "还不满足参与条件"],
  below_held: ["That is less than what is held or sold", "低于已占用或已售出的数量"],
  expired: ["The time for this has passed", "已过期"],
  final: ["This cannot be changed any more", "已经不能更改"],
  amount_mismatch: ["The amount is not the price", "金额与价格不符"],
  outcome_unknown: ["No answer yet, please try again", "还没有结果，请再试一次"],
  unavailable: ["That did not work, please try again", "没有成功，请再试一次"],
  overloaded: ["Very busy just now, please try again", "现在人太多，请稍后再试"],
  internal: ["Something failed on our side", "服务器出了点问题"],
  timeout: ["No answer came, please try again", "没有收到回应，请再试一次"],
  closed: ["Not connected, nothing was sent", "未连接，没有发出"],
  bad_reply: ["The answer could not be read", "回应无法识别"],
};

/** Names of closes: the same section. */
const CLOSES: Record<string, Both> = {
  normal: ["The connection was ended", "连接已结束"],
  going_away: ["The server moves", "服务器正在切换"],
  protocol_error: ["This page and the server do not understand each other: reload", "页面与服务器不兼容，请刷新"],
  unsupported: ["This page and the server do not understand each other: reload", "页面与服务器不兼容，请刷新"],
  bad_payload: ["This page and the server do not understand each other: reload", "页面与服务器不兼容，请刷新"],
  policy: ["Too many messages: you were disconnected", "消息过多，已断开连接"],
  too_big: ["A message was too large: you were disconnected", "消息过大，已断开连接"],
  internal: ["Something failed on the server's side", "服务器出了点问题"],
  restart: ["The server restarts", "服务器正在重启"],
  try_later: ["The server is full", "服务器已满"],
  token_expired: ["Your sign-in has expired", "登录已过期"],
  slow: ["The connection is too slow", "网络太慢"],
  hello_timeout: ["The server waited in vain", "连接超时"],
  no_pong: ["The connection went silent", "连接没有响应"],
  flooding: ["Too many messages in a short time", "短时间内消息过多"],
  bad_hello: ["This address does not lead into a room", "地址不正确，无法进入直播间"],
  bad_token: ["Your sign-in is not valid here", "登录凭证在这里无效"],
  banned: ["You may not be in this room", "你已被禁止进入本直播间"],
  no_room: ["There is no such room", "没有这个直播间"],
  too_many_sessions: ["You have this room open too many times", "打开的窗口太多了"],
};

const say = (both: Both): string => both[lang === "zh" ? 1 : 0];

/** Say why a command was refused; an unknown code is said as the server put it. */
export function refusal(code: string, fallback = ""): string {
  const known = Object.hasOwn(REFUSALS, code) ? REFUSALS[code] : undefined;
  return known ? say(known) : fallback || code;
}

/** Say why a connection ended; an unknown name is said as the server put it. */
export function closing(name: string, fallback = ""): string {
  const known = Object.hasOwn(CLOSES, name) ? CLOSES[name] : undefined;
  return known ? say(known) : fallback || name;
}
