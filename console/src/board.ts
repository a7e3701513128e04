// The city as this console knows it: full boards and diffs folded into marks, counters and happenings.

import type { Attending, Board as BoardFrame, Counters, Happening, JobId, Mark as WireMark, Point, Priority } from "@outrider/client";
import { stageOf, type Sort, type Stage } from "./status.js";

const RATE_WINDOW_MS = 15_000;
const HISTORY_MS = 120_000;
/** A share of a handful is chance. */
const ENDED_LEAST = 10;

export interface DriverMark {
  kind: "driver";
  id: string;
  status: string;
  at: Point;
  /** Ids in display form. */
  jobs: string[];
  vehicle: string | null;
  /** Has its device said too often of late that it is where it cannot be? */
  isDoubted: boolean;
  /** Has it worked for long, or as long as it may? */
  isTired: boolean;
}

export interface JobMark {
  kind: "order" | "rescue";
  sort: Sort;
  id: string;
  status: string;
  /** Where somebody must come. */
  at: Point;
  dropoff: Point | null;
  driver: string | null;
  issue: string | null;
  priority: Priority;
  /** Is nobody asked for a while? */
  isHeld: boolean;
  /** Since when somebody waits, and until when it was promised to be done, in milliseconds since 1970; null if the node does not say. */
  since: number | null;
  due: number | null;
}

export type Mark = DriverMark | JobMark;
export type Column = "rides" | "deliveries" | "rescues";
export const COLUMNS: readonly Column[] = ["rides", "deliveries", "rescues"];

export interface Change {
  changed: Mark[];
  gone: string[];
}

interface BoardEvents {
  marks: Change;
  counters: null;
  happenings: { happenings: Happening[]; isPast: boolean };
  /** Others have other jobs open. */
  attending: null;
  /** Something was missed: subscribe again. */
  gap: null;
}

/** Emits `marks`, `counters`, `happenings`, `attending` and `gap`. */
export class Board {
  readonly marks = new Map<string, Mark>();
  counters: Counters = { drivers: {}, rides: {}, deliveries: {}, rescues: {} };
  /** Which sessions of staff have which job open, by job. */
  attending: ReadonlyMap<string, readonly Attending[]> = new Map();
  /** How many marks the node does not tell, for there are too many in view. */
  leftOut = 0;
  /** Has anything arrived yet? */
  isKnown = false;

