// Incidents that are not over: how the node lists them, in which order they are seen to, and how one will be once what was asked is done.

import type { CheckItem, IncidentAction, IncidentStatus, IncidentView } from "@outrider/client";
import type { Asked } from "./live.js";

/** As many as the node gives at once. */
export const LISTED_MAX = 100;
/** The path of those that are not over. */
export const OPEN_INCIDENTS = `/v1/incidents?status=open,acked,responding&limit=${LISTED_MAX}`;
export const CHECKS: readonly CheckItem[] = ["caller_safe", "anybody_hurt", "authorities_called", "vehicle_secured"];

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

/** An incident as it will be if the node says yes to everything that was asked. */
export function expectedIncident(view: IncidentView, asked: readonly Asked[]): IncidentView {
  return asked.reduce<IncidentView>((it, { wish }) => {
    const action = (wish as { incident?: { action: IncidentAction } }).incident?.action;
    if (action === undefined) return it;
    if ("ack" in action) return { ...it, calling: false, status: it.status === "open" ? "acked" : it.status };
    if ("check" in action) {
      const { item, answer } = action.check;
      return { ...it, checklist: [...(it.checklist ?? []).filter((known) => known.item !== item), { item, answer }] };
    }
    if ("resolve" in action) return { ...it, calling: false, status: action.resolve.resolution === "helped" ? "resolved" : "false" };
    return it;
  }, view);
}
