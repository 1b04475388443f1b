import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Turns } from "../../src/host/turns.ts";

/** A room whose one state has a version and is shown when the test says so. */
class Room {
  version = 1;
  readonly watchers = new Set<() => void>();
  readonly turns = new Turns({
    version: () => this.version,
    watch: (_, seen) => {
      this.watchers.add(seen);
      seen();
      return () => this.watchers.delete(seen);
    },
  });
  readonly sent: number[] = [];

  /** Order something; it carries the version that is shown when it is sent. */
  order(answer: object | Promise<object> = {}): Promise<object> {
    return this.turns.take("shelf", async () => {
      this.sent.push(this.version);
      return answer;
    });
  }

  async show(version: number): Promise<void> {
    this.version = version;
    for (const seen of [...this.watchers]) seen();
    await vi.advanceTimersByTimeAsync(0);
  }
}

describe("turns", () => {
  let room: Room;
  beforeEach(() => {
    vi.useFakeTimers();
    room = new Room();
  });
  afterEach(() => vi.useRealTimers());

  it("has every order see what the one before it changed", async () => {
    const first = room.order();
    const second = room.order();
    const third = room.order();
    await first;
    expect(room.sent).toEqual([1]);
    await room.show(2);
    await second;
    expect(room.sent).toEqual([1, 2]);
    await room.show(3);
    await third;
    expect(room.sent).toEqual([1, 2, 3]);
    await room.show(4);
    expect(room.watchers.size).toBe(0);
  });

  it("goes on where the change was shown before the answer came", async () => {
    let answer = (_: object): void => undefined;
    void room.order(new Promise((resolve) => (answer = resolve)));
    void room.order();
    await room.show(2);
    expect(room.sent).toEqual([1]);
    answer({});
    await vi.advanceTimersByTimeAsync(0);
    expect(room.sent).toEqual([1, 2]);
  });

  it("waits for nothing after a refusal, nor after an answer that nothing was changed", async () => {
    const refused = room.order(Promise.reject(new Error("forbidden")));
    void room.order({ changed: false });
    void room.order();
    await expect(refused).rejects.toThrow("forbidden");
    await vi.advanceTimersByTimeAsync(0);
    expect(room.sent).toEqual([1, 1, 1]);
  });

  it("waits a second at most for a change that is not shown", async () => {
    void room.order();
    void room.order();
    await vi.advanceTimersByTimeAsync(999);
    expect(room.sent).toEqual([1]);
    await vi.advanceTimersByTimeAsync(1);
    expect(room.sent).toEqual([1, 1]);
  });

  it("lets orders about another state pass", async () => {
    void room.order();
    await expect(room.turns.take("mode", async () => "done")).resolves.toBe("done");
  });
});
