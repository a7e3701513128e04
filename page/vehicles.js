// The marks on the map: what each looks like, how it moves between two words from the node, and
// which one is under the pointer.

import { Batch, LINE_CORNERS, LINE_FLOATS, SPRITE_CORNERS, SPRITE_FLOATS, Stage, growth } from "./sprites.js";
import { COLOURS, DRIVER, SHAPE, isAwaited, stageOf } from "./status.js";

/** A jump this long is not a drive. */
const JUMP_M = 3000;
/** How long a vehicle may take to glide to where it was last seen, in seconds. */
const GLIDE = { least: 0.45, most: 4.5 };

/** Where no graphics card helps the processor draws, and has better things to do: then 20 frames a
    second must do. */
const SLOW = { frameMs: 28, drawEveryMs: 48 };

const colour = Object.fromEntries(COLOURS.map((name, i) => [name, i]));

export class Vehicles {
  #stage;
  #projection;
  #camera;
  #board;
  #lines;
  #jobs;
  /** Drivers with nothing to do lie below those at work. */
  #idle;
  #drivers;
  #selection;
  /** When each driver last moved, in seconds. */
  #movedAt = new Map();
  #hidden = new Set();
  #selected = null;
  #stillness = matchMedia("(prefers-reduced-motion: reduce)");
  #drawnAt = 0;
  #betweenMs = 16;
  #isSlow = false;
  /** Milliseconds of script per frame, lately; for tests and the curious. */
  frameMs = 0;
  frames = 0;

