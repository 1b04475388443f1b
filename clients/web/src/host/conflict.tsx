/** Two people changed the same thing: what it is now, what was wanted, and whose it shall be. */

import { conflict, redo } from "./act";
import { Button } from "./button";
import { Dialog } from "./dialog";
import { major } from "./forms/fields";
import { type Pair, say } from "./say";
import type { Sku } from "./shapes";
import { t } from "./texts";

const FIELDS: Record<string, Pair> = {
  title: ["Title", "标题"],
  cover: ["Cover", "封面"],
  tags: ["Tags", "标签"],
  talk: ["Who may talk", "谁可发言"],
  like: ["Likes", "点赞"],
  gift: ["Gifts", "送礼"],
  slow_s: ["Slow mode (s)", "慢速模式(秒)"],
  followers: ["Followers alone", "仅粉丝"],
  emote_only: ["Emotes alone", "仅表情"],
  unique: ["No repeats", "禁止重复"],
  filter: ["Word filter", "敏感词过滤"],
  level: ["Level", "等级"],
  items: ["Order", "顺序"],
  pinned: ["Explained", "讲解中"],
  item: ["Item", "商品"],
  skus: ["Variants", "规格"],
  text: ["Text", "内容"],
  total: ["Units", "数量"],
};

/** The notice, if there is a conflict. */
export function ConflictNotice() {
  const found = conflict.value;
  if (!found) return null;
  const { now, wanted, order } = found;
  const close = (): void => {
    conflict.value = undefined;
  };
  const differ = Object.keys(wanted).filter((name) => written(now[name]) !== written(wanted[name]));
  return (
    <Dialog title={t("conflictHead")} onClose={close}>
      {order.name && <p>{order.name}</p>}
      <table class="compare">
        <thead>
          <tr>
            <td />
            <th scope="col">{t("conflictNow")}</th>
            <th scope="col">{t("conflictWanted")}</th>
          </tr>
        </thead>
        <tbody>
          {differ.map((name) => (
            <tr key={name}>
              <th scope="row">{FIELDS[name] ? say(FIELDS[name]) : name}</th>
              <td>{written(now[name])}</td>
              <td>{written(wanted[name])}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <footer>
        <Button tone="main" onClick={close}>
          {t("keep")}
        </Button>
        <Button tone="danger" onClick={() => void redo()}>
          {t("redo")}
        </Button>
      </footer>
    </Dialog>
  );
}

function writtenPart(part: unknown): string {
  const { sku, title, price, stock } = part as Partial<Sku>;
  if (sku === undefined || price === undefined) return written(part);
  return `${title ?? sku} ${major(price)}${stock === undefined ? "" : ` ×${stock}`}`;
}

function written(value: unknown): string {
  if (value === undefined || value === null || value === "" || String(value) === "") return "–";
  if (value === true) return say(["yes", "是"]);
  if (value === false) return say(["no", "否"]);
  if (Array.isArray(value)) return value.map(writtenPart).join(", ");
  if (typeof value === "object") return JSON.stringify(value).slice(0, 300);
  return String(value);
}
