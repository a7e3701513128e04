// Where the viewer looks: metres around an origin, and how many pixels a metre is.

const EARTH_RADIUS_M = 6_371_008.8;
const RADIANS = Math.PI / 180;
const M_PER_DEGREE = EARTH_RADIUS_M * RADIANS;
/** Nearer to a pole Mercator draws nothing: there its square world ends. */
const LAT_MOST = 85.051129;
/** What a tile measures on the screen at its own zoom, in CSS pixels. */
const TILE_PX = 512;
/** CSS pixels per metre: a whole region, and a doorstep. */
const ZOOM = { least: 0.004, most: 4 };
const FLIGHT_MS = 450;

export interface LatLon {
  lat: number;
  lon: number;
}

export interface Bounds {
  west: number;
  east: number;
  south: number;
  north: number;
}

/**
 * A flat map good for one city: x metres east and y metres north of an origin. It is Web Mercator, drawn as large as the ground is at
 * the origin, so that it lies exactly on the tiles of any other map; some kilometres away a metre is longer by a few thousandths.
 */
export class Projection {
  /** How many metres a degree of longitude is, everywhere on this map. */
  mPerLon = 0;
  origin: LatLon = { lat: 0, lon: 0 };
  #originY = 0;

  constructor(origin: LatLon) {
    this.moveTo(origin);
  }

  /** Takes another origin: all that was placed is elsewhere then. */
  moveTo(origin: LatLon): void {
    this.origin = origin;
    this.mPerLon = M_PER_DEGREE * Math.cos(origin.lat * RADIANS);
    this.#originY = stretched(origin.lat);
  }

  x(lon: number): number {
    return (lon - this.origin.lon) * this.mPerLon;
  }

  y(lat: number): number {
    return (stretched(lat) - this.#originY) * this.mPerLon;
  }

  lon(x: number): number {
    return this.origin.lon + x / this.mPerLon;
  }

  lat(y: number): number {
    return Math.atan(Math.sinh((this.#originY + y / this.mPerLon) * RADIANS)) / RADIANS;
  }

  /** The zoom, as maps of tiles count it (the world is 512 CSS pixels wide at 0), at which a metre of this one is so many CSS pixels. */
  tileZoom(pxPerM: number): number {
    return Math.log2((pxPerM * this.mPerLon * 360) / TILE_PX);
  }

  /** Metres between two places. */
  apart(a: LatLon, b: LatLon): number {
    const lon = (a.lon - b.lon) * Math.cos(((a.lat + b.lat) / 2) * RADIANS);
    return Math.hypot(lon, a.lat - b.lat) * M_PER_DEGREE;
  }
}

/** Where Mercator draws a latitude: how far from the equator, in degrees of longitude. */
function stretched(lat: number): number {
  const drawn = Math.min(LAT_MOST, Math.max(-LAT_MOST, lat));
  return Math.asinh(Math.tan(drawn * RADIANS)) / RADIANS;
}

/** Emits `change` whenever it looks elsewhere. */
export class Camera extends EventTarget {
  x = 0;
  y = 0;
  /** CSS pixels per metre. */
  zoom = 0.05;
  width = 1;
  height = 1;
  #bounds: Bounds = { west: -6000, east: 6000, south: -6000, north: 6000 };
  #flight: number | null = null;
  /** Until the viewer moves it, the camera keeps the whole city in view. */
  #isFitted = true;

  resize(width: number, height: number): void {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    if (this.#isFitted) this.fit();
    else this.#changed();
  }

  /** What "the whole city" is, in metres. */
  setBounds(bounds: Bounds): void {
    this.#bounds = bounds;
    if (this.#isFitted) this.fit();
  }

  /** Shows the whole city. */
  fit(): void {
    const { west, east, south, north } = this.#bounds;
    // The short side is filled and the long one cropped a little: a map with wide margins says less.
    const zoom = Math.min(this.width / (east - west), this.height / (north - south)) * 1.12;
    this.#cancelFlight();
    this.#place((west + east) / 2, (south + north) / 2, zoom);
    this.#isFitted = true;
  }

  /** Moves by CSS pixels. */
  pan(dx: number, dy: number): void {
    this.#cancelFlight();
    this.#place(this.x - dx / this.zoom, this.y + dy / this.zoom, this.zoom);
  }

  /** Zooms by a factor about a point on the screen. */
  zoomAt(factor: number, px = this.width / 2, py = this.height / 2): void {
    this.#cancelFlight();
    const zoom = clamp(this.zoom * factor, ZOOM.least, ZOOM.most);
    const [x, y] = [this.worldX(px), this.worldY(py)];
    this.#place(x - (px - this.width / 2) / zoom, y + (py - this.height / 2) / zoom, zoom);
  }

  /** Goes there, smoothly unless the viewer prefers less motion. */
  flyTo(x: number, y: number, zoom = this.zoom): void {
    this.#cancelFlight();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return this.#place(x, y, zoom);
    const from = { x: this.x, y: this.y, zoom: this.zoom };
    const start = performance.now();
    const step = (now: number): void => {
      const t = clamp((now - start) / FLIGHT_MS, 0, 1);
      const k = 1 - (1 - t) ** 3;
      this.#place(from.x + (x - from.x) * k, from.y + (y - from.y) * k, from.zoom * (zoom / from.zoom) ** k);
      this.#flight = t < 1 ? requestAnimationFrame(step) : null;
    };
    this.#flight = requestAnimationFrame(step);
  }

  /** Goes where all of these are in view, in metres, no closer than needed to tell them apart. */
  flyToAll(points: readonly (readonly [number, number])[]): void {
    if (points.length === 0) return;
    const xs = points.map(([x]) => x);
    const ys = points.map(([, y]) => y);
    const [west, east, south, north] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const zoom = Math.min(this.width / (east - west + 600), this.height / (north - south + 600)) * 0.72;
    this.flyTo((west + east) / 2, (south + north) / 2, clamp(zoom, ZOOM.least, 0.3));
  }

  /** Keeps a moving point in the middle. */
  follow(x: number, y: number): void {
    if (this.#flight === null) this.#place(x, y, this.zoom);
  }

  screenX(x: number): number {
    return (x - this.x) * this.zoom + this.width / 2;
  }

  screenY(y: number): number {
    return (this.y - y) * this.zoom + this.height / 2;
  }

  worldX(px: number): number {
    return this.x + (px - this.width / 2) / this.zoom;
  }

  worldY(py: number): number {
    return this.y - (py - this.height / 2) / this.zoom;
  }

  #place(x: number, y: number, zoom: number): void {
    this.#isFitted = false;
    if (x === this.x && y === this.y && zoom === this.zoom) return;
    this.x = x;
    this.y = y;
    this.zoom = clamp(zoom, ZOOM.least, ZOOM.most);
    this.#changed();
  }

  #cancelFlight(): void {
    if (this.#flight !== null) cancelAnimationFrame(this.#flight);
    this.#flight = null;
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}
