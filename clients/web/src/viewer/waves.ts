/**
 * Waves: when many say the same at once ("666"), the server shows the first few and then how many
 * more. The number is put behind the newest line that says so.
 */

/** Fewer than the list keeps: what is known here is shown there, or waits for its frame. */
const KEPT = 100;

interface Said {
  line: HTMLElement;
  more: number;
  mark?: HTMLElement;
}

export class Waves {
  readonly #said = new Map<string, Said>();

  /** A line is shown: a wave of its text belongs to it. */
  line(text: string, line: HTMLElement): void {
    this.#said.delete(text);
    this.#said.set(text, { line, more: 0 });
    if (this.#said.size > KEPT) this.#said.delete(this.#said.keys().next().value as string);
  }

  /** So many more have said it. Returns whether there is a line to show it. */
  more(text: string, n: number, say: (more: number) => string): boolean {
    const said = this.#said.get(text);
    if (!said) return false;
    said.more += n;
    if (!said.mark) {
      said.mark = document.createElement("b");
      said.mark.className = "more";
      said.line.append(said.mark);
    }
    said.mark.textContent = say(said.more);
    return true;
  }

  clear(): void {
    this.#said.clear();
  }
}
