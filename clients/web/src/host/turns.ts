/** Orders about one state, one after the other: each begins when what the last one changed is shown. */

/** After this a change that was answered is not waited for: maybe it changed nothing. */
const SHOWN_MS = 1_000;

/** What is shown of the room's states. */
export interface Sight {
  version: (key: string) => number;
  /** Calls `seen` now and with every new value of a state, until what it returns is called. */
  watch: (key: string, seen: () => void) => () => void;
}

/** Whose turn it is, for each state. */
export class Turns {
  readonly #unshown = new Map<string, Promise<void>>();
  readonly #sight: Sight;

  constructor(sight: Sight) {
    this.#sight = sight;
  }

  /** Do something about a state once it shows what was done before. */
  async take<R>(key: string, act: () => Promise<R>): Promise<R> {
    while (this.#unshown.has(key)) await this.#unshown.get(key);
    const before = this.#sight.version(key);
    const acting = act();
    const shown = acting.then(
      (answer) => (changesNothing(answer) ? undefined : this.shown(key, (v) => v !== before)),
      () => undefined,
    );
    this.#unshown.set(key, shown.then(() => void this.#unshown.delete(key)));
    return acting;
  }

  /** Wait until the version of a state that is shown is a wanted one, or for a second. */
  shown(key: string, wanted: (version: number) => boolean): Promise<void> {
    return new Promise((resolve) => {
      let unwatch: (() => void) | undefined;
      const end = (): void => {
        clearTimeout(timer);
        unwatch?.();
        resolve();
      };
      const timer = setTimeout(end, SHOWN_MS);
      const look = (): void => {
        if (wanted(this.#sight.version(key))) queueMicrotask(end);
      };
      unwatch = this.#sight.watch(key, look);
    });
  }
}

function changesNothing(answer: unknown): boolean {
  return (answer as { changed?: boolean } | undefined)?.changed === false;
}
