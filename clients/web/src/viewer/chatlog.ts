/**
 * The list of what was said, by hand: at thirty lines a second a virtual tree would be compared for
 * nothing. Lines are gathered and put in once per frame; nothing is measured: the list sticks to its
 * end by itself (a reversed column), and while the reader looks back new lines wait outside.
 */

const MOST = 200;
const SAID_EVERY_MS = 3000;

export interface Line {
  node: HTMLElement;
  id?: string;
  user?: string;
  spoken: string;
}

export interface LogEvents {
  /** How many lines wait for the reader to come back to the end. */
  waiting(n: number): void;
  /** One line for those who listen, and how many others there were since the last. */
  speak(text: string, others: number): void;
}

export class ChatLog {
  #queue: Line[] = [];
  #shown: Line[] = [];
  #frame = 0;
  #held = false;
  #unspoken = 0;
  #spokenAt = -Infinity;
  #speaker: ReturnType<typeof setTimeout> | undefined;
  #newest = "";

  constructor(private readonly list: HTMLElement, private readonly events: LogEvents) {}

  add(line: Line, quiet = false): void {
    this.#queue.push(line);
    if (this.#queue.length > MOST) this.#queue.shift();
    if (!quiet) this.#hear(line.spoken);
    if (this.#held) this.events.waiting(this.#queue.length);
    else this.#frame ||= requestAnimationFrame(this.#flush);
  }

  /** The reader looks back (true) or is at the end again (false). */
  hold(on: boolean): void {
    if (on === this.#held) return;
    this.#held = on;
    if (!on) this.#frame ||= requestAnimationFrame(this.#flush);
  }

  /** Take lines away: those of these ids, or all of a user's. */
  remove(ids: string[] = [], user?: string): void {
    const goes = (line: Line): boolean =>
      (line.id !== undefined && ids.includes(line.id)) || (user !== undefined && line.id !== undefined && line.user === user);
    for (const line of this.#shown) if (goes(line)) line.node.remove();
    this.#shown = this.#shown.filter((line) => !goes(line));
    this.#queue = this.#queue.filter((line) => !goes(line));
  }

  clear(): void {
    this.#queue = [];
    this.#shown = [];
    this.list.replaceChildren();
    this.events.waiting(0);
  }

  destroy(): void {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#speaker);
  }

  readonly #flush = (): void => {
    this.#frame = 0;
    const lines = this.#queue;
    this.#queue = [];
    this.#shown.push(...lines);
    for (const old of this.#shown.splice(0, Math.max(0, this.#shown.length - MOST))) old.node.remove();
    this.list.append(...lines.filter((line) => this.#shown.includes(line)).map((line) => line.node));
    this.events.waiting(0);
  };

  #hear(text: string): void {
    this.#unspoken++;
    this.#newest = text;
    const rest = this.#spokenAt + SAID_EVERY_MS - performance.now();
    this.#speaker ??= setTimeout(() => {
      this.#speaker = undefined;
      this.#spokenAt = performance.now();
      this.events.speak(this.#newest, this.#unspoken - 1);
      this.#unspoken = 0;
    }, Math.max(0, rest));
  }
}
