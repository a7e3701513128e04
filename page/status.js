// What statuses are called, how they are grouped, and how they look on the map.
// Every status differs by shape as well as by colour, so that no one needs to tell colours apart.

/** Shapes the vehicle layer can draw; the numbers are its shader's. */
export const SHAPE = {
  dot: 0, arrow: 1, diamond: 2, bars: 3, cross: 4, ring: 5, square: 6, triangle: 7, target: 8, flag: 9,
};

/** Colours by name: the position here is the index in the shader's palette, the name a CSS variable. */
export const COLOURS = [
  "available", "offered", "busy", "partly", "resting", "away",
  "ride", "delivery", "rescue", "good", "bad", "accent",
];

const look = (label, colour, shape) => ({ label, colour, shape });

/** Drivers, in the order they are listed. */
export const DRIVER = {
  available: look("Available", "available", SHAPE.dot),
  offered: look("Considering an offer", "offered", SHAPE.diamond),
  partly_busy: look("Partly busy", "partly", SHAPE.arrow),
  busy: look("Busy", "busy", SHAPE.arrow),
  on_break: look("On a break", "resting", SHAPE.bars),
  unreachable: look("Unreachable", "away", SHAPE.cross),
  offline: look("Offline", "away", SHAPE.cross),
  blocked: look("Blocked", "away", SHAPE.cross),
};

/** Jobs, as the map's legend shows them. */
export const JOBS_LEGEND = [
  look("Ride", "ride", SHAPE.ring),
  look("Delivery", "delivery", SHAPE.square),
  look("Rescue", "rescue", SHAPE.triangle),
  look("Destination", "ride", SHAPE.flag),
];

/** Rows of the jobs table. */
export const STAGES = [
  { key: "searching", label: "Searching" },
  { key: "active", label: "Active" },
  { key: "completed", label: "Completed" },
  { key: "cancelled", label: "Cancelled" },
  { key: "no_driver", label: "No driver" },
];

const ORDER_STAGE = {
  awaiting_payment: "searching", scheduled: "searching", waiting: "searching",
  searching: "searching", job_feed: "searching",
  assigned: "active", en_route_pickup: "active", at_pickup: "active", in_progress: "active",
  picked_up: "active", in_transit: "active", at_stop: "active", at_dropoff: "active",
  failed_attempt: "active", returning: "active",
  completed: "completed", delivered: "completed", returned: "completed",
  no_driver_found: "no_driver",
};

const RESCUE_STAGE = {
  requested: "searching", searching: "searching", escalated: "searching",
  accepted: "active", en_route: "active", on_scene: "active", assisting: "active",
  loading: "active", in_transit: "active", at_dropoff: "active",
  completed: "completed",
  no_driver: "no_driver", rejected_out_of_area: "no_driver",
};

/** Which row of the jobs table a status belongs to; unknown ones end badly. */
export function stageOf(kind, status) {
  const stages = kind === "rescue" ? RESCUE_STAGE : ORDER_STAGE;
  return Object.hasOwn(stages, status) ? stages[status] : "cancelled";
}

/** Is its driver still on the way to it? */
export function isAwaited(kind, status) {
  return kind === "rescue"
    ? status === "accepted" || status === "en_route"
    : status === "assigned" || status === "en_route_pickup" || status === "at_pickup";
}

/** Events whose name says too little without the actor's rules beside it. */
const EVENTS = {
  opened: "Searching for a driver", tier_opened: "Search widened", feed_opened: "Open to all drivers", closed: "Search over",
  excluded: "Driver ruled out", driver_gone: "Lost its driver", sla_at_risk: "Late soon", sla_breached: "Late",
  contacted: "Called", metered: "Distance counted", went_on: "Went on duty", went_off: "Went off duty",
  forced_offline: "Lost contact", offer_reserved: "Offer received", offer_promised: "Offer accepted", stuck: "Stands still",
};

/** What happened, in words. */
export function spokenEvent(name) {
  return Object.hasOwn(EVENTS, name) ? EVENTS[name] : spoken(name);
}

/** `en_route_pickup` as people say it: "En route pickup". */
export function spoken(name) {
  const words = String(name).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The kind an id in display form names, or null. */
export function kindOf(id) {
  return /^(order|rescue|driver|rider)-[0-9a-f]{32}$/.exec(id)?.[1] ?? null;
}

/** The part of an id that tells it from its neighbours: ids begin with the time. */
export function short(id) {
  return id.slice(-6);
}
