// What waits for somebody, and how urgently: orders and rescues with the clock that runs for each.

import type { Priority } from "@outrider/client";
import type { JobMark } from "./board.js";
import { stageOf, isAwaited, mintedAt, type Sort } from "./status.js";

const MIN = 60_000;
/** What begins in less than this has begun: the node's clock is known here by what frames say of it, which are under way for a while. */
const SKEW = 2_000;

/**
 * How long a job may be looked for a driver, and how long until somebody is there, from when somebody waits. Of that the
 * node promises nothing, so these are the console's own; its promise is when all of it is done.
 */
export const TARGET: Record<Sort, { found: number; there: number }> = {
  rescue: { found: 2 * MIN, there: 20 * MIN },
  ride: { found: 3 * MIN, there: 12 * MIN },
  delivery: { found: 8 * MIN, there: 25 * MIN },
};
/** From this share of its time on, a clock is a warning: of a target, and of a promise, as the node has it. */
const AT_RISK = { target: 0.66, promise: 0.8 };

export type Heat = "late" | "soon" | "fine" | "none";
export type Phase = "waiting" | "coming" | "underway" | "later" | "over";

export interface Job {
  mark: JobMark;
  phase: Phase;
  heat: Heat;
  /** Since when somebody waits, in milliseconds since 1970, which may be still to come; null if nobody says. */
  since: number | null;
  /** Until when it should have got further; null if nothing is due. */
  due: number | null;
}

/** A job as it stands at `now` (the node's clock, in milliseconds since 1970). */
export function jobOf(mark: JobMark, now: number): Job {
  const said = mark.since ?? mintedAt(mark.id);
  const since = said !== null && said > now && said < now + SKEW ? now : said;
  const phase = phaseOf(mark);
  const target = since === null || mark.isHeld ? null : phase === "waiting" ? since + TARGET[mark.sort].found : phase === "coming" ? since + TARGET[mark.sort].there : null;
  const dues = [target, mark.due].filter((it) => it !== null);
  return { mark, phase, since, due: dues.length > 0 ? Math.min(...dues) : null, heat: heatOf(phase, since, target, mark.due, now) };
}

function phaseOf({ kind, status }: JobMark): Phase {
  if (status === "scheduled" || status === "awaiting_payment") return "later";
  const stage = stageOf(kind, status);
  if (stage === "searching") return "waiting";
  if (stage !== "active") return "over";
  return isAwaited(kind, status) ? "coming" : "underway";
}

function heatOf(phase: Phase, since: number | null, target: number | null, promise: number | null, now: number): Heat {
  if (phase === "over" || phase === "later" || since === null) return "none";
  const clocks = ([[target, AT_RISK.target], [promise, AT_RISK.promise]] as const).filter(([due]) => due !== null) as [number, number][];
  if (clocks.some(([due]) => now >= due)) return "late";
  if (clocks.some(([due, share]) => now - since >= (due - since) * share)) return "soon";
  return clocks.length > 0 ? "fine" : "none";
}

const PHASES: Record<Phase, number> = { waiting: 0, coming: 1, underway: 2, later: 3, over: 4 };
const HEATS: Record<Heat, number> = { late: 0, soon: 1, fine: 2, none: 3 };

const PRIORITIES: Record<Priority, number> = { urgent: 0, high: 1, normal: 2, low: 3 };

/** The order in which jobs are seen to: what is late, rescues first, then what waits for a driver, by its priority, then what is due soonest. */
export function byUrgency(a: Job, b: Job): number {
  const isOver = (job: Job): number => (job.phase === "over" ? 1 : 0);
  const isRescue = (job: Job): number => (job.mark.sort === "rescue" && job.phase !== "underway" ? 0 : 1);
  return isOver(a) - isOver(b)
    || HEATS[a.heat] - HEATS[b.heat]
    || isRescue(a) - isRescue(b)
    || PHASES[a.phase] - PHASES[b.phase]
    || PRIORITIES[a.mark.priority] - PRIORITIES[b.mark.priority]
    || (a.due ?? Infinity) - (b.due ?? Infinity)
    || (a.mark.id < b.mark.id ? -1 : 1);
}

/** `4:07`, `1:02:11`: how long, in whole seconds. */
export function clockFace(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const [hours, minutes, seconds] = [Math.floor(s / 3600), Math.floor((s % 3600) / 60), s % 60];
  const two = (n: number): string => String(n).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}
