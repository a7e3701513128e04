// The regions that marks lie in. The node matches region by region; to tell them apart takes their outlines, which it knows.

import type { Rest } from "../rest.js";
import type { LatLon } from "./camera.js";
import { isWithin, type Zone } from "./hexes.js";

/** Regions are cells of this resolution. */
const RESOLUTION = 5;
/** A city lies in a few. */
const REGIONS_MAX = 16;

export interface Region {
  id: string;
  /** What tells it from its neighbours. */
  name: string;
  outline: readonly LatLon[];
}

/** Asks for the regions of places until each lies in one that is known, or they are too many. */
export async function regionsOf(places: readonly LatLon[], known: readonly Region[], rest: Rest): Promise<readonly Region[]> {
  const regions = [...known];
  for (const place of places) {
    if (regions.length >= REGIONS_MAX) break;
    if (regions.some(({ outline }) => isWithin(outline, place))) continue;
    const answer = await rest.get<Zone[]>(`/v1/zones/at?lat=${place.lat}&lon=${place.lon}`);
    if ("refused" in answer) break;
    const zone = answer.ok.find((it) => it.resolution === RESOLUTION);
    if (!zone || regions.some(({ id }) => id === zone.id)) continue;
    regions.push({ id: zone.id, name: nameOf(zone.id), outline: zone.outline });
  }
  return regions;
}

/** Of an H3 index the digits that say which cell, without those that are the same for all of its size. */
function nameOf(zone: string): string {
  return zone.replace(/^zone-0*8[0-9a-f]/, "").replace(/f+$/, "");
}
