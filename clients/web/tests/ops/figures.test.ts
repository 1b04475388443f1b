import { describe, expect, it } from "vitest";
import { parse } from "../../src/ops/exposition.ts";
import { greatest, type Moment, quantile, rate, sum } from "../../src/ops/figures.ts";

const at = (seconds: number, text: string): Moment => ({
  at: seconds * 1000,
  samples: parse(text),
});

describe("exposition", () => {
  it("reads names, labels with odd values, and numbers in every notation", () => {
    const samples = parse(
      [
        "# HELP a_total Things",
        "# TYPE a_total counter",
        'a_total{worker="0",what="x\\"} y\\\\ \\n z"} 1.5e+06',
        "b 0.0",
        'c_bucket{le="+Inf"} +Inf',
        "d{} -Inf",
        "",
        "junk",
        "e{x=1} 2 3",
      ].join("\n"),
    );
    expect(samples.get("a_total")).toEqual([
      { labels: { worker: "0", what: 'x"} y\\ \n z' }, value: 1_500_000 },
    ]);
    expect(samples.get("b")).toEqual([{ labels: {}, value: 0 }]);
    expect(samples.get("c_bucket")?.[0]).toEqual({ labels: { le: "+Inf" }, value: Infinity });
    expect(samples.get("d")?.[0]?.value).toBe(-Infinity);
    expect(samples.has("junk")).toBe(false);
  });
});

describe("gauges", () => {
  const moments = [at(0, 'g{worker="0"} 9'), at(1, 'g{worker="0"} 2\ng{worker="1"} 5')];

  it("are summed, or the greatest is taken, of the newest moment", () => {
    expect(sum(moments, "g")).toBe(7);
    expect(greatest(moments, "g")).toBe(5);
    expect(sum(moments, "g", "0")).toBe(2);
  });

  it("are unknown when nobody tells them", () => {
    expect(sum(moments, "none")).toBeUndefined();
    expect(greatest([], "g")).toBeUndefined();
  });
});

describe("rates", () => {
  it("need two moments", () => {
    expect(rate([at(0, "c 1")], ["c"])).toBeUndefined();
    expect(rate([], ["c"])).toBeUndefined();
  });

  it("are over five seconds and all the counters named", () => {
    const moments = [at(0, "c 0"), at(5, "c 50\nd 1"), at(10, "c 100\nd 2")];
    expect(rate(moments, ["c", "d"])).toBeCloseTo(51 / 5);
  });

  it("count a worker that was started again from zero, and one that is new from its first", () => {
    const moments = [
      at(0, 'c{worker="0"} 1000'),
      at(1, 'c{worker="0"} 3\nc{worker="1"} 4'),
    ];
    expect(rate(moments, ["c"])).toBe(7);
  });

  it("of counters that nobody tells are zero", () => {
    expect(rate([at(0, "x 1"), at(1, "x 1")], ["c"])).toBe(0);
  });
});

describe("quantiles", () => {
  const buckets = (...counts: number[]): string =>
    ["0.1", "0.2", "+Inf"].map((le, i) => `h_bucket{le="${le}"} ${counts[i]}`).join("\n");

  it("lie on the line between two bounds", () => {
    const moments = [at(0, buckets(0, 0, 0)), at(1, buckets(50, 100, 100))];
    expect(quantile(moments, "h", 0.5)).toBeCloseTo(0.1);
    expect(quantile(moments, "h", 0.75)).toBeCloseTo(0.15);
  });

  it("above the last bound are that bound", () => {
    const moments = [at(0, buckets(0, 0, 0)), at(1, buckets(0, 0, 10))];
    expect(quantile(moments, "h", 0.99)).toBe(0.2);
  });

  it("are of what came lately, not of all time", () => {
    const moments = [at(0, buckets(1000, 1000, 1000)), at(1, buckets(1000, 1010, 1010))];
    expect(quantile(moments, "h", 0.5)).toBeCloseTo(0.15);
  });

  it("are unknown when nothing came", () => {
    const moments = [at(0, buckets(5, 5, 5)), at(1, buckets(5, 5, 5))];
    expect(quantile(moments, "h", 0.5)).toBeUndefined();
  });
});
