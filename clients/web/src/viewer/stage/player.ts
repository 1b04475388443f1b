/**
 * Danmaku over the picture: the `danmaku` package in live mode, fed a few per frame.
 *
 * A busy room delivers in beats; put on screen as they come, all of a beat would start in one column,
 * and the package lays them over each other when its lanes are full. So they wait in a short queue,
 * start spread over the beat and only where a lane is free; what has waited too long is dropped and
 * counted. The list beside the stage has it all the same. Nothing is laid out: widths are measured
 * by a canvas, and what flies is drawn on one.
 */

import Danmaku from "danmaku";
import type * as wire from "../wire";

const FLIES_MS = 6500;
const MOST_FLYING = 200;
const MOST_WAITING = 150;
const PATIENCE_MS = 1500;
const SPREAD_FRAMES = 7; // one beat of 100 ms
const GAP_PX = 26;
const LINE_HEIGHT = 1.3;
const OUTLINE_PX = 3;
const FONT = 'system-ui, -apple-system, "PingFang SC", "Noto Sans SC", "Microsoft YaHei", sans-serif';

interface Waiting {
  text: string;
  mode: "rtl" | "top" | "bottom";
  fill: string;
  own: boolean;
  since: number;
}

/** A line of the stage: when its last message is wholly in, and when it is gone. */
interface Lane {
  freeAt: number;
  goneAt: number;
}

export class Player {
  /** How many found no room on the screen. */
  dropped = 0;

  readonly #player: Danmaku;
  readonly #sized: ResizeObserver;
  readonly #ruler = document.createElement("canvas").getContext("2d");
  readonly #waiting: Waiting[] = [];
  readonly #leaves: number[] = [];
  #lanes: Lane[] = [];
  #fixedUntil: number[] = [];
  #frame = 0;
  #width = 0;
  #size = 20;
  #shown = true;

  constructor(container: HTMLElement) {
    this.#player = new Danmaku({ container, engine: "canvas" });
    this.#sized = new ResizeObserver(([entry]) => this.#resize(entry!.contentRect));
    this.#sized.observe(container);
  }

  /** Put a message into the queue; one's own goes first and is never dropped. */
  take(d: wire.Danmaku, own: boolean): void {
    if (!this.#shown || document.hidden) return;
    if (this.#waiting.length >= MOST_WAITING && !own) {
      this.dropped++;
      return;
    }
    const mode = d.mode === "top" || d.mode === "bottom" ? d.mode : "rtl";
    const one: Waiting = { text: d.text, mode, fill: cssColor(d.color), own, since: performance.now() };
    if (own) this.#waiting.unshift(one);
    else this.#waiting.push(one);
    this.#frame ||= requestAnimationFrame(this.#release);
  }

  /** Show messages or none. */
  show(on: boolean): void {
    this.#shown = on;
    this.#waiting.length = 0;
    this.#leaves.length = 0;
    for (const lane of this.#lanes) lane.freeAt = lane.goneAt = 0;
    if (on) this.#player.show();
    else this.#player.hide();
  }

  destroy(): void {
    cancelAnimationFrame(this.#frame);
    this.#sized.disconnect();
    this.#player.destroy();
  }

  #resize({ width, height }: DOMRectReadOnly): void {
    this.#width = width;
    this.#size = width < 560 ? 17 : 21;
    this.#player.resize();
    this.#player.speed = Math.max(1, width / (FLIES_MS / 1000));
    const line = Math.ceil(this.#size * LINE_HEIGHT) + 2 * OUTLINE_PX; // as the package reckons it
    const lanes = Math.max(1, Math.floor(height / line) - 1);
    this.#lanes = Array.from({ length: lanes }, (_, i) => this.#lanes[i] ?? { freeAt: 0, goneAt: 0 });
    this.#fixedUntil = new Array<number>(Math.ceil(lanes / 3)).fill(0);
  }

  readonly #release = (): void => {
    const at = performance.now();
    while (this.#leaves.length && this.#leaves[0]! <= at) this.#leaves.shift();
    const most = Math.ceil(this.#waiting.length / SPREAD_FRAMES);
    for (let tried = 0, i = 0; tried < most && i < this.#waiting.length; tried++) {
      if (this.#start(this.#waiting[i]!, at)) this.#waiting.splice(i, 1);
      else i++;
    }
    while (this.#waiting.length && at - this.#waiting[0]!.since > PATIENCE_MS) {
      this.#waiting.shift();
      this.dropped++;
    }
    this.#frame = this.#waiting.length ? requestAnimationFrame(this.#release) : 0;
  };

  /** Start one if there is a place for it, or if it is one's own. */
  #start(one: Waiting, at: number): boolean {
    if (this.#leaves.length >= MOST_FLYING && !one.own) return false;
    const placed = one.mode === "rtl" ? this.#takeLane(one.text, at) : this.#takeFixed(at);
    if (!placed && !one.own) return false;
    this.#leaves.push(at + FLIES_MS);
    this.#player.emit({ text: one.text, mode: one.mode, style: this.#lettering(one) as CanvasRenderingContext2D });
    return true;
  }

  /** A lane is free if its last message is wholly in, and will not be caught up with. */
  #takeLane(text: string, at: number): boolean {
    const width = this.#measure(text) + GAP_PX;
    const perMs = (this.#width + width) / FLIES_MS;
    const lane = this.#lanes.find((one) => one.freeAt <= at && one.goneAt <= at + this.#width / perMs);
    if (!lane) return false;
    lane.freeAt = at + width / perMs;
    lane.goneAt = at + FLIES_MS;
    return true;
  }

  #takeFixed(at: number): boolean {
    const place = this.#fixedUntil.findIndex((until) => until <= at);
    if (place < 0) return false;
    this.#fixedUntil[place] = at + FLIES_MS;
    return true;
  }

  #measure(text: string): number {
    if (!this.#ruler) return text.length * this.#size;
    this.#ruler.font = this.#font();
    return this.#ruler.measureText(text).width;
  }

  #font(): string {
    return `600 ${this.#size}px/${LINE_HEIGHT} ${FONT}`;
  }

  #lettering(one: Waiting): Partial<CanvasRenderingContext2D> {
    return {
      font: this.#font(),
      textBaseline: "middle",
      fillStyle: one.fill,
      lineWidth: OUTLINE_PX,
      lineJoin: "round",
      strokeStyle: one.own ? "rgba(200, 30, 69, .95)" : "rgba(12, 8, 16, .62)",
    };
  }
}

/** A wire colour, 0 to 0xffffff, as CSS; anything else is white. */
export function cssColor(color: unknown): string {
  const known = typeof color === "number" && color >= 0 && color <= 0xffffff;
  return `#${(known ? Math.trunc(color) : 0xffffff).toString(16).padStart(6, "0")}`;
}
