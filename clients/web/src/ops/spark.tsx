import { KEPT_MS, type Point } from "./watch";

const [WIDTH, HEIGHT] = [300, 40];

/** A curve of five minutes, from zero; where nothing was known it breaks. */
export function Spark({ points, now }: { points: readonly Point[]; now: number }) {
  const top = Math.max(...points.map(([, value]) => value ?? 0)) || 1;
  const x = (at: number): string => (((at - now + KEPT_MS) / KEPT_MS) * WIDTH).toFixed(1);
  const y = (value: number): string => (HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1);
  let path = "";
  let pen = "M";
  for (const [at, value] of points) {
    if (value !== undefined) path += `${pen}${x(at)} ${y(value)}`;
    pen = value === undefined ? "M" : "L";
  }
  return (
    <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path d={path} />
    </svg>
  );
}
