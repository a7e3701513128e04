// What statuses are, how they are grouped, and how they look on the map. What they are called is in the catalogues.
// Every status differs by shape as well as by colour, so that no one needs to tell colours apart.

import type { DriverStatus, OrderStatus, RescueStatus } from "@outrider/client";

/** Shapes the map can draw; the numbers are its shader's. */
export const SHAPE = {
  dot: 0, arrow: 1, diamond: 2, bars: 3, cross: 4, ring: 5, square: 6, triangle: 7, target: 8, flag: 9,
} as const;

/** Colours by name: the position here is the index in the shader's palette, the name a CSS variable. */
export const COLOURS = [
  "available", "offered", "busy", "partly", "resting", "away",
  "ride", "delivery", "rescue", "good", "bad", "accent",
] as const;

export type Colour = (typeof COLOURS)[number];
export type Sort = "ride" | "delivery" | "rescue";
export type Kind = "driver" | "order" | "rescue" | "rider" | "incident" | "revocation" | "zone" | "run" | "rule" | "template";
export type Stage = "searching" | "active" | "completed" | "cancelled" | "no_driver";

/** Drivers, in the order they are listed. */
export const DRIVER: Record<DriverStatus, { colour: Colour; shape: number }> = {
  available: { colour: "available", shape: SHAPE.dot },
  offered: { colour: "offered", shape: SHAPE.diamond },
  partly_busy: { colour: "partly", shape: SHAPE.arrow },
  busy: { colour: "busy", shape: SHAPE.arrow },
  on_break: { colour: "resting", shape: SHAPE.bars },
  unreachable: { colour: "away", shape: SHAPE.cross },
  offline: { colour: "away", shape: SHAPE.cross },
  blocked: { colour: "away", shape: SHAPE.cross },
};

export const STAGES: readonly Stage[] = ["searching", "active", "completed", "cancelled", "no_driver"];
/** Drivers who could work now. */
export const ON_DUTY: readonly string[] = ["available", "offered", "busy", "partly_busy", "on_break", "unreachable"];
export const WORKING: readonly string[] = ["busy", "partly_busy"];

const ORDER_STAGE: Partial<Record<OrderStatus, Stage>> = {
  awaiting_payment: "searching", scheduled: "searching", waiting: "searching", searching: "searching", job_feed: "searching",
  assigned: "active", en_route_pickup: "active", at_pickup: "active", in_progress: "active", picked_up: "active", in_transit: "active",
  at_stop: "active", at_dropoff: "active", failed_attempt: "active", returning: "active",
  completed: "completed", delivered: "completed", returned: "completed",
  no_driver_found: "no_driver",
};

const RESCUE_STAGE: Partial<Record<RescueStatus, Stage>> = {
  requested: "searching", searching: "searching", escalated: "searching",
  accepted: "active", en_route: "active", on_scene: "active", assisting: "active", loading: "active", in_transit: "active", at_dropoff: "active",
  completed: "completed",
  no_driver: "no_driver", rejected_out_of_area: "no_driver",
};

/** Which row of the jobs table a status belongs to; unknown ones end badly. */
export function stageOf(kind: "order" | "rescue", status: string): Stage {
  const stages: Record<string, Stage> = kind === "rescue" ? RESCUE_STAGE : ORDER_STAGE;
  return Object.hasOwn(stages, status) ? stages[status]! : "cancelled";
}

/** Is its driver still on the way to it? */
export function isAwaited(kind: "order" | "rescue", status: string): boolean {
  return kind === "rescue"
    ? status === "accepted" || status === "en_route"
    : status === "assigned" || status === "en_route_pickup" || status === "at_pickup";
}

/** Does its driver have the goods? */
export function isAboard(status: string): boolean {
  return ["picked_up", "in_transit", "at_stop", "at_dropoff", "failed_attempt", "returning"].includes(status);
}

/** `en_route_pickup` as people say it: "En route pickup". For words that no catalogue has. */
export function spoken(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The kind an id in display form names, or null. */
export function kindOf(id: unknown): Kind | null {
  return (/^(order|rescue|driver|rider|incident|revocation|zone|run|rule|template)-[0-9a-f]{32}$/.exec(String(id))?.[1] as Kind | undefined) ?? null;
}

/** Is there something to see of it beside the map? */
export function isDispatched(id: unknown): boolean {
  return ["order", "rescue", "driver", "incident"].includes(kindOf(id) ?? "");
}

/** The part of an id that tells it from its neighbours: ids begin with the time. */
export function short(id: string): string {
  return id.slice(-6);
}

/** When an id was minted, in milliseconds since 1970: it is a UUIDv7. Null if that makes no sense. */
export function mintedAt(id: string): number | null {
  const hex = id.slice(id.indexOf("-") + 1);
  const at = Number.parseInt(hex.slice(0, 12), 16);
  return hex.charAt(12) === "7" && Number.isFinite(at) ? at : null;
}
