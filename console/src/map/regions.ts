// The regions that marks lie in. The node matches region by region; to tell them apart takes their outlines, which it knows.

import type { Rest } from "../rest.js";
import type { LatLon } from "./camera.js";
import type { LonLat } from "./ground.js";
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

/** A part of a city that has a name. */
export interface District {
  name: string;
  at: LonLat;
}

/** Asks for the regions of places until each lies in one that is known, or they are too many. */
export async function regionsOf(places: readonly LatLon[], known: readonly Region[], rest: Rest, districts: readonly District[]): Promise<readonly Region[]> {
  const regions = [...known];
  for (const place of places) {
    if (regions.length >= REGIONS_MAX) break;
    if (regions.some(({ outline }) => isWithin(outline, place))) continue;
    const answer = await rest.get<Zone[]>(`/v1/zones/at?lat=${place.lat}&lon=${place.lon}`);
    if ("refused" in answer) break;
    const zone = answer.ok.find((it) => it.resolution === RESOLUTION);
    if (!zone || regions.some(({ id }) => id === zone.id)) continue;
    const name = nameOf(zone, districts);
    // Two regions may be around the same district.
    const isTaken = regions.some((it) => it.name === name);
    regions.push({ id: zone.id, name: isTaken ? `${name} (${digitsOf(zone.id)})` : name, outline: zone.outline });
  }
  return regions;
}

/** The district nearest to its middle, as the city calls it; where nobody has drawn any, the digits of its index. */
export function nameOf({ id, outline }: Pick<Zone, "id" | "outline">, districts: readonly District[]): string {
  const middle = (of: (at: LatLon) => number): number => outline.reduce((sum, at) => sum + of(at), 0) / outline.length;
  const [lat, lon] = [middle((at) => at.lat), middle((at) => at.lon)];
  const far = ({ at }: District): number => Math.hypot((at[0] - lon) * Math.cos((lat * Math.PI) / 180), at[1] - lat);
  const nearest = districts.reduce<District | null>((best, it) => (best === null || far(it) < far(best) ? it : best), null);
  return nearest?.name ?? digitsOf(id);
}

/** Of an H3 index the digits that say which cell, without those that are the same for all of its size. */
function digitsOf(zone: string): string {
  return zone.replace(/^zone-0*8[0-9a-f]/, "").replace(/f+$/, "");
}