  constructor(canvas, camera, projection, board) {
    this.#stage = new Stage(canvas);
    this.#camera = camera;
    this.#projection = projection;
    this.#board = board;
    this.#prepare();
    board.addEventListener("marks", ({ detail }) => this.#take(detail));
    requestAnimationFrame(() => this.#frame());
  }

  recolour() {
    this.#stage.recolour();
  }

  /** Shows or hides drivers of one status. */
  setHidden(status, isHidden) {
    if (isHidden) this.#hidden.add(status);
    else this.#hidden.delete(status);
    for (const mark of this.#board.marks.values()) if (mark.kind === "driver") this.#put(mark);
  }

  /** Rings a mark; null rings none. */
  select(id) {
    const before = this.#selected;
    this.#selected = id;
    for (const it of [before, id]) {
      const mark = this.#board.marks.get(it);
      if (mark?.kind === "driver") for (const job of mark.jobs) this.#join(job.order ?? job.rescue);
      else if (mark) this.#join(it);
    }
  }

  /** Where a mark is drawn now, in metres, or null. */
  where(id) {
    const floats = this.#driver(id) ?? this.#jobs.get(id);
    return floats ? whereNow(floats, seconds()) : null;
  }

  /** The mark nearest to a point on the screen, within a finger's width, or null. */
  pick(px, py, reach = 14) {
    const now = seconds();
    let [best, nearest] = [null, reach + 5 * growth(this.#camera.zoom)];
    for (const [batch, handicap] of [[this.#jobs, 0], [this.#drivers, 1], [this.#idle, 2]]) {
      for (let slot = 0; slot < batch.n; slot += 1) {
        const floats = batch.at(slot);
        if (floats[7] === 0) continue;
        const [x, y] = whereNow(floats, now);
        const far = Math.hypot(this.#camera.screenX(x) - px, this.#camera.screenY(y) - py) + handicap;
        if (far < nearest) [best, nearest] = [batch.ids()[slot], far];
      }
    }
    return best;
  }

  #prepare() {
    const { gl } = this.#stage;
    this.#stage.recolour();
    this.#lines = new Batch(gl, LINE_CORNERS, LINE_FLOATS);
    this.#jobs = new Batch(gl, SPRITE_CORNERS, SPRITE_FLOATS);
    this.#idle = new Batch(gl, SPRITE_CORNERS, SPRITE_FLOATS);
    this.#drivers = new Batch(gl, SPRITE_CORNERS, SPRITE_FLOATS);
    this.#selection = new Batch(gl, SPRITE_CORNERS, SPRITE_FLOATS);
  }

  #take({ changed, gone }) {
    for (const id of gone) {
      this.#drivers.remove(id);
      this.#idle.remove(id);
      this.#jobs.remove(id);
      this.#lines.remove(id);
      this.#movedAt.delete(id);
    }
    for (const mark of changed) if (mark.kind === "driver") this.#put(mark);
    for (const mark of changed) {
      if (mark.kind === "driver") for (const job of mark.jobs) this.#join(job.order ?? job.rescue);
      else this.#place(mark);
    }
  }

  /** Starts a driver's glide from where it is drawn to where it was seen. */
  #put({ id, at, status }) {
    const now = seconds();
    const known = this.#driver(id);
    const [x, y] = [this.#projection.x(at.lon), this.#projection.y(at.lat)];
    let [fromX, fromY, duration, heading] = [x, y, 0, known?.[6] ?? 0];
    if (known) {
      const [wasX, wasY] = whereNow(known, now);
      const far = Math.hypot(x - known[2], y - known[3]);
      if (far < 0.5) {
        // Only its status changed: let it glide on.
        [fromX, fromY, duration] = [wasX, wasY, Math.max(0, known[4] + known[5] - now)];
      } else if (far < JUMP_M) {
        [fromX, fromY] = [wasX, wasY];
        const pause = now - (this.#movedAt.get(id) ?? now - 1);
        duration = Math.min(GLIDE.most, Math.max(GLIDE.least, pause * 1.08));
        if (Math.hypot(x - wasX, y - wasY) > 4) heading = Math.atan2(x - wasX, y - wasY);
        this.#movedAt.set(id, now);
      }
    }
    const look = DRIVER[status] ?? DRIVER.offline;
    const isAway = look.colour === "away";
    const size = this.#hidden.has(status) ? 0 : look.shape === SHAPE.arrow ? 8.6 : isAway ? 4.6 : look.shape === SHAPE.dot ? 5 : 6;
    const floats = [fromX, fromY, x, y, now, duration, heading, size, look.shape, colour[look.colour], 0, isAway ? 0.75 : 1];
    const isWorking = look.shape === SHAPE.arrow || look.shape === SHAPE.diamond;
    (isWorking ? this.#drivers : this.#idle).set(id, floats);
    (isWorking ? this.#idle : this.#drivers).remove(id);
  }

  #driver(id) {
    return this.#drivers.get(id) ?? this.#idle.get(id);
  }

  /** Thousands of idle drivers over a whole city must not hide the city. */
  #thinness() {
    const crowd = Math.log10(Math.max(1, this.#idle.n / 400));
    return this.#camera.zoom > 0.16 ? 1 : Math.max(0.5, 1 - crowd * 0.45);
  }

  /** Puts an order or a rescue where it has to be noticed now. */
  #place(mark) {
    const stage = stageOf(mark.kind, mark.status);
    const isRescue = mark.kind === "rescue";
    const isOnBoard = !isRescue && stage === "active" && !isAwaited("order", mark.status);
    const at = isRescue ? mark.at : isOnBoard || stage === "completed" ? mark.dropoff : mark.pickup;
    const [x, y] = [this.#projection.x(at.lon), this.#projection.y(at.lat)];
    const own = isRescue ? "rescue" : mark.sort === "ride" ? "ride" : "delivery";
    const shape = isRescue ? SHAPE.triangle : isOnBoard ? SHAPE.flag : own === "ride" ? SHAPE.ring : SHAPE.square;
    const isStill = this.#stillness.matches;
    const [tint, pulse, size, opacity] = {
      searching: [own, isStill ? 0 : isRescue ? 0.9 : 0.55, isRescue ? 8.5 : 6, 1],
      active: [own, isRescue && !isStill ? 0.35 : 0, isRescue ? 8 : isOnBoard ? 5 : 5.6, isOnBoard ? 0.85 : 1],
      completed: ["good", 0, 5, 0.8],
      cancelled: ["bad", 0, 5, 0.7],
      no_driver: ["bad", 0, 5.5, 0.9],
    }[stage];
    this.#jobs.set(mark.id, [x, y, x, y, 0, 0, 0, size, shape, colour[tint], pulse, opacity]);
    this.#join(mark.id);
  }

  /** Draws the line from a job to whoever performs it, from where that one is. */
  #join(id) {
    const mark = this.#board.marks.get(id);
    const driver = mark?.driver ? this.#driver(mark.driver) : undefined;
    if (!driver || stageOf(mark.kind, mark.status) !== "active") {
      this.#lines.remove(id);
      return;
    }
    const job = this.#jobs.get(id);
    if (!job) return;
    const dash = isAwaited(mark.kind, mark.status) ? 9 : 0;
    // A pickup is about to happen; a trip under way is only interesting when asked for.
    const isChosen = this.#selected !== null && (this.#selected === id || this.#selected === mark.driver);
    const strength = isChosen ? 1 : dash > 0 ? 0.72 : 0.2;
    const tint = mark.kind === "rescue" ? "rescue" : mark.sort === "ride" ? "ride" : "delivery";
    this.#lines.set(id, [driver[0], driver[1], driver[2], driver[3], driver[4], driver[5], job[2], job[3], colour[tint], dash, strength]);
  }

  #frame() {
    requestAnimationFrame(() => this.#frame());
    const start = performance.now();
    const since = start - this.#drawnAt;
    if (this.#isSlow && since < SLOW.drawEveryMs) return;
    this.#drawnAt = start;
    // A pause (another tab, a busy moment) is not slowness.
    if (since < 250) this.#betweenMs += (since - this.#betweenMs) * 0.05;
    this.#isSlow ||= this.frames > 60 && this.#betweenMs > SLOW.frameMs;
    const floats = this.#selected && (this.#driver(this.#selected) ?? this.#jobs.get(this.#selected));
    if (floats) {
      const ring = Float32Array.from(floats);
      ring.set([0, 11, SHAPE.target, colour.accent, this.#stillness.matches ? 0 : 0.5, 1], 6);
      this.#selection.set("selected", ring);
    } else {
      this.#selection.remove("selected");
    }
    this.#stage.draw(this.#camera, seconds(), this.#lines, [[this.#idle, this.#thinness()], [this.#jobs, 1], [this.#drivers, 1], [this.#selection, 1]]);
    this.frames += 1;
    this.frameMs += (performance.now() - start - this.frameMs) * 0.1;
  }
}

/** Seconds since the page opened: small enough for the graphics card's short numbers. */
function seconds() {
  return performance.now() / 1000;
}

function whereNow(floats, now) {
  const k = floats[5] > 0 ? Math.min(1, Math.max(0, (now - floats[4]) / floats[5])) : 1;
  return [floats[0] + (floats[2] - floats[0]) * k, floats[1] + (floats[3] - floats[1]) * k];
}
