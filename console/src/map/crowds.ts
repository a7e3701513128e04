// Crowds of drivers: how many there are, and what share of them is free (the bright arc) or at work.

import { colourOf, ink } from "../theme.js";
import type { Camera } from "./camera.js";
import type { Box } from "./hexes.js";
import type { Crowd } from "./marks.js";
import { Sheet } from "./sheet.js";

const FONT = '600 12px Inter, ui-sans-serif, system-ui, "Segoe UI", sans-serif';

export class Crowds {
  readonly #sheet: Sheet;
  readonly #camera: Camera;
  #crowds: readonly Crowd[] = [];
  #colours = { panel: "", line: "", text: "", available: "", busy: "" };

  constructor(canvas: HTMLCanvasElement, camera: Camera) {
    this.#camera = camera;
    this.#sheet = new Sheet(canvas, camera, { isEmpty: () => this.#crowds.length === 0, paint: (context) => this.#paint(context) });
    this.recolour();
  }

  recolour(): void {
    const { panel, line, text } = ink();
    this.#colours = { panel, line, text, available: colourOf("available"), busy: colourOf("busy") };
    this.#sheet.repaint();
  }

  /** Shows these; null, if everybody is drawn as themselves. */
  show(crowds: readonly Crowd[] | null): void {
    this.#crowds = crowds ?? [];
    this.#sheet.repaint();
  }

  /** Where they are drawn. */
  get placed(): readonly Box[] {
    return this.#crowds.map((it) => {
      const [px, py, r] = [this.#camera.screenX(it.x), this.#camera.screenY(it.y), radius(it)];
      return [px - r, py - r, px + r, py + r];
    });
  }

  /** The crowd at a point on the screen, or null. */
  at(px: number, py: number): Crowd | null {
    return this.#crowds.find((it) => Math.hypot(this.#camera.screenX(it.x) - px, this.#camera.screenY(it.y) - py) < radius(it)) ?? null;
  }

  #paint(context: CanvasRenderingContext2D): void {
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
