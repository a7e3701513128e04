// Where the viewer looks: metres around an origin, and how many pixels a metre is.

const EARTH_RADIUS_M = 6_371_008.8;
const RADIANS = Math.PI / 180;
const ZOOM = { least: 0.004, most: 4 };

/** A flat map good for one city: x metres east and y metres north of an origin. */
export class Projection {
  constructor(origin) {
    this.origin = origin;
    this.mPerLat = EARTH_RADIUS_M * RADIANS;
    this.mPerLon = this.mPerLat * Math.cos(origin.lat * RADIANS);
  }

  x(lon) {
    return (lon - this.origin.lon) * this.mPerLon;
  }

  y(lat) {
    return (lat - this.origin.lat) * this.mPerLat;
  }

  lon(x) {
    return this.origin.lon + x / this.mPerLon;
  }

  lat(y) {
    return this.origin.lat + y / this.mPerLat;
  }
}

/** Emits `change` whenever it looks elsewhere. */
export class Camera extends EventTarget {
  x = 0;
  y = 0;
  /** CSS pixels per metre. */
  zoom = 0.05;
  width = 1;
  height = 1;
  #bounds = { west: -6000, east: 6000, south: -6000, north: 6000 };
  #flight = null;
  /** Until the viewer moves it, the camera keeps the whole city in view. */
  #isFitted = true;

  resize(width, height) {
    this.width = width;
    this.height = height;
    if (this.#isFitted) this.fit();
    else this.#changed();
  }

  /** What "the whole city" is, in metres. */
  setBounds(bounds) {
    this.#bounds = bounds;
    if (this.#isFitted) this.fit();
  }

  /** Shows the whole city. */
  fit() {
    const { west, east, south, north } = this.#bounds;
    // The short side is filled and the long one cropped a little: a map with wide margins says less.
    const zoom = Math.min(this.width / (east - west), this.height / (north - south)) * 1.12;
    this.#cancelFlight();
    this.#place((west + east) / 2, (south + north) / 2, zoom);
    this.#isFitted = true;
  }

  /** Moves by CSS pixels. */
  pan(dx, dy) {
    this.#cancelFlight();
    this.#place(this.x - dx / this.zoom, this.y + dy / this.zoom, this.zoom);
  }

  /** Zooms by a factor about a point on the screen. */
  zoomAt(factor, px = this.width / 2, py = this.height / 2) {
    this.#cancelFlight();
    const zoom = clamp(this.zoom * factor, ZOOM.least, ZOOM.most);
    const [x, y] = [this.worldX(px), this.worldY(py)];
    this.#place(x - (px - this.width / 2) / zoom, y + (py - this.height / 2) / zoom, zoom);
  }

  /** Goes there, smoothly unless the viewer prefers less motion. */
  flyTo(x, y, zoom = this.zoom) {
    this.#cancelFlight();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return this.#place(x, y, zoom);
    const from = { x: this.x, y: this.y, zoom: this.zoom };
    const start = performance.now();
    const step = (now) => {
      const t = Math.min(1, (now - start) / 450);
      const k = 1 - (1 - t) ** 3;
      const at = from.zoom * (zoom / from.zoom) ** k;
      this.#place(from.x + (x - from.x) * k, from.y + (y - from.y) * k, at);
      this.#flight = t < 1 ? requestAnimationFrame(step) : null;
    };
    this.#flight = requestAnimationFrame(step);
  }

  /** Keeps a moving point in the middle. */
  follow(x, y) {
    if (this.#flight === null) this.#place(x, y, this.zoom);
  }

  screenX(x) {
    return (x - this.x) * this.zoom + this.width / 2;
  }

  screenY(y) {
    return (this.y - y) * this.zoom + this.height / 2;
  }

  worldX(px) {
    return this.x + (px - this.width / 2) / this.zoom;
  }

  worldY(py) {
    return this.y - (py - this.height / 2) / this.zoom;
  }

  #place(x, y, zoom) {
    this.#isFitted = false;
    if (x === this.x && y === this.y && zoom === this.zoom) return;
    this.x = x;
    this.y = y;
    this.zoom = clamp(zoom, ZOOM.least, ZOOM.most);
    this.#changed();
  }

  #cancelFlight() {
    if (this.#flight !== null) cancelAnimationFrame(this.#flight);
    this.#flight = null;
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

function clamp(value, least, most) {
  return Math.min(most, Math.max(least, value));
}
