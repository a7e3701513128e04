// A mark or an id in words, with the colour that goes with it.

import { DRIVER, kindOf, short, spoken, stageOf } from "./status.js";

const SORTS = { ride: "Ride", delivery: "Delivery", commerce: "Shop order" };
const STAGE_COLOUR = { completed: "good", cancelled: "bad", no_driver: "bad" };

/** {title, status, colour, sort} of a mark. */
export function describe(mark) {
  if (mark.kind === "driver") {
    const { label, colour } = DRIVER[mark.status] ?? { label: spoken(mark.status), colour: "away" };
    return { title: `Driver ${short(mark.id)}`, status: label, colour, sort: "driver" };
  }
  const sort = mark.kind === "rescue" ? "rescue" : mark.sort === "ride" ? "ride" : "delivery";
  const name = mark.kind === "rescue" ? `Rescue (${spoken(mark.issue).toLowerCase()})` : SORTS[mark.sort] ?? "Order";
  const colour = STAGE_COLOUR[stageOf(mark.kind, mark.status)] ?? sort;
  return { title: `${name} ${short(mark.id)}`, status: spoken(mark.status), colour, sort };
}

/** The same for an id whose mark may not be on the map (any more). */
export function describeId(id, board) {
  const mark = board.marks.get(id);
  if (mark) return describe(mark);
  const kind = kindOf(id);
  return { title: `${spoken(kind ?? "actor")} ${short(id)}`, status: "", colour: kind === "rescue" ? "rescue" : "away", sort: kind ?? "actor" };
}
