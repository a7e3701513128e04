// What does not move: water, parks, streets and names, painted only when the camera does.

const ROADS = [
  { cls: "street", width: 5, least: 0.7, from: 0.02 },
  { cls: "collector", width: 9, least: 1, from: 0 },
  { cls: "arterial", width: 15, least: 1.8, from: 0 },
];
/** A name stands about this far from its road's next name, in metres. */
const LABEL_M = 900;
const FONT = 'Inter, ui-sans-serif, system-ui, "Segoe UI", Roboto, sans-serif';

export class Ground {
  #canvas;
  #context;
  #camera;
  #projection;
  #roads = [];
  #named = [];
  #water = new Path2D();
  #parks = new Path2D();
  #places = [];
  #hasCity = false;
  #colours = {};
  #scheduled = false;

  constructor(canvas, camera, projection, city) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#camera = camera;
    this.#projection = projection;
    if (city) this.#lay(city);
    this.recolour();
    camera.addEventListener("change", () => this.#schedule());
  }

  /** Reads the colours from the style sheet again. */
  recolour() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ground", "water", "park", "street", "collector", "arterial", "casing", "label", "halo", "grid", "place"]) {
      this.#colours[name] = style.getPropertyValue(`--map-${name}`).trim();
    }
    this.#schedule();
  }

  #lay(city) {
    this.#hasCity = true;
    const paths = Object.fromEntries(ROADS.map(({ cls }) => [cls, new Path2D()]));
    for (const road of city.roads ?? []) {
      const points = road.line.map(([lon, lat]) => [this.#projection.x(lon), this.#projection.y(lat)]);
      trace(paths[road.class] ?? paths.street, points, false);
      if (road.name) this.#name(road.name, road.class, points);
    }
    this.#roads = ROADS.map((kind) => ({ ...kind, path: paths[kind.cls] }));
    this.#area(this.#water, city.water);
    this.#area(this.#parks, city.parks);
    this.#places = (city.places ?? []).map(({ name, at: [lon, lat] }) => (
      { name, x: this.#projection.x(lon), y: this.#projection.y(lat) }
    ));
    this.#named.sort((a, b) => b.length - a.length);
  }

  /** Remembers where along a named road its name can stand: each nearly straight piece. */
  #name(name, cls, points) {
    const heading = (i) => Math.atan2(points[i + 1][1] - points[i][1], points[i + 1][0] - points[i][0]);
    for (let i = 0, j; i + 1 < points.length; i = j) {
      const first = heading(i);
      let length = 0;
      for (j = i; j + 1 < points.length && length < LABEL_M; j += 1) {
        const turn = heading(j) - first;
        if (Math.abs(Math.atan2(Math.sin(turn), Math.cos(turn))) > 0.25) break;
        length += Math.hypot(points[j + 1][0] - points[j][0], points[j + 1][1] - points[j][1]);
      }
      const [dx, dy] = [points[j][0] - points[i][0], points[j][1] - points[i][1]];
      this.#named.push({
        name, cls, length: Math.hypot(dx, dy), angle: Math.atan2(dy, dx), x: points[i][0] + dx / 2, y: points[i][1] + dy / 2,
      });
    }
  }

  #area(path, shapes) {
    for (const shape of shapes ?? []) {
      // A shape is a ring of points; something richer carries its ring by name.
      const ring = Array.isArray(shape) ? shape : shape.ring ?? shape.line ?? [];
      trace(path, ring.map(([lon, lat]) => [this.#projection.x(lon), this.#projection.y(lat)]), true);
    }
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#paint();
    });
  }

  #paint() {
    const { width, height, zoom, x, y } = this.#camera;
    const ratio = Math.min(2, devicePixelRatio || 1);
    if (this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    const context = this.#context;
    const colours = this.#colours;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = colours.ground;
    context.fillRect(0, 0, width, height);
    if (!this.#hasCity) return this.#graticule(context, width, height);

    const scale = zoom * ratio;
    context.setTransform(scale, 0, 0, -scale, (width / 2) * ratio - x * scale, (height / 2) * ratio + y * scale);
    context.fillStyle = colours.park;
    context.fill(this.#parks);
    context.fillStyle = colours.water;
    context.fill(this.#water);
    context.lineCap = "round";
    context.lineJoin = "round";
    for (const { cls, path, width: metres, least, from } of this.#roads) {
      if (zoom < from) continue;
      const wide = Math.max(metres, least / zoom);
      if (cls === "arterial" && zoom > 0.05) {
        context.strokeStyle = colours.casing;
        context.lineWidth = wide + 2 / zoom;
        context.stroke(path);
      }
      context.strokeStyle = colours[cls];
      context.lineWidth = wide;
      context.stroke(path);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#names(context, width, height, zoom);
  }

  #names(context, width, height, zoom) {
    const taken = [];
    const isFree = (cx, cy, w, h) => {
      const box = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2];
      if (box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height) return false;
      if (taken.some((it) => box[0] < it[2] && box[2] > it[0] && box[1] < it[3] && box[3] > it[1])) return false;
      taken.push(box);
      return true;
    };
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineJoin = "round";
    context.strokeStyle = this.#colours.halo;

    const size = zoom > 0.15 ? 13 : 11.5;
    context.font = `600 ${size}px ${FONT}`;
    context.letterSpacing = "0.12em";
    context.lineWidth = 4;
    context.fillStyle = this.#colours.place;
    for (const place of zoom < 0.9 ? this.#places : []) {
      const [px, py] = [this.#camera.screenX(place.x), this.#camera.screenY(place.y)];
      const text = place.name.toUpperCase();
      if (!isFree(px, py, context.measureText(text).width + 16, size + 12)) continue;
      context.strokeText(text, px, py);
      context.fillText(text, px, py);
    }

    context.font = `500 11px ${FONT}`;
    context.letterSpacing = "0.02em";
    context.lineWidth = 3;
    context.fillStyle = this.#colours.label;
    const used = new Map();
    for (const road of this.#named) {
      const room = road.length * zoom;
      if (room < 48) break;
      if (road.cls !== "arterial" && zoom < 0.14) continue;
      const [px, py] = [this.#camera.screenX(road.x), this.#camera.screenY(road.y)];
      const wide = context.measureText(road.name).width;
      if (wide > room - 8) continue;
      // The same name twice side by side reads as two streets.
      if ((used.get(road.name) ?? []).some((at) => Math.hypot(at[0] - px, at[1] - py) < 380)) continue;
      let angle = -road.angle;
      if (angle > Math.PI / 2) angle -= Math.PI;
      if (angle < -Math.PI / 2) angle += Math.PI;
      const [cos, sin] = [Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle))];
      if (!isFree(px, py, wide * cos + 14 * sin, wide * sin + 14 * cos)) continue;
      used.set(road.name, [...(used.get(road.name) ?? []), [px, py]]);
      context.save();
      context.translate(px, py);
      context.rotate(angle);
      context.strokeText(road.name, 0, 0);
      context.fillText(road.name, 0, 0);
      context.restore();
    }
    context.letterSpacing = "0px";
  }

  /** Lines of latitude and longitude, for a city nobody has drawn. */
  #graticule(context, width, height) {
    const camera = this.#camera;
    const step = niceStep(110 / camera.zoom / this.#projection.mPerLat);
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    context.strokeStyle = this.#colours.grid;
    context.fillStyle = this.#colours.label;
    context.font = `500 10px ${FONT}`;
    context.textBaseline = "top";
    context.lineWidth = 1;
    context.beginPath();
    const west = this.#projection.lon(camera.worldX(0));
    const east = this.#projection.lon(camera.worldX(width));
    context.textAlign = "left";
    for (let lon = Math.ceil(west / step) * step; lon <= east; lon += step) {
      const px = Math.round(camera.screenX(this.#projection.x(lon))) + 0.5;
      context.moveTo(px, 0);
      context.lineTo(px, height);
      context.fillText(`${lon.toFixed(digits)}°`, px + 4, 6);
    }
    const south = this.#projection.lat(camera.worldY(height));
    const north = this.#projection.lat(camera.worldY(0));
    for (let lat = Math.ceil(south / step) * step; lat <= north; lat += step) {
      const py = Math.round(camera.screenY(this.#projection.y(lat))) + 0.5;
      context.moveTo(0, py);
      context.lineTo(width, py);
      context.fillText(`${lat.toFixed(digits)}°`, 6, py + 4);
    }
    context.stroke();
  }
}

function trace(path, points, isClosed) {
  points.forEach(([x, y], i) => (i === 0 ? path.moveTo(x, y) : path.lineTo(x, y)));
  if (isClosed) path.closePath();
}

/** The next of 1, 2, 5, 10, 20, … times a power of ten. */
export function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((it) => it * power).find((it) => it >= least) ?? 10 * power;
}
