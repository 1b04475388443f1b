/** Hearts that rise from the like button: one canvas, a fixed number of them, still when none rises. */

const MOST = 48;
const LIFE_MS = 1900;
const TINTS = ["#ff5c7a", "#ff8a5c", "#ffc857", "#ff7ac6", "#f2f0ff"];
const SIZE = 30;

interface Heart {
  born: number;
  x: number;
  sway: number;
  phase: number;
  scale: number;
  tint: number;
}

export class Hearts {
  readonly #context: CanvasRenderingContext2D | null;
  readonly #drawn: HTMLCanvasElement[];
  readonly #sized: ResizeObserver;
  readonly #calm = matchMedia("(prefers-reduced-motion: reduce)");
  readonly #ratio = Math.min(2, devicePixelRatio || 1);
  #hearts: Heart[] = [];
  #frame = 0;
  #width = 0;
  #height = 0;

  constructor(private readonly canvas: HTMLCanvasElement) {
    this.#context = canvas.getContext("2d");
    this.#drawn = TINTS.map((tint) => heart(tint, SIZE * this.#ratio));
    this.#sized = new ResizeObserver(([entry]) => this.#resize(entry!.contentRect));
    this.#sized.observe(canvas);
  }

  /** Let some rise; those above the number that may are left out. */
  rise(n: number): void {
    if (this.#calm.matches || document.hidden) return;
    const at = performance.now();
    for (let i = 0; i < n && this.#hearts.length < MOST; i++) {
      this.#hearts.push({
        born: at + i * 70,
        x: 0.72 + Math.random() * 0.16,
        sway: 0.04 + Math.random() * 0.1,
        phase: Math.random() * 6.28,
        scale: 0.7 + Math.random() * 0.5,
        tint: Math.floor(Math.random() * TINTS.length),
      });
    }
    this.#frame ||= requestAnimationFrame(this.#paint);
  }

  destroy(): void {
    cancelAnimationFrame(this.#frame);
    this.#sized.disconnect();
  }

  readonly #paint = (at: number): void => {
    this.#context?.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.#hearts = this.#hearts.filter((one) => at - one.born < LIFE_MS);
    for (const one of this.#hearts) this.#draw(one, Math.max(0, at - one.born) / LIFE_MS);
    this.#frame = this.#hearts.length ? requestAnimationFrame(this.#paint) : 0;
  };

  #draw(one: Heart, age: number): void {
    const image = this.#drawn[one.tint];
    if (!this.#context || !image || age === 0) return;
    const size = SIZE * one.scale * (age < 0.15 ? 0.4 + age * 4 : 1);
    const x = (one.x + Math.sin(one.phase + age * 5) * one.sway) * this.#width;
    const y = this.#height - age * this.#height;
    this.#context.globalAlpha = age < 0.6 ? 0.95 : (1 - age) * 2.4;
    this.#context.drawImage(image, (x - size / 2) * this.#ratio, (y - size / 2) * this.#ratio, size * this.#ratio, size * this.#ratio);
  }

  #resize({ width, height }: DOMRectReadOnly): void {
    this.#width = width;
    this.#height = height;
    this.canvas.width = Math.round(width * this.#ratio);
    this.canvas.height = Math.round(height * this.#ratio);
  }
}

function heart(tint: string, size: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.ceil(size);
  const context = canvas.getContext("2d");
  if (!context) return canvas;
  context.scale(size / 24, size / 24);
  context.fillStyle = tint;
  context.shadowColor = "rgba(0, 0, 0, .35)";
  context.shadowBlur = 3;
  context.fill(new Path2D("M12 20.5C5.8 15.7 3 12.3 3 8.700 3 6 5.1 4 7.6 4c1.800 0 3.400 1 4.400 2.700C13 5 14.600 4 16.400 4 18.900 4 21 6 21 8.700c0 3.600-2.800 7-9 11.800z"));
  return canvas;
}
