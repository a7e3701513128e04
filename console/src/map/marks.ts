// The marks on the map: what each looks like, how it moves between two words from the node, which one is under the
// pointer, and when so many of them are drawn as one.

import type { Board, Change, DriverMark, JobMark } from "../board.js";
import { COLOURS, DRIVER, SHAPE, isAwaited, stageOf, type Colour, type Sort } from "../status.js";
import type { Camera, LatLon, Projection } from "./camera.js";
import { isWithin } from "./hexes.js";
import type { Region } from "./regions.js";
import { Batch, LINE_CORNERS, LINE_FLOATS, SPRITE_CORNERS, SPRITE_FLOATS, Stage, growth, type Layer } from "./sprites.js";

/** More jobs than this that wait, and only rescues pulse. */
const PULSES_MAX = 120;
/** Pulses a second of what waits, and of a rescue that does. */
const PULSE = { waits: 0.55, rescue: 0.9 };
/** More lines than this, and those of trips under way are left out. */
const LINES_MAX = 250;
/** A jump this long is not a drive. */
const JUMP_M = 3000;
/** How long a vehicle may take to glide to where it was last seen, in seconds. */
const GLIDE = { least: 0.45, most: 4.5 };
/** Where no graphics card helps the processor draws, and has better things to do: then 20 frames a
    second must do. */
const SLOW = { frameMs: 28, drawEveryMs: 48 };
/** More drivers than this in view, and closer together than this, in pixels per metre, are drawn as crowds. */
const CROWD = { drivers: 600, zoom: 0.16, cellPx: 76, everyMs: 500 };

/** So many frames are timed. */
const TIMED_MAX = 128;

const colour = Object.fromEntries(COLOURS.map((name, i) => [name, i])) as Record<Colour, number>;

/** Drivers drawn as one: where, how many, and how many of them are available and at work; and how many jobs are under way there. */
export interface Crowd {
  x: number;
  y: number;
  n: number;
  nAvailable: number;
  nWorking: number;
  nUnderway: number;
}

/** How far a job is, as the map tells them apart. */
export type Progress = "waiting" | "held" | "scheduled" | "underway" | "completed" | "cancelled" | "no_driver";

/** What of the board is drawn. */
export interface Filter {
  /** Statuses of drivers that are not. */
  hiddenDrivers: ReadonlySet<string>;
  /** Vehicles whose drivers are not. */
  hiddenVehicles: ReadonlySet<string>;
  /** Sorts of jobs that are not. */
  hiddenSorts: ReadonlySet<Sort>;
  /** How far jobs are that are not. */
  hiddenProgress: ReadonlySet<Progress>;
  /** The only one whose marks are; none, if all are. */
  region: Region | null;
}

export const EVERYTHING: Filter = { hiddenDrivers: new Set(), hiddenVehicles: new Set(), hiddenSorts: new Set(), hiddenProgress: new Set(), region: null };

/** Does it lie where the filter looks? */
export function isInRegion({ region }: Filter, at: LatLon): boolean {
  return region === null || isWithin(region.outline, at);
}

/** Is a driver left out? */
export function isDriverHidden(filter: Filter, { status, vehicle, at }: DriverMark): boolean {
  return filter.hiddenDrivers.has(status) || (vehicle !== null && filter.hiddenVehicles.has(vehicle)) || !isInRegion(filter, at);
}

/** How far it is. */
export function progressOf({ kind, status, isHeld }: JobMark): Progress {
  const stage = stageOf(kind, status);
  if (stage === "active") return "underway";
  if (stage !== "searching") return stage;
  return status === "scheduled" || status === "awaiting_payment" ? "scheduled" : isHeld ? "held" : "waiting";
}

/** Is a job left out? */
export function isJobHidden(filter: Filter, mark: JobMark): boolean {
  return filter.hiddenSorts.has(mark.sort) || filter.hiddenProgress.has(progressOf(mark)) || !isInRegion(filter, mark.at);
}

