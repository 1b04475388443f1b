/** A chart over time, drawn by uPlot on a canvas. */

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { count } from "../shared/format";
import { hour, moment } from "./shown";
import { t } from "./texts";

interface LineSpec {
  label: string;
  /** The name of a colour of the style sheet. */
  colour: string;
  fill?: boolean;
  bars?: boolean;
}

interface ChartProps {
  title: string;
  data: readonly (readonly number[])[];
  lines: readonly LineSpec[];
  empty?: string;
}

const HEIGHT = 190;

/** A chart with its newest values in words, which is what screen readers are told. */
export function Chart({ title, data, lines, empty }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const newest = useRef(data);
  newest.current = data;
  useEffect(() => drawn(place.current!, lines, newest, plot), []);
  useEffect(() => plot.current?.setData(data as uPlot.AlignedData), [data[0]]);
  const none = data.slice(1).every((column) => column.every((value) => !value));
  const words = lines.map(({ label }, at) => {
    const n = data[at + 1]?.at(-1) ?? 0;
    return t("chartNow", { what: label, n: count(Math.round(n * 10) / 10) });
  });
  return (
    <section class="chart" aria-label={title}>
      <h3>
        {title}
        {lines.length === 1 && !empty && <span>{count(data[1]?.at(-1) ?? 0)}</span>}
      </h3>
      <div ref={place} class="plot" role="img" aria-label={words.join("; ")} />
      {empty && none && <p class="empty over">{empty}</p>}
    </section>
  );
}

/** Draw it; anew when the system turns light or dark, as a canvas has no style sheet. */
function drawn(
  place: HTMLElement,
  lines: readonly LineSpec[],
  data: { current: readonly (readonly number[])[] },
  plot: { current: uPlot | undefined },
): () => void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const draw = (): void => {
    plot.current?.destroy();
    plot.current = new uPlot(optionsOf(place, lines), data.current as uPlot.AlignedData, place);
  };
  const watch = new ResizeObserver(() => plot.current?.setSize({ width: place.clientWidth, height: HEIGHT }));
  draw();
  watch.observe(place);
  dark.addEventListener("change", draw);
  return () => {
    watch.disconnect();
    dark.removeEventListener("change", draw);
    plot.current?.destroy();
  };
}

function optionsOf(place: HTMLElement, lines: readonly LineSpec[]): uPlot.Options {
  const style = getComputedStyle(place);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const timeOf = (s: number): string => (lines[0]?.bars ? hour(s * 1000) : moment(s * 1000));
  const axis = {
    stroke: colour("--dim"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    font: `11px ${style.fontFamily}`,
  };
  return {
    width: place.clientWidth || 400,
    height: HEIGHT,
    cursor: { drag: { x: false, y: false }, points: { size: 5 } },
    legend: { show: lines.length > 1 },
    scales: { x: { range: (_, min, max) => spread(min, max, lines[0]?.bars === true) }, y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] } },
    axes: [
      { ...axis, size: 28, values: (_, ticks) => ticks.map((s) => timeOf(s)) },
      { ...axis, size: 46, values: (_, ticks) => ticks.map((n) => count(n)) },
    ],
    series: [
      { label: "", value: (_, s) => (s === null ? "" : moment(s * 1000)) },
      ...lines.map((line) => seriesOf(line, colour(line.colour))),
    ],
  };
}

/** Bars need room at both ends; an axis with one moment has no scale at all. */
function spread(min: number, max: number, bars: boolean): [number, number] {
  const [low, high] = [min ?? 0, max ?? 0];
  return bars ? [low - 60, Math.max(high + 60, low + 540)] : [Math.min(low, high - 60), high];
}

function seriesOf(line: LineSpec, stroke: string): uPlot.Series {
  return {
    label: line.label,
    stroke,
    width: 1.5,
    points: { show: false },
    value: (_, n) => (n === null ? "–" : count(Math.round(n * 100) / 100)),
    ...(line.fill ? { fill: `${stroke}22` } : {}),
    ...(line.bars ? { fill: stroke, paths: uPlot.paths.bars!({ size: [0.7, 40] }) } : {}),
  };
}
