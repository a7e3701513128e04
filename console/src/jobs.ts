// What waits for somebody, and how urgently: orders and rescues with the clock that runs for each.

import { stageOf, isAwaited, mintedAt, type Sort } from "./status.js";
import type { JobMark } from "./board.js";

const MIN = 60_000;

/**
 * How long a job may be looked for a driver, and how long until somebody is there, from when it was asked for. The
 * node does not tell its promises on the board, so these are the console's own; what a job's rules say of being late
 * (`sla_at_risk`, `sla_breached`) overrules them.
 */
export const TARGET: Record<Sort, { found: number; there: number }> = {
  rescue: { found: 2 * MIN, there: 20 * MIN },
  ride: { found: 3 * MIN, there: 12 * MIN },
  delivery: { found: 8 * MIN, there: 25 * MIN },
};
/** From this share of its time on, a clock is a warning. */
const AT_RISK = 0.66;

export type Heat = "late" | "soon" | "fine" | "none";
export type Phase = "waiting" | "coming" | "underway" | "later" | "over";

export interface Job {
  mark: JobMark;
  phase: Phase;
  heat: Heat;
  /** Since when it waits, in milliseconds since 1970; null if its id does not say. */
  since: number | null;
  /** Until when it should have got further; null if nothing is due. */
  due: number | null;
}

/** What the node has said of a job being late. */
export type Late = "at_risk" | "breached";

/** A job as it stands at `now` (the node's clock, in milliseconds since 1970). */
export function jobOf(mark: JobMark, now: number, late: Late | undefined): Job {
  const since = mintedAt(mark.id);
  const phase = phaseOf(mark);
  const target = TARGET[mark.sort];
  const due = since === null ? null : phase === "waiting" ? since + target.found : phase === "coming" ? since + target.there : null;
  return { mark, phase, since, due, heat: heatOf(phase, since, due, now, late) };
}

function phaseOf({ kind, status }: JobMark): Phase {
  if (status === "scheduled" || status === "awaiting_payment") return "later";
  const stage = stageOf(kind, status);
  if (stage === "searching") return "waiting";
  if (stage !== "active") return "over";
  return isAwaited(kind, status) ? "coming" : "underway";
}

function heatOf(phase: Phase, since: number | null, due: number | null, now: number, late: Late | undefined): Heat {
  if (phase === "over" || phase === "later") return "none";
  if (late === "breached") return "late";
  if (due === null || since === null) return late ? "soon" : "none";
  if (now >= due) return "late";
  return late || now - since >= (due - since) * AT_RISK ? "soon" : "fine";
}

const PHASES: Record<Phase, number> = { waiting: 0, coming: 1, underway: 2, later: 3, over: 4 };
const HEATS: Record<Heat, number> = { late: 0, soon: 1, fine: 2, none: 3 };

/** The order in which jobs are seen to: what is late, rescues first, then what is due soonest. */
export function byUrgency(a: Job, b: Job): number {
  const isOver = (job: Job): number => (job.phase === "over" ? 1 : 0);
  const isRescue = (job: Job): number => (job.mark.sort === "rescue" && job.phase !== "underway" ? 0 : 1);
  return isOver(a) - isOver(b)
    || HEATS[a.heat] - HEATS[b.heat]
    || isRescue(a) - isRescue(b)
    || PHASES[a.phase] - PHASES[b.phase]
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
