// Which part of the map the node is asked for: what is seen, and some of what lies around it, so that not every drag asks again.

import type { Viewport } from "@outrider/client";
import type { Camera, Projection } from "./camera.js";

/** So much of the view's width and height is asked for on each side of it. */
const MARGIN = 0.35;
/** What is asked for may be so many times larger than what would be now, before less is asked for. */
const LARGER_MAX = 4;
/** A drag is over, or nearly. */
const SETTLE_MS = 200;
const LAT_MOST = 90_000_000;
const LON_MOST = 180_000_000;

/** Before it is known where the city is: every job, and no drivers. */
export const NOWHERE: Viewport = { south: 0, west: 0, north: 1, east: 1 };
export const WORLD: Viewport = { south: -LAT_MOST, west: -LON_MOST, north: LAT_MOST, east: LON_MOST };

/** What `camera` sees, and so much more on each side, in millionths of a degree. */
export function seenBy(camera: Camera, projection: Projection, margin: number): Viewport {
  const [dx, dy] = [camera.width * margin, camera.height * margin];
  const millionths = (degrees: number, most: number): number => Math.round(Math.max(-most, Math.min(most, degrees * 1e6)));
  return {
    south: millionths(projection.lat(camera.worldY(camera.height + dy)), LAT_MOST), west: millionths(projection.lon(camera.worldX(-dx)), LON_MOST),
    north: millionths(projection.lat(camera.worldY(-dy)), LAT_MOST), east: millionths(projection.lon(camera.worldX(camera.width + dx)), LON_MOST),
  };
}

/** Does what was asked for still do for what is seen, and is it not much more than `wanted`? */
export function stillDoes(asked: Viewport, seen: Viewport, wanted: Viewport): boolean {
  const isWithin = seen.south >= asked.south && seen.west >= asked.west && seen.north <= asked.north && seen.east <= asked.east;
  return isWithin && area(asked) <= LARGER_MAX * area(wanted);
}

function area({ south, west, north, east }: Viewport): number {
  return (north - south) * (east - west);
}

/** Asks for what the camera sees, whenever it sees something else. */
export function watchFrom(camera: Camera, projection: Projection, look: (viewport: Viewport) => void): void {
  let asked: Viewport | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const ask = (): void => {
    timer = undefined;
    const wanted = seenBy(camera, projection, MARGIN);
    if (asked !== null && stillDoes(asked, seenBy(camera, projection, 0), wanted)) return;
    asked = wanted;
    look(wanted);
  };
  // Not put off by what goes on moving: whoever drags far wants to see where.
  camera.addEventListener("change", () => (timer ??= setTimeout(ask, SETTLE_MS)));
  ask();
}
