// Zones on the map: how scarce drivers are in each, what it is multiplied with, and which are paused.

import { colourOf, ink } from "../theme.js";
import type { Camera, LatLon, Projection } from "./camera.js";
import { Sheet } from "./sheet.js";

const FONT = '600 11px Inter, ui-sans-serif, system-ui, "Segoe UI", sans-serif';
/** Cells smaller than this carry no text, in CSS pixels across. */
const TEXT_FROM_PX = 46;
/** So many requests for each free driver are as hot as it gets. */
const RATIO_MOST = 3;
/** … and so many percent. */
const SURGE_MOST = 250;

export type Layer = "none" | "demand" | "surge";

/** A zone as `/v1/demand` counts it. */
export interface Demand {
  zone: string;
  at: LatLon;
  n_waiting: number;
  n_free: number;
  per_hour: number;
  per_hour_soon: number;
  ratio: number;
  surge_percent: number;
  changes: { at: number; from_percent: number; to_percent: number }[];
  outline: LatLon[];
}

/** A zone as it is. */
export interface Zone {
  id: string;
  resolution: number;
  paused: { zone: string; reason: string; until?: number | null } | null;
  outline: LatLon[];
}

export interface Shown {
  layer: Layer;
  demand: readonly Demand[];
  paused: readonly Zone[];
  /** Which one is looked at. */
  chosen: readonly LatLon[] | null;
}

/** How hot a zone is on this layer, 0 to 1. */
export function heatOf(layer: Layer, { ratio, surge_percent: percent }: Demand): number {
  const share = layer === "surge" ? (percent - 100) / (SURGE_MOST - 100) : ratio / RATIO_MOST;
  return Math.min(1, Math.max(0, share));
}

/** Is a place within an outline? */
export function isWithin(outline: readonly LatLon[], { lat, lon }: LatLon): boolean {
  let isInside = false;
  outline.forEach((a, i) => {
    const b = outline[(i + outline.length - 1) % outline.length]!;
    if (a.lat > lat !== b.lat > lat && lon < ((b.lon - a.lon) * (lat - a.lat)) / (b.lat - a.lat) + a.lon) isInside = !isInside;
  });
  return isInside;
}

export class Hexes {
  readonly #sheet: Sheet;
  readonly #camera: Camera;
  readonly #projection: Projection;
  #shown: Shown = { layer: "none", demand: [], paused: [], chosen: null };
  #colours = { cold: "", hot: "", paused: "", text: "", halo: "", accent: "" };

  constructor(canvas: HTMLCanvasElement, camera: Camera, projection: Projection) {
    this.#camera = camera;
    this.#projection = projection;
    this.#sheet = new Sheet(canvas, camera, { isEmpty: () => isNothing(this.#shown), paint: (context) => this.#paint(context) });
    this.recolour();
  }

  recolour(): void {
    const { text, mapHalo } = ink();
    this.#colours = { cold: colourOf("busy"), hot: colourOf("rescue"), paused: colourOf("offered"), text, halo: mapHalo, accent: colourOf("accent") };
    this.#sheet.repaint();
  }

  show(shown: Shown): void {
    this.#shown = shown;
    this.#sheet.repaint();
  }

  #paint(context: CanvasRenderingContext2D): void {
    const { layer, demand, paused, chosen } = this.#shown;
    if (layer !== "none") for (const it of demand) this.#cell(context, it, layer);
    context.lineWidth = 2.5;
    context.setLineDash([7, 5]);
    for (const { outline } of paused) {
      this.#trace(context, outline);
      context.fillStyle = this.#colours.paused;
      context.globalAlpha = 0.13;
      context.fill();
      context.globalAlpha = 1;
      context.strokeStyle = this.#colours.paused;
      context.stroke();
    }
    context.setLineDash([]);
    if (chosen) {
      this.#trace(context, chosen);
      context.strokeStyle = this.#colours.accent;
      context.stroke();
    }
  }

  #cell(context: CanvasRenderingContext2D, it: Demand, layer: Layer): void {
    const heat = heatOf(layer, it);
    this.#trace(context, it.outline);
    context.fillStyle = heat > 0.33 ? this.#colours.hot : this.#colours.cold;
    context.globalAlpha = 0.06 + 0.34 * heat;
    context.fill();
    context.globalAlpha = 0.35 + 0.4 * heat;
    context.strokeStyle = context.fillStyle;
    context.lineWidth = 1;
    context.stroke();
    context.globalAlpha = 1;
    const px = this.#camera.screenX(this.#projection.x(it.at.lon));
    const py = this.#camera.screenY(this.#projection.y(it.at.lat));
    const across = it.outline.reduce((most, { lon }) => Math.max(most, 2 * Math.abs(this.#camera.screenX(this.#projection.x(lon)) - px)), 0);
    if (across < TEXT_FROM_PX) return;
    const says = layer === "surge" ? (it.surge_percent > 100 ? `×${(it.surge_percent / 100).toFixed(1)}` : "") : it.n_waiting + it.n_free > 0 ? `${it.n_waiting} : ${it.n_free}` : "";
    context.font = FONT;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3;
    context.lineJoin = "round";
    context.strokeStyle = this.#colours.halo;
    context.strokeText(says, px, py);
    context.fillStyle = this.#colours.text;
    context.fillText(says, px, py);
  }

  #trace(context: CanvasRenderingContext2D, outline: readonly LatLon[]): void {
    context.beginPath();
    outline.forEach(({ lat, lon }, i) => {
      const [px, py] = [this.#camera.screenX(this.#projection.x(lon)), this.#camera.screenY(this.#projection.y(lat))];
      if (i === 0) context.moveTo(px, py);
      else context.lineTo(px, py);
    });
    context.closePath();
  }
}

function isNothing({ layer, demand, paused, chosen }: Shown): boolean {
  return (layer === "none" || demand.length === 0) && paused.length === 0 && chosen === null;
}