  readonly #listeners: { [Name in keyof BoardEvents]: Set<(detail: BoardEvents[Name]) => void> } = {
    marks: new Set(), counters: new Set(), happenings: new Set(), attending: new Set(), gap: new Set(),
  };
  #seq = 0;
  /** How many requests there had been, by when, oldest first. */
  #totals: { at: number; total: number }[] = [];

  /** Listens; returns what ends it. */
  on<Name extends keyof BoardEvents>(name: Name, listener: (detail: BoardEvents[Name]) => void): () => void {
    this.#listeners[name].add(listener);
    return () => this.#listeners[name].delete(listener);
  }

  /** Takes in a board frame. */
  apply(frame: BoardFrame): void {
    if (frame.full) {
      this.isKnown = true;
    } else if (!this.isKnown || frame.seq < this.#seq || frame.seq > this.#seq + 1) {
      // What we missed cannot be guessed; a full board comes after subscribing again.
      const wasKnown = this.isKnown;
      this.isKnown = false;
      if (wasKnown) this.#emit("gap", null);
      return;
    }
    this.#seq = frame.seq;

    const changed: Mark[] = [];
    for (const tagged of frame.marks) {
      const mark = markOf(tagged);
      if (!mark) continue;
      this.marks.set(mark.id, mark);
      changed.push(mark);
    }
    const gone = frame.full ? this.#notAmong(new Set(changed.map((mark) => mark.id))) : frame.gone;
    for (const id of gone) this.marks.delete(id);

    this.counters = frame.counters;
    this.leftOut = frame.left_out ?? 0;
    if (frame.attending) {
      const byJob = new Map<string, Attending[]>();
      for (const it of frame.attending) byJob.set(jobId(it.job), [...(byJob.get(jobId(it.job)) ?? []), it]);
      this.attending = byJob;
      this.#emit("attending", null);
    }
    this.#sample(frame.server_time);
    if (changed.length > 0 || gone.length > 0) this.#emit("marks", { changed, gone });
    this.#emit("counters", null);
    if (frame.full || frame.happenings.length > 0) this.#emit("happenings", { happenings: frame.happenings, isPast: frame.full });
  }

  driver(id: string): DriverMark | undefined {
    const mark = this.marks.get(id);
    return mark?.kind === "driver" ? mark : undefined;
  }

  job(id: string): JobMark | undefined {
    const mark = this.marks.get(id);
    return mark && mark.kind !== "driver" ? mark : undefined;
  }

  /** How many jobs of one column of the counters are at each stage. */
  stages(column: Column): Record<Stage, number> {
    const kind = column === "rescues" ? "rescue" : "order";
    const counts = { searching: 0, active: 0, completed: 0, cancelled: 0, no_driver: 0 };
    for (const [status, n] of Object.entries(this.counters[column] ?? {})) counts[stageOf(kind, status)] += n;
    return counts;
  }

  /** The share of what has ended that ended well, 0 to 1; null while that would be chance. */
  fulfilled(): number | null {
    let [well, ended] = [0, 0];
    for (const column of COLUMNS) {
      const { completed, cancelled, no_driver: none } = this.stages(column);
      well += completed;
      ended += completed + cancelled + none;
    }
    return ended < ENDED_LEAST ? null : well / ended;
  }

  /** Requests a minute over time, oldest first; at most two minutes. */
  rates(): { at: number; rate: number }[] {
    const rates: { at: number; rate: number }[] = [];
    let from = 0;
    for (const { at, total } of this.#totals) {
      while (this.#totals[from]!.at < at - RATE_WINDOW_MS) from += 1;
      const start = this.#totals[from]!;
      // The first seconds say little: a rate needs some time to be one.
      if (at - start.at >= 3000) rates.push({ at, rate: ((total - start.total) * 60_000) / (at - start.at) });
    }
    return rates;
  }

  #notAmong(ids: Set<string>): string[] {
    return [...this.marks.keys()].filter((id) => !ids.has(id));
  }

  #sample(at: number): void {
    let total = 0;
    for (const column of COLUMNS) for (const n of Object.values(this.counters[column] ?? {})) total += n;
    const last = this.#totals.at(-1);
    // A smaller total means another node, or one that started anew.
    if (last && (total < last.total || at < last.at)) this.#totals = [];
    if (!last || at - last.at >= 900) this.#totals.push({ at, total });
    while (this.#totals[0] && this.#totals[0].at < at - HISTORY_MS - RATE_WINDOW_MS) this.#totals.shift();
  }

  #emit<Name extends keyof BoardEvents>(name: Name, detail: BoardEvents[Name]): void {
    for (const listener of this.#listeners[name]) listener(detail);
  }
}

/** A job's id in display form. */
export function jobId(job: JobId): string {
  return "order" in job ? job.order : job.rescue;
}

/** The same as a job id on the wire. */
export function wireJob(id: string): JobId {
  return id.startsWith("rescue-") ? { rescue: id } : { order: id };
}

/** A mark as this console knows it; null if it is of a newer node. */
export function markOf(tagged: WireMark): Mark | null {
  if ("driver" in tagged) {
    const { id, at, status, jobs, vehicle, doubted = false, tired = false } = tagged.driver;
    return { kind: "driver", id, at, status, jobs: jobs.map(jobId), vehicle: vehicle ?? null, isDoubted: doubted, isTired: tired };
  }
  if ("order" in tagged) {
    const { id, kind, status, pickup, dropoff, driver } = tagged.order;
    return { kind: "order", sort: kind === "ride" ? "ride" : "delivery", id, status, at: pickup, dropoff, driver: driver ?? null, issue: null, ...urgency(tagged.order) };
  }
  if ("rescue" in tagged) {
    const { id, issue, status, at, driver } = tagged.rescue;
    return { kind: "rescue", sort: "rescue", id, status, at, dropoff: null, driver: driver ?? null, issue, ...urgency(tagged.rescue) };
  }
  return null;
}

/** What orders and rescues say alike of how urgent they are; nodes of older builds say none of it. */
function urgency({ priority = "normal", held = false, since = null, due = null }: {
  priority?: Priority; held?: boolean; since?: number | null; due?: number | null;
}): Pick<JobMark, "priority" | "isHeld" | "since" | "due"> {
  return { priority, isHeld: held, since, due };
}
