// Crowds of drivers: how many there are, what share of them is free (the bright arc) or at work, and how many jobs are under way there.

import { colourOf, ink } from "../theme.js";
import type { Camera } from "./camera.js";
import type { Box } from "./hexes.js";
import type { Crowd } from "./marks.js";
import { Sheet } from "./sheet.js";

const FONT = '600 12px Inter, ui-sans-serif, system-ui, "Segoe UI", sans-serif';
const UNDERWAY_FONT = FONT.replace("12px", "10.5px");
/** How much room what is under way takes below a crowd, in CSS pixels. */
const UNDERWAY_PX = 18;

export class Crowds {
  readonly #sheet: Sheet;
  readonly #camera: Camera;
  #crowds: readonly Crowd[] = [];
  #colours = { panel: "", line: "", text: "", available: "", busy: "", away: "" };

  constructor(canvas: HTMLCanvasElement, camera: Camera) {
    this.#camera = camera;
    this.#sheet = new Sheet(canvas, camera, { isEmpty: () => this.#crowds.length === 0, paint: (context) => this.#paint(context) });
    this.recolour();
  }

  recolour(): void {
    const { panel, line, text } = ink();
    this.#colours = { panel, line, text, available: colourOf("available"), busy: colourOf("busy"), away: colourOf("away") };
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
      return [px - r, py - r, px + r, py + r + (it.nUnderway > 0 ? UNDERWAY_PX : 0)];
    });
  }

  /** The crowd at a point on the screen, or null. */
  at(px: number, py: number): Crowd | null {
    return this.#crowds.find((it) => Math.hypot(this.#camera.screenX(it.x) - px, this.#camera.screenY(it.y) - py) < radius(it)) ?? null;
  }

  #paint(context: CanvasRenderingContext2D): void {
    const { panel, line, text, available, busy } = this.#colours;
    context.textBaseline = "middle";
    for (const crowd of this.#crowds) {
      const [px, py, r] = [this.#camera.screenX(crowd.x), this.#camera.screenY(crowd.y), radius(crowd)];
      if (crowd.nUnderway > 0) this.#underway(context, px, crowd.n > 0 ? py + r + UNDERWAY_PX / 2 : py, crowd.nUnderway);
      if (crowd.n === 0) continue;
      context.font = FONT;
      context.textAlign = "center";
      disc(context, px, py, r, panel);
      const start = -Math.PI / 2;
      const free = start + (crowd.nAvailable / crowd.n) * 2 * Math.PI;
      const working = free + (crowd.nWorking / crowd.n) * 2 * Math.PI;
      context.lineWidth = 3;
      arc(context, px, py, r - 1.5, 0, 2 * Math.PI, line);
      arc(context, px, py, r - 1.5, start, free, available);
      arc(context, px, py, r - 1.5, free, working, busy);
      context.fillStyle = text;
      context.fillText(rounded(crowd.n), px, py + 0.5);
    }
  }

  /** How many jobs are under way, beside what one of them looks like. */
  #underway(context: CanvasRenderingContext2D, x: number, y: number, n: number): void {
    const { panel, line, text, away } = this.#colours;
    context.font = UNDERWAY_FONT;
    context.textAlign = "left";
    const wide = context.measureText(rounded(n)).width + 22;
    context.beginPath();
    context.roundRect(x - wide / 2, y - 7, wide, 14, 7);
    context.fillStyle = panel;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = line;
    context.stroke();
    context.lineWidth = 1.4;
    arc(context, x - wide / 2 + 9, y, 3.6, 0, 2 * Math.PI, away);
    disc(context, x - wide / 2 + 9, y, 1.4, away);
    context.fillStyle = text;
    context.fillText(rounded(n), x - wide / 2 + 16, y + 0.5);
  }
}

/** `870`, `1.2k`. */
function rounded(n: number): string {
  return n < 1000 ? String(n) : `${(n / 1000).toFixed(1)}k`;
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
