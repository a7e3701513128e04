// Incidents that are not over: how the node lists them, and in which order they are seen to.

import type { IncidentStatus, IncidentView } from "@outrider/client";

/** As many as the node gives at once. */
export const LISTED_MAX = 100;
/** The path of those that are not over. */
export const OPEN_INCIDENTS = `/v1/incidents?status=open,acked,responding&limit=${LISTED_MAX}`;

export interface IncidentPage {
  items: { id: string; status: string; body: IncidentView }[];
  next?: string;
}

/** Is there nothing left to be done? */
export function isOver(status: IncidentStatus): boolean {
  return status === "resolved" || status === "false" || status === "closed";
}

/**
 * Those that are not over, as they are known: listed a while ago, or told of since. Those that call come first, drills last, then whoever
 * was escalated most, then the oldest.
 */
export function unresolved(listed: readonly IncidentView[], calling: Iterable<IncidentView>): IncidentView[] {
  const known = new Map(listed.map((it) => [it.id, it]));
  for (const it of calling) if ((known.get(it.id)?.version ?? -1) < it.version) known.set(it.id, it);
  return [...known.values()].filter(({ status }) => !isOver(status)).sort((a, b) => (
    Number(a.mock) - Number(b.mock) || Number(b.calling) - Number(a.calling) || b.escalations - a.escalations || a.opened_at - b.opened_at
  ));
}
