// Crowds of drivers: how many there are, and what share of them is free (the bright arc) or at work.

import { colourOf, ink } from "../theme.js";
import type { Camera } from "./camera.js";
import type { Crowd } from "./marks.js";

const FONT = '600 12px Inter, ui-sans-serif, system-ui, "Segoe UI", sans-serif';

export class Crowds {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #camera: Camera;
  #crowds: Crowd[] | null = null;
  #isDue = false;
  #colours = { panel: "", line: "", text: "", available: "", busy: "" };

  constructor(canvas: HTMLCanvasElement, camera: Camera) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d")!;
    this.#camera = camera;
    camera.addEventListener("change", () => this.#schedule());
    this.recolour();
  }

  recolour(): void {
    const { panel, line, text } = ink();
    this.#colours = { panel, line, text, available: colourOf("available"), busy: colourOf("busy") };
    this.#schedule();
  }

  show(crowds: Crowd[] | null): void {
    this.#crowds = crowds;
    this.#schedule();
  }

  /** The crowd at a point on the screen, or null. */
  at(px: number, py: number): Crowd | null {
    return this.#crowds?.find((it) => Math.hypot(this.#camera.screenX(it.x) - px, this.#camera.screenY(it.y) - py) < radius(it)) ?? null;
  }

  #schedule(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#paint();
    });
  }

  #paint(): void {
    const { width, height } = this.#camera;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.#canvas.width !== wide || this.#canvas.height !== high) {
      this.#canvas.width = wide;
      this.#canvas.height = high;
    }
    const context = this.#context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.#crowds) return;
    const { panel, line, text, available, busy } = this.#colours;
    context.font = FONT;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const crowd of this.#crowds) {
      const [px, py, r] = [this.#camera.screenX(crowd.x), this.#camera.screenY(crowd.y), radius(crowd)];
      disc(context, px, py, r, panel);
      const start = -Math.PI / 2;
      const free = start + (crowd.nAvailable / crowd.n) * 2 * Math.PI;
      const working = free + (crowd.nWorking / crowd.n) * 2 * Math.PI;
      context.lineWidth = 3;
      arc(context, px, py, r - 1.5, 0, 2 * Math.PI, line);
      arc(context, px, py, r - 1.5, start, free, available);
      arc(context, px, py, r - 1.5, free, working, busy);
      context.fillStyle = text;
      context.fillText(crowd.n < 1000 ? String(crowd.n) : `${(crowd.n / 1000).toFixed(1)}k`, px, py + 0.5);
    }
  }
}

/** In CSS pixels. */
function radius({ n }: Crowd): number {
  return 12 + Math.min(16, Math.sqrt(n) * 0.8);
}

function disc(context: CanvasRenderingContext2D, x: number, y: number, r: number, colour: string): void {
  context.beginPath();
  context.arc(x, y, r, 0, 2 * Math.PI);
  context.fillStyle = colour;
  context.fill();
}

function arc(context: CanvasRenderingContext2D, x: number, y: number, r: number, from: number, to: number, colour: string): void {
  if (to <= from) return;
  context.beginPath();
  context.arc(x, y, r, from, to);
  context.strokeStyle = colour;
  context.stroke();
}