export class Marks {
  readonly #stage: Stage;
  readonly #projection: Projection;
  readonly #camera: Camera;
  readonly #board: Board;
  readonly #lines: Batch;
  readonly #route: Batch;
  /** Jobs that wait for somebody, and those that have ended. */
  readonly #jobs: Batch;
  /** Jobs that somebody performs: below the others, and of less interest in a crowd. */
  readonly #underway: Batch;
  /** Drivers with nothing to do lie below those at work. */
  readonly #idle: Batch;
  readonly #drivers: Batch;
  readonly #selection: Batch;
  readonly #ring = new Float32Array(SPRITE_FLOATS.reduce((sum, n) => sum + n));
  /** When each driver last moved, in seconds. */
  readonly #movedAt = new Map<string, number>();
  #filter: Filter = EVERYTHING;
  #selected: string | null = null;
  #isStill = matchMedia("(prefers-reduced-motion: reduce)");
  #drawnAt = 0;
  #betweenMs = 16;
  #isSlow = false;
  #crowds: Crowd[] | null = null;
  #crowdedAt = 0;
  #isLost = false;
  /** Called with the crowds when they are others, or with null when everybody is drawn. */
  oncrowds: (crowds: Crowd[] | null) => void = () => {};
  /** Called before each frame. */
  onframe: () => void = () => {};
  frames = 0;
  readonly #scriptMs = new Float32Array(TIMED_MAX);
  readonly #glMs = new Float32Array(TIMED_MAX);

