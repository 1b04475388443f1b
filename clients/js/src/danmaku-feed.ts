// Feeds what is said into a danmaku player: the package `danmaku` or any with `emit(comment)`.

import type { LiveRoom } from "./live.js";
import type { DanmakuBody, EventItem } from "./types.js";

/** A comment as the package `danmaku` takes it. */
export interface Comment {
  text: string;
  mode: "rtl" | "top" | "bottom";
  style: Record<string, string>;
}

export interface Player<C = Comment> {
  emit(comment: C): void;
}

export interface DanmakuFeedOptions<C = Comment> {
  /** "dom" (default) or "canvas", as the player was made: the names of style fields differ. */
  engine?: "dom" | "canvas";
  /** Height of the letters, CSS px; default 24. */
  fontPx?: number;
  /** False: this message does not fly. */
  accept?: (d: DanmakuBody, item: EventItem) => boolean;
  /** Another comment than the usual one; for players of another shape. */
  comment?: (d: DanmakuBody, own: boolean, usual: Comment) => C;
  /** Most comments a second; more are not shown. Default: all. */
  perSecond?: number;
}

const WHITE = 0xffffff;

/** Text is only ever text here: the player gets it as such, never as HTML. */
function commentOf(d: DanmakuBody, own: boolean, engine: "dom" | "canvas", fontPx: number): Comment {
  const color = `#${(Number(d.color ?? WHITE) & WHITE).toString(16).padStart(6, "0")}`;
  const dom = {
    color,
    fontSize: `${fontPx}px`,
    textShadow: "0 1px 2px #000, 0 0 2px #000",
    ...(own ? { border: "1px solid currentColor" } : {}),
  };
  const canvas = { fillStyle: color, font: `${fontPx}px sans-serif`, strokeStyle: "#000", lineWidth: "2" };
  return {
    text: String(d.text),
    mode: d.mode === "top" || d.mode === "bottom" ? d.mode : "rtl",
    style: engine === "dom" ? dom : canvas,
  };
}

/**
 * Have a player show what is said from now on; returns what stops it.
 *
 * Nothing is shown while the page is hidden: players pile it up and let it all fly at once.
 */
export function danmakuFeed<C = Comment>(
  live: Pick<LiveRoom, "on" | "state">,
  player: Player<C>,
  options: DanmakuFeedOptions<C> = {},
): () => void {
  const { engine = "dom", fontPx = 24, accept, comment, perSecond = Infinity } = options;
  const mayShow = limiter(perSecond);
  return live.on("danmaku", (d, item) => {
    if (globalThis.document?.visibilityState === "hidden" || accept?.(d, item) === false || !mayShow())
      return;
    const own = d.user?.id === live.state.user;
    const usual = commentOf(d, own, engine, fontPx);
    player.emit(comment ? comment(d, own, usual) : (usual as C));
  });
}

function limiter(perSecond: number): () => boolean {
  let second = 0;
  let shown = 0;
  return () => {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) [second, shown] = [now, 0];
    return ++shown <= perSecond;
  };
}
