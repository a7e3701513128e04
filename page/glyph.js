// The map's shapes as small pictures, for legends and lists.

import { svg } from "./dom.js";
import { SHAPE } from "./status.js";

const PATHS = {
  [SHAPE.dot]: { d: "M8 3.600a4.400 4.400 0 1 1 0 8.800a4.400 4.400 0 0 1 0-8.800Z" },
  [SHAPE.arrow]: { d: "M8 1.600 13.200 14 8 11.200 2.800 14Z" },
  [SHAPE.diamond]: { d: "M8 2.200 13.800 8 8 13.800 2.200 8Z" },
  [SHAPE.bars]: { d: "M3.800 3.500h3v9h-3zM9.200 3.500h3v9h-3z" },
  [SHAPE.cross]: { d: "m4 4 8 8M12 4l-8 8", line: 2.4 },
  [SHAPE.ring]: { d: "M8 3.400a4.600 4.600 0 1 1 0 9.200a4.600 4.600 0 0 1 0-9.200Z", line: 2.6 },
  [SHAPE.square]: { d: "M3.800 3.800h8.400v8.400H3.800Z", line: 2.6 },
  [SHAPE.triangle]: { d: "M8 2.400 14 13H2Z" },
  [SHAPE.flag]: { d: "M8 3a5 5 0 1 1 0 10a5 5 0 0 1 0-10Z", line: 1.400, dot: true },
};

/** A shape in a colour of the palette. */
export function glyph(shape, colour) {
  const { d, line, dot } = PATHS[shape] ?? PATHS[SHAPE.dot];
  const path = line
    ? svg("path", { d, fill: "none", stroke: "currentColor", "stroke-width": line, "stroke-linejoin": "round", "stroke-linecap": "round" })
    : svg("path", { d, fill: "currentColor" });
  const middle = dot ? svg("circle", { cx: 8, cy: 8, r: 2, fill: "currentColor" }) : null;
  return svg("svg", { class: `glyph c-${colour}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, path, middle);
}

/** The shape of a sort of thing: ride, delivery, rescue, driver or rider. */
export function glyphOf(sort, colour) {
  const shapes = { ride: SHAPE.ring, delivery: SHAPE.square, order: SHAPE.ring, rescue: SHAPE.triangle, driver: SHAPE.arrow, rider: SHAPE.dot };
  return glyph(shapes[sort] ?? SHAPE.dot, colour);
}
