/** The Prometheus text format, as far as the engine writes it. */

export interface Sample {
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** All samples of one moment, by metric. */
export type Samples = ReadonlyMap<string, readonly Sample[]>;

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const PAIR = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** Read a text; a line that is none of the format is passed over. */
export function parse(text: string): Samples {
  const found = new Map<string, Sample[]>();
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (!match) continue;
    const [, name = "", labels = "", value = ""] = match;
    const samples = found.get(name) ?? [];
    samples.push({ labels: labelsOf(labels), value: numberOf(value) });
    found.set(name, samples);
  }
  return found;
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, name = "", value = ""] of text.matchAll(PAIR)) {
    labels[name] = value.replace(/\\(.)/g, (_, letter: string) => (letter === "n" ? "\n" : letter));
  }
  return labels;
}

function numberOf(text: string): number {
  return text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text);
}
