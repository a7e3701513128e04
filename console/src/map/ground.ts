// What does not move: water, parks, streets and names, painted only when the camera does.

import { ink, type Ink } from "../theme.js";
import type { Camera, LatLon, Projection } from "./camera.js";
import type { Box } from "./hexes.js";
import { Sheet } from "./sheet.js";

export type LonLat = [lon: number, lat: number];

/** A city as `/city.json` draws it. */
export interface City {
  name?: string;
  center: LatLon;
  bounds: { south: number; west: number; north: number; east: number };
  roads?: { class: string; name?: string; line: LonLat[] }[];
  water?: Shape[];
  parks?: Shape[];
  places?: { name: string; at: LonLat }[];
}

/** Real streets that the node has to show, as `/console/basemap.json` tells: an archive of tiles of its own, or somebody's style. */
export type BasemapSource = { archive: { center: LatLon } } | { style: string };

/** A shape is a ring of points; something richer carries its ring by name. */
type Shape = LonLat[] | { ring?: LonLat[]; line?: LonLat[] };

/** How wide each class of road is in metres, and in CSS pixels at least; and from how many of those to the metre on it is drawn. */
export const ROADS = [
  { cls: "street", width: 5, least: 0.7, from: 0.02 },
  { cls: "collector", width: 9, least: 1, from: 0 },
  { cls: "arterial", width: 15, least: 1.8, from: 0 },
] as const;
export type Roads = typeof ROADS;
/** A name stands about this far from its road's next name, in metres. */
const LABEL_M = 900;
const ROAD_NAME_PX = 11;
const FONT = 'Inter, ui-sans-serif, system-ui, "Segoe UI", Roboto, sans-serif';

interface Named {
  name: string;
  cls: string;
  length: number;
  angle: number;
  x: number;
  y: number;
}

export class Ground {
  readonly #sheet: Sheet;
  readonly #camera: Camera;
  readonly #projection: Projection;
  readonly #roads: { cls: Roads[number]["cls"]; width: number; least: number; from: number; path: Path2D }[] = [];
  readonly #named: Named[] = [];
  readonly #water = new Path2D();
  readonly #parks = new Path2D();
  readonly #places: { name: string; x: number; y: number }[] = [];
  /** How wide names are, in CSS pixels, by their size: while the camera moves all in view are asked for in each frame. */
  readonly #widths = new Map<string, number>();
  readonly #hasCity: boolean;
  #ink: Ink = ink();
  #isShown = true;
  #placed: readonly Box[] = [];

  constructor(canvas: HTMLCanvasElement, camera: Camera, projection: Projection, city: City | null) {
    this.#sheet = new Sheet(canvas, camera, { isOpaque: true, isEmpty: () => !this.#isShown, paint: (context) => this.#paint(context) });
    this.#camera = camera;
    this.#projection = projection;
    this.#hasCity = city !== null;
    if (city) this.#lay(city);
    this.#sheet.repaint();
  }

  /** Reads the colours from the style sheet again. */
  recolour(): void {
    this.#ink = ink();
    this.#sheet.repaint();
  }

  /** Where the names of districts stand. */
  get placed(): readonly Box[] {
    return this.#isShown ? this.#placed : [];
  }

  /** Shows it, or makes room for another ground. */
  show(isShown: boolean): void {
    this.#isShown = isShown;
    this.#sheet.repaint();
  }

  #lay(city: City): void {
    const paths: Record<string, Path2D> = Object.fromEntries(ROADS.map(({ cls }) => [cls, new Path2D()]));
    for (const road of city.roads ?? []) {
      const points = road.line.map((at) => this.#metres(at));
      trace(paths[road.class] ?? paths.street!, points, false);
      if (road.name) this.#name(road.name, road.class, points);
    }
    this.#roads.push(...ROADS.map((kind) => ({ ...kind, path: paths[kind.cls]! })));
    this.#area(this.#water, city.water);
    this.#area(this.#parks, city.parks);
    for (const { name, at } of city.places ?? []) {
      const [x, y] = this.#metres(at);
      this.#places.push({ name, x, y });
    }
    this.#named.sort((a, b) => b.length - a.length);
  }

