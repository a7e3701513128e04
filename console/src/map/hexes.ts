// Zones on the map: how scarce drivers are in each, what it is multiplied with, and which are paused.

import { colourOf, ink } from "../theme.js";
import { number } from "../words.js";
import type { Camera, LatLon, Projection } from "./camera.js";
import { Sheet } from "./sheet.js";

const FONT = '600 11px Inter, ui-sans-serif, system-ui, "Segoe UI", sans-serif';
/** How high a label is, and how much wider than its text, in CSS pixels. */
const LABEL = { high: 17, wider: 12 };
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
  /** How many asked from there in the last hour, where nobody serves the place; nodes of older builds do not say. */
  n_refused?: number;
  /** How long it stays so, if staff set it. */
  set_until?: number;
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

/** What is written on a zone: what its colour says, as a number; nothing where there is nothing to be said. */
export function labelOf(layer: Layer, { ratio, surge_percent: percent, n_free: nFree }: Demand): string {
  if (layer === "surge") return percent > 100 ? `×${number(percent / 100, 1)}` : "";
  return ratio >= 0.05 || nFree > 0 ? number(ratio, 1) : "";
}

/** The colour that lies as far from `cold` to `hot` as `heat` says (0 to 1); all are `#rrggbb`. */
export function blended(cold: string, hot: string, heat: number): string {
  const part = (colour: string, at: number): number => Number.parseInt(colour.slice(at, at + 2), 16);
  const mixed = [1, 3, 5].map((at) => Math.round(part(cold, at) + (part(hot, at) - part(cold, at)) * heat));
  return `#${mixed.map((it) => it.toString(16).padStart(2, "0")).join("")}`;
}

/** Something that is written on the map, in CSS pixels. */
export type Box = readonly [left: number, top: number, right: number, bottom: number];

/** The first of some places for the middle of a label where it covers nothing of these; the first of all if there is none. */
export function freePlace(places: readonly (readonly [number, number])[], wide: number, taken: readonly Box[]): readonly [number, number] {
  const isFree = ([x, y]: readonly [number, number]): boolean => taken.every(([left, top, right, bottom]) => (
    x + wide / 2 < left || x - wide / 2 > right || y + LABEL.high / 2 < top || y - LABEL.high / 2 > bottom
  ));
  return places.find(isFree) ?? places[0]!;
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
  /** Above the marks, which are many where a number matters. */
  readonly #labels: Sheet;
  readonly #camera: Camera;
  readonly #projection: Projection;
  readonly #taken: () => readonly Box[];
  #shown: Shown = { layer: "none", demand: [], paused: [], chosen: null };
  #colours = { cold: "", hot: "", paused: "", text: "", panel: "", accent: "" };

  /** Labels keep clear of what is `taken` where they can. */
  constructor(canvas: HTMLCanvasElement, labels: HTMLCanvasElement, camera: Camera, projection: Projection, taken: () => readonly Box[]) {
    this.#camera = camera;
    this.#projection = projection;
    this.#taken = taken;
    this.#sheet = new Sheet(canvas, camera, { isEmpty: () => isNothing(this.#shown), paint: (context) => this.#paint(context) });
    this.#labels = new Sheet(labels, camera, { isEmpty: () => !hasCells(this.#shown), paint: (context) => this.#label(context) });
    this.recolour();
  }

  recolour(): void {
    const { text, panel } = ink();
    this.#colours = { cold: colourOf("busy"), hot: colourOf("rescue"), paused: colourOf("offered"), text, panel, accent: colourOf("accent") };
    this.repaint();
  }

  show(shown: Shown): void {
    this.#shown = shown;
    this.repaint();
  }

  /** Something that labels keep clear of is elsewhere. */
  repaint(): void {
    this.#sheet.repaint();
    this.#labels.repaint();
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
    const colour = blended(this.#colours.cold, this.#colours.hot, heat);
    this.#trace(context, it.outline);
    context.fillStyle = colour;
    context.globalAlpha = 0.06 + 0.34 * heat;
    context.fill();
    context.globalAlpha = 0.35 + 0.4 * heat;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.stroke();
    context.globalAlpha = 1;
  }

  #label(context: CanvasRenderingContext2D): void {
    const { layer, demand } = this.#shown;
    const { text, panel, cold, hot } = this.#colours;
    const taken = this.#taken();
    context.font = FONT;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 1.5;
    for (const it of demand) {
      const px = this.#camera.screenX(this.#projection.x(it.at.lon));
      const py = this.#camera.screenY(this.#projection.y(it.at.lat));
      const across = it.outline.reduce((most, { lon }) => Math.max(most, 2 * Math.abs(this.#camera.screenX(this.#projection.x(lon)) - px)), 0);
      const says = labelOf(layer, it);
      if (across < TEXT_FROM_PX || says === "") continue;
      const wide = context.measureText(says).width + LABEL.wider;
      const aside = across * 0.27;
      const [x, y] = freePlace([[px, py], [px, py + aside], [px, py - aside]], wide, taken);
      context.beginPath();
      context.roundRect(x - wide / 2, y - LABEL.high / 2, wide, LABEL.high, LABEL.high / 2);
      context.fillStyle = panel;
      context.fill();
      context.strokeStyle = blended(cold, hot, heatOf(layer, it));
      context.stroke();
      context.fillStyle = text;
      context.fillText(says, x, y + 0.5);
    }
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

function hasCells({ layer, demand }: Shown): boolean {
  return layer !== "none" && demand.length > 0;
}

function isNothing(shown: Shown): boolean {
  return !hasCells(shown) && shown.paused.length === 0 && shown.chosen === null;
}