  constructor(canvas: HTMLCanvasElement, camera: Camera, projection: Projection, board: Board) {
    this.#stage = new Stage(canvas);
    const { gl } = this.#stage;
    this.#camera = camera;
    this.#projection = projection;
    this.#board = board;
    this.#lines = new Batch(gl, LINE_CORNERS, LINE_FLOATS);
    this.#route = new Batch(gl, LINE_CORNERS, LINE_FLOATS);
    this.#jobs = new Batch(gl, SPRITE_CORNERS, SPRITE_FLOATS);
    this.#underway = new Batch(gl, SPRITE_CORNERS, SPRITE_FLOATS);
    this.#idle = new Batch(gl, SPRITE_CORNERS, SPRITE_FLOATS);
    this.#drivers = new Batch(gl, SPRITE_CORNERS, SPRITE_FLOATS);
    this.#selection = new Batch(gl, SPRITE_CORNERS, SPRITE_FLOATS);
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      this.#isLost = true;
    });
    canvas.addEventListener("webglcontextrestored", () => {
      this.#stage.restore();
      for (const batch of [this.#lines, this.#route, this.#jobs, this.#underway, this.#idle, this.#drivers, this.#selection]) batch.restore();
      this.#isLost = false;
    });
    board.on("marks", (change) => this.#take(change));
    this.#take({ changed: [...board.marks.values()], gone: [] });
    requestAnimationFrame(this.#frame);
  }

  recolour(): void {
    this.#stage.recolour();
  }

  /** Shows and hides. */
  filter(filter: Filter): void {
    this.#filter = filter;
    this.#take({ changed: [...this.#board.marks.values()], gone: [] });
    this.#crowdedAt = 0;
  }

  /** Rings a mark and draws its lines strongly; null rings none. */
  select(id: string | null): void {
    const before = this.#selected;
    this.#selected = id;
    for (const it of [before, id]) this.#joinAll(it);
  }

  /** Draws a way, in metres; an empty one is none. */
  route(legs: readonly { points: readonly (readonly [number, number])[]; sort: Sort; isAhead: boolean }[]): void {
    this.#route.clear();
    legs.forEach(({ points, sort, isAhead }, leg) => {
      for (let i = 1; i < points.length; i += 1) {
        const [a, b] = [points[i - 1]!, points[i]!];
        this.#route.set(`${leg}.${i}`, [b[0], b[1], b[0], b[1], 0, 0, a[0], a[1], colour[sort], 0, isAhead ? 0.42 : 0.95]);
      }
    });
    this.#joinAll(this.#selected);
  }

  /** Where a mark is drawn now, in metres, or null. */
  where(id: string): [number, number] | null {
    const floats = this.#driver(id) ?? this.#job(id);
    return floats ? whereNow(floats, seconds()) : null;
  }

  /** The mark nearest to a point on the screen, within a finger's width, or null. */
  pick(px: number, py: number, reach = 14): string | null {
    const now = seconds();
    let best: string | null = null;
    let nearest = reach + 5 * growth(this.#camera.zoom);
    const layers: [Batch, number][] = this.#crowds
      ? [[this.#jobs, 0]]
      : [[this.#jobs, 0], [this.#underway, 0], [this.#drivers, 1], [this.#idle, 2]];
    for (const [batch, handicap] of layers) {
      // Whoever points has thousands looked at many times a second: their numbers are read in place.
      const { floats, stride } = batch;
      for (let slot = 0; slot < batch.n; slot += 1) {
        const at = slot * stride;
        if (floats[at + 7] === 0) continue;
        const k = glidden(floats, now, at);
        const dx = this.#camera.screenX(floats[at]! + (floats[at + 2]! - floats[at]!) * k) - px;
        const dy = this.#camera.screenY(floats[at + 1]! + (floats[at + 3]! - floats[at + 1]!) * k) - py;
        const far = Math.hypot(dx, dy) + handicap;
        if (far < nearest) [best, nearest] = [batch.ids()[slot]!, far];
      }
    }
    return best;
  }

  /**
   * What half of the last frames took at most, in milliseconds: of script, and how much of it in calls of WebGL. Those wait for
   * the processor where it draws, and on a busy machine for everybody else.
   */
  took(): { script: number; gl: number } {
    const median = (times: Float32Array): number => times.slice(0, Math.min(this.frames, TIMED_MAX)).sort()[Math.min(this.frames, TIMED_MAX) >> 1] ?? 0;
    return { script: median(this.#scriptMs), gl: median(this.#glMs) };
  }

  #take({ changed, gone }: Change): void {
    for (const id of gone) {
      this.#drivers.remove(id);
      this.#idle.remove(id);
      this.#jobs.remove(id);
      this.#underway.remove(id);
      this.#lines.remove(id);
      this.#movedAt.delete(id);
    }
    for (const mark of changed) if (mark.kind === "driver") this.#put(mark);
    for (const mark of changed) {
      if (mark.kind === "driver") for (const job of mark.jobs) this.#join(job);
      else this.#place(mark);
    }
  }

  /** Starts a driver's glide from where it is drawn to where it was seen. */
  #put(mark: DriverMark): void {
    const { id, at, status } = mark;
    const now = seconds();
    const known = this.#driver(id);
    const [x, y] = [this.#projection.x(at.lon), this.#projection.y(at.lat)];
    let [fromX, fromY, duration, heading] = [x, y, 0, known?.[6] ?? 0];
    if (known) {
      const [wasX, wasY] = whereNow(known, now);
      const far = Math.hypot(x - known[2]!, y - known[3]!);
      if (far < 0.5) {
        // Only its status changed: let it glide on.
        [fromX, fromY, duration] = [wasX, wasY, Math.max(0, known[4]! + known[5]! - now)];
      } else if (far < JUMP_M) {
        [fromX, fromY] = [wasX, wasY];
        const pause = now - (this.#movedAt.get(id) ?? now - 1);
        duration = Math.min(GLIDE.most, Math.max(GLIDE.least, pause * 1.08));
        if (Math.hypot(x - wasX, y - wasY) > 4) heading = Math.atan2(x - wasX, y - wasY);
        this.#movedAt.set(id, now);
      }
    }
    const look = DRIVER[status as keyof typeof DRIVER] ?? DRIVER.offline;
    const isAway = look.colour === "away";
    const size = isDriverHidden(this.#filter, mark) ? 0 : look.shape === SHAPE.arrow ? 8.6 : isAway ? 4.6 : look.shape === SHAPE.dot ? 5 : 6;
    const isWorking = look.shape === SHAPE.arrow || look.shape === SHAPE.diamond;
    (isWorking ? this.#drivers : this.#idle).set(id, [fromX, fromY, x, y, now, duration, heading, size, look.shape, colour[look.colour], 0, isAway ? 0.75 : 1]);
    (isWorking ? this.#idle : this.#drivers).remove(id);
  }

  #driver(id: string): Float32Array | undefined {
    return this.#drivers.get(id) ?? this.#idle.get(id);
  }

  #job(id: string): Float32Array | undefined {
    return this.#jobs.get(id) ?? this.#underway.get(id);
  }

  /** Thousands of idle drivers over a whole city must not hide the city. */
  #thinness(): number {
    const crowd = Math.log10(Math.max(1, this.#idle.n / 400));
    return this.#camera.zoom > 0.16 ? 1 : Math.max(0.5, 1 - crowd * 0.45);
  }

  /** Puts an order or a rescue where it has to be noticed now. */
  #place(mark: JobMark): void {
    const stage = stageOf(mark.kind, mark.status);
    const isRescue = mark.sort === "rescue";
    const isOnBoard = !isRescue && stage === "active" && !isAwaited("order", mark.status);
    const at = (isOnBoard || stage === "completed" ? mark.dropoff : null) ?? mark.at;
    const [x, y] = [this.#projection.x(at.lon), this.#projection.y(at.lat)];
    const shape = isRescue ? SHAPE.triangle : isOnBoard ? SHAPE.flag : mark.sort === "ride" ? SHAPE.ring : SHAPE.square;
    const isStill = this.#isStill.matches;
    const [tint, pulse, size, opacity]: [Colour, number, number, number] = {
      searching: [mark.sort, isStill ? 0 : isRescue ? PULSE.rescue : PULSE.waits, isRescue ? 8.5 : 6, 1] as [Colour, number, number, number],
      active: [mark.sort, isRescue && !isStill ? 0.35 : 0, isRescue ? 8 : isOnBoard ? 5 : 5.6, isOnBoard ? 0.85 : 1] as [Colour, number, number, number],
      completed: ["good", 0, 5, 0.8] as [Colour, number, number, number],
      cancelled: ["bad", 0, 5, 0.7] as [Colour, number, number, number],
      no_driver: ["bad", 0, 5.5, 0.9] as [Colour, number, number, number],
    }[stage];
    const shown = isJobHidden(this.#filter, mark) ? 0 : size;
    const [here, elsewhere] = stage === "active" && !isRescue ? [this.#underway, this.#jobs] : [this.#jobs, this.#underway];
    here.set(mark.id, [x, y, x, y, 0, 0, 0, shown, shape, colour[tint], pulse, opacity]);
    elsewhere.remove(mark.id);
    this.#join(mark.id);
  }

  /** Draws the lines that somebody has a part in. */
  #joinAll(id: string | null): void {
    const mark = id ? this.#board.marks.get(id) : undefined;
    if (mark?.kind === "driver") for (const job of mark.jobs) this.#join(job);
    else if (mark) this.#join(mark.id);
  }

  /** Draws the line from a job to whoever performs it, from where that one is. */
  #join(id: string): void {
    const mark = this.#board.job(id);
    const driver = mark?.driver ? this.#driver(mark.driver) : undefined;
    const job = this.#job(id);
    if (!mark || !driver || !job || job[7] === 0 || stageOf(mark.kind, mark.status) !== "active") {
      this.#lines.remove(id);
      return;
    }
    const dash = isAwaited(mark.kind, mark.status) ? 9 : 0;
    const isChosen = this.#selected !== null && (this.#selected === id || this.#selected === mark.driver);
    if (dash === 0 && !isChosen && this.#underway.n > LINES_MAX) {
      this.#lines.remove(id);
      return;
    }
    // A pickup is about to happen; a trip under way is only interesting when asked for.
    // Where the way itself is drawn, the straight line says nothing more.
    const strength = isChosen && this.#route.n > 0 ? 0.12 : isChosen ? 1 : dash > 0 ? 0.72 : 0.2;
    this.#lines.set(id, [driver[0]!, driver[1]!, driver[2]!, driver[3]!, driver[4]!, driver[5]!, job[0]!, job[1]!, colour[mark.sort], dash, strength]);
  }

  readonly #frame = (): void => {
    requestAnimationFrame(this.#frame);
    const start = performance.now();
    const since = start - this.#drawnAt;
    if (this.#isLost || this.#isSlow && since < SLOW.drawEveryMs) return;
    this.#drawnAt = start;
    // A pause (another tab, a busy moment) is not slowness.
    if (since < 250) this.#betweenMs += (since - this.#betweenMs) * 0.05;
    this.#isSlow ||= this.frames > 60 && this.#betweenMs > SLOW.frameMs;
    this.onframe();
    if (start - this.#crowdedAt > CROWD.everyMs) {
      this.#crowdedAt = start;
      this.#crowd();
    }
    const floats = this.#selected ? this.#driver(this.#selected) ?? this.#job(this.#selected) : undefined;
    if (floats) {
      this.#ring.set(floats);
      this.#ring.set([0, 11, SHAPE.target, colour.accent, this.#isStill.matches ? 0 : PULSE.rescue, 1], 6);
      this.#selection.set("selected", this.#ring);
    } else {
      this.#selection.remove("selected");
    }
    const isCrowded = this.#crowds !== null;
    const lines: Layer[] = [[this.#route, 2.6, true], [this.#lines, isCrowded ? 0 : 1]];
    const sprites: Layer[] = [
      [this.#idle, isCrowded ? 0 : this.#thinness()], [this.#underway, isCrowded ? 0 : 1], [this.#jobs, isCrowded ? 0.85 : 1],
      [this.#drivers, isCrowded ? 0 : 1], [this.#selection, 1],
    ];
    const calm = this.#jobs.n > PULSES_MAX ? PULSE.waits + 0.1 : 0;
    const drawing = performance.now();
    this.#stage.draw(this.#camera, seconds(), calm, lines, sprites);
    const end = performance.now();
    const at = this.frames % TIMED_MAX;
    [this.#scriptMs[at], this.#glMs[at]] = [end - start, end - drawing];
    this.frames += 1;
  };

  /** Adds drivers, and what they perform, up by cells of the map, if there are too many to be told apart. */
  #crowd(): void {
    const crowds = this.#camera.zoom < CROWD.zoom ? this.#crowdsInView() : null;
    if (crowds === null && this.#crowds === null) return;
    this.#crowds = crowds;
    this.oncrowds(crowds);
  }

  #crowdsInView(): Crowd[] | null {
    const camera = this.#camera;
    // Cells that stay where they are while the camera moves, and grow by twos while it zooms.
    const cell = 2 ** Math.ceil(Math.log2(CROWD.cellPx / camera.zoom));
    const [west, east] = [camera.worldX(-CROWD.cellPx), camera.worldX(camera.width + CROWD.cellPx)];
    const [south, north] = [camera.worldY(camera.height + CROWD.cellPx), camera.worldY(-CROWD.cellPx)];
    const cells = new Map<number, Crowd>();
    let n = 0;
    for (const [batch, isWorking] of [[this.#idle, false], [this.#drivers, true]] as const) {
      const { floats, stride } = batch;
      for (let at = 0, end = batch.n * stride; at < end; at += stride) {
        const [x, y] = [floats[at + 2]!, floats[at + 3]!];
        if (floats[at + 7] === 0 || x < west || x > east || y < south || y > north) continue;
        n += 1;
        const key = Math.floor(x / cell) * 65_536 + Math.floor(y / cell);
        let crowd = cells.get(key);
        if (!crowd) cells.set(key, crowd = { x: 0, y: 0, n: 0, nAvailable: 0, nWorking: 0, nUnderway: 0 });
        crowd.x += x;
        crowd.y += y;
        crowd.n += 1;
        if (floats[at + 9] === colour.available) crowd.nAvailable += 1;
        if (isWorking) crowd.nWorking += 1;
      }
    }
    if (n <= CROWD.drivers) return null;
    const { floats, stride } = this.#underway;
    for (let at = 0, end = this.#underway.n * stride; at < end; at += stride) {
      const [x, y] = [floats[at]!, floats[at + 1]!];
      if (floats[at + 7] === 0 || x < west || x > east || y < south || y > north) continue;
      const key = Math.floor(x / cell) * 65_536 + Math.floor(y / cell);
      let crowd = cells.get(key);
      if (!crowd) cells.set(key, crowd = { x: 0, y: 0, n: 0, nAvailable: 0, nWorking: 0, nUnderway: 0 });
      crowd.nUnderway += 1;
      // Where there are drivers, these say where it is.
      if (crowd.n === 0) [crowd.x, crowd.y] = [crowd.x + x, crowd.y + y];
    }
    const crowds = [...cells.values()];
    for (const crowd of crowds) [crowd.x, crowd.y] = [crowd.x / (crowd.n || crowd.nUnderway), crowd.y / (crowd.n || crowd.nUnderway)];
    return crowds;
  }
}

/** Seconds since the page opened: small enough for the graphics card's short numbers. */
function seconds(): number {
  return performance.now() / 1000;
}

/** Which share of its way what stands at `at` has glidden by now. */
function glidden(floats: Float32Array, now: number, at = 0): number {
  const duration = floats[at + 5]!;
  return duration > 0 ? Math.min(1, Math.max(0, (now - floats[at + 4]!) / duration)) : 1;
}

function whereNow(floats: Float32Array, now: number): [number, number] {
  const k = glidden(floats, now);
  return [floats[0]! + (floats[2]! - floats[0]!) * k, floats[1]! + (floats[3]! - floats[1]!) * k];
}