  #metres([lon, lat]: LonLat): [number, number] {
    return [this.#projection.x(lon), this.#projection.y(lat)];
  }

  /** Remembers where along a named road its name can stand: each nearly straight piece. */
  #name(name: string, cls: string, points: [number, number][]): void {
    const heading = (i: number): number => Math.atan2(points[i + 1]![1] - points[i]![1], points[i + 1]![0] - points[i]![0]);
    for (let i = 0, j = 0; i + 1 < points.length; i = j) {
      const first = heading(i);
      let length = 0;
      for (j = i; j + 1 < points.length && length < LABEL_M; j += 1) {
        const turn = heading(j) - first;
        if (Math.abs(Math.atan2(Math.sin(turn), Math.cos(turn))) > 0.25) break;
        length += Math.hypot(points[j + 1]![0] - points[j]![0], points[j + 1]![1] - points[j]![1]);
      }
      const [dx, dy] = [points[j]![0] - points[i]![0], points[j]![1] - points[i]![1]];
      this.#named.push({
        name, cls, length: Math.hypot(dx, dy), angle: Math.atan2(dy, dx), x: points[i]![0] + dx / 2, y: points[i]![1] + dy / 2,
      });
    }
  }

  #area(path: Path2D, shapes: Shape[] | undefined): void {
    for (const shape of shapes ?? []) {
      const ring = Array.isArray(shape) ? shape : shape.ring ?? shape.line ?? [];
      trace(path, ring.map((at) => this.#metres(at)), true);
    }
  }

  #paint(context: CanvasRenderingContext2D): void {
    const { width, height, zoom, x, y } = this.#camera;
    context.fillStyle = this.#ink.mapGround;
    context.fillRect(0, 0, width, height);
    if (!this.#hasCity) return this.#graticule(context, width, height);

    // In metres.
    context.save();
    context.transform(zoom, 0, 0, -zoom, width / 2 - x * zoom, height / 2 + y * zoom);
    context.fillStyle = this.#ink.mapPark;
    context.fill(this.#parks);
    context.fillStyle = this.#ink.mapWater;
    context.fill(this.#water);
    context.lineCap = "round";
    context.lineJoin = "round";
    const colours = { street: this.#ink.mapStreet, collector: this.#ink.mapCollector, arterial: this.#ink.mapArterial };
    for (const { cls, path, width: metres, least, from } of this.#roads) {
      if (zoom < from) continue;
      const stroke = Math.max(metres, least / zoom);
      if (cls === "arterial" && zoom > 0.05) {
        context.strokeStyle = this.#ink.mapCasing;
        context.lineWidth = stroke + 2 / zoom;
        context.stroke(path);
      }
      context.strokeStyle = colours[cls];
      context.lineWidth = stroke;
      context.stroke(path);
    }
    context.restore();
    this.#names(context, width, height, zoom);
  }

  #names(context: CanvasRenderingContext2D, width: number, height: number, zoom: number): void {
    const taken: [number, number, number, number][] = [];
    const isFree = (cx: number, cy: number, w: number, h: number): boolean => {
      const box: [number, number, number, number] = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2];
      if (box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height) return false;
      if (taken.some((it) => box[0] < it[2] && box[2] > it[0] && box[1] < it[3] && box[3] > it[1])) return false;
      taken.push(box);
      return true;
    };
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.strokeStyle = this.#ink.mapHalo;

    const size = zoom > 0.15 ? 13 : 11.5;
    context.font = `600 ${size}px ${FONT}`;
    context.letterSpacing = "0.12em";
    context.lineWidth = 4;
    context.fillStyle = this.#ink.mapPlace;
    for (const place of zoom < 0.9 ? this.#places : []) {
      const [px, py] = [this.#camera.screenX(place.x), this.#camera.screenY(place.y)];
      const text = place.name.toUpperCase();
      if (!isFree(px, py, this.#widthOf(context, text, size) + 16, size + 12)) continue;
      context.strokeText(text, px, py);
      context.fillText(text, px, py);
    }
    this.#placed = [...taken];

    context.font = `500 ${ROAD_NAME_PX}px ${FONT}`;
    context.letterSpacing = "0.02em";
    context.lineWidth = 3;
    context.fillStyle = this.#ink.mapLabel;
    const used = new Map<string, [number, number][]>();
    for (const road of this.#named) {
      const room = road.length * zoom;
      if (room < 48) break;
      if (road.cls !== "arterial" && zoom < 0.14) continue;
      const [px, py] = [this.#camera.screenX(road.x), this.#camera.screenY(road.y)];
      if (px < 0 || py < 0 || px > width || py > height) continue;
      const wide = this.#widthOf(context, road.name, ROAD_NAME_PX);
      if (wide > room - 8) continue;
      // The same name twice side by side reads as two streets.
      const before = used.get(road.name) ?? [];
      if (before.some((at) => Math.hypot(at[0] - px, at[1] - py) < 380)) continue;
      let angle = -road.angle;
      if (angle > Math.PI / 2) angle -= Math.PI;
      if (angle < -Math.PI / 2) angle += Math.PI;
      const [cos, sin] = [Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle))];
      if (!isFree(px, py, wide * cos + 14 * sin, wide * sin + 14 * cos)) continue;
      used.set(road.name, [...before, [px, py]]);
      context.save();
      context.translate(px, py);
      context.rotate(angle);
      context.strokeText(road.name, 0, 0);
      context.fillText(road.name, 0, 0);
      context.restore();
    }
    context.letterSpacing = "0px";
  }

  /** How wide a text is in the context's font, whose size is `px`. */
  #widthOf(context: CanvasRenderingContext2D, text: string, px: number): number {
    const key = `${px} ${text}`;
    let width = this.#widths.get(key);
    if (width === undefined) this.#widths.set(key, width = context.measureText(text).width);
    return width;
  }

  /** Lines of latitude and longitude, for a city nobody has drawn. */
  #graticule(context: CanvasRenderingContext2D, width: number, height: number): void {
    const camera = this.#camera;
    const step = niceStep(110 / camera.zoom / this.#projection.mPerLon);
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    context.strokeStyle = this.#ink.mapGrid;
    context.fillStyle = this.#ink.mapLabel;
    context.font = `500 10px ${FONT}`;
    context.textBaseline = "top";
    context.textAlign = "left";
    context.lineWidth = 1;
    context.beginPath();
    const [west, east] = [this.#projection.lon(camera.worldX(0)), this.#projection.lon(camera.worldX(width))];
    for (let lon = Math.ceil(west / step) * step; lon <= east; lon += step) {
      const px = Math.round(camera.screenX(this.#projection.x(lon))) + 0.5;
      context.moveTo(px, 0);
      context.lineTo(px, height);
      context.fillText(`${lon.toFixed(digits)}°`, px + 4, 6);
    }
    const [south, north] = [this.#projection.lat(camera.worldY(height)), this.#projection.lat(camera.worldY(0))];
    for (let lat = Math.ceil(south / step) * step; lat <= north; lat += step) {
      const py = Math.round(camera.screenY(this.#projection.y(lat))) + 0.5;
      context.moveTo(0, py);
      context.lineTo(width, py);
      context.fillText(`${lat.toFixed(digits)}°`, 6, py + 4);
    }
    context.stroke();
  }
}

function trace(path: Path2D, points: [number, number][], isClosed: boolean): void {
  points.forEach(([x, y], i) => (i === 0 ? path.moveTo(x, y) : path.lineTo(x, y)));
  if (isClosed) path.closePath();
}

/** The next of 1, 2, 5, 10, 20, … times a power of ten. */
export function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((it) => it * power).find((it) => it >= least) ?? 10 * power;
}
