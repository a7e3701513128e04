// How tiles with streets are drawn: in the colours of the drawn city, so that marks stand out on either. It knows the layers and kinds
// of Protomaps' basemap (version 4); of other archives it draws what is called the same, `roads` above all. Names are drawn with the
// browser's own fonts: a style without `glyphs` asks nobody for any.

import type { ExpressionSpecification, LayerSpecification, StyleSpecification, VectorSourceSpecification } from "maplibre-gl";
import type { Ink } from "../theme.js";
import type { Roads } from "./ground.js";

/** The only source of the style. */
const SOURCE = "streets";
const FONT = ["sans-serif"];
/** Ways that vehicles do not take. */
const NO_ROADS = ["path", "rail", "ferry", "aeroway", "aerialway", "other"];
const ARTERIALS = ["highway", "major_road", "motorway", "motorway_link", "trunk", "trunk_link", "primary", "primary_link"];
const COLLECTORS = ["medium_road", "secondary", "secondary_link", "tertiary", "tertiary_link"];
const GREEN = [
  "park", "national_park", "nature_reserve", "protected_area", "forest", "wood", "grass", "grassland", "meadow", "garden", "village_green",
  "recreation_ground", "playground", "pitch", "golf_course", "cemetery", "zoo",
];
const SETTLEMENTS = ["locality", "macrohood", "borough", "neighbourhood"];

const kind: ExpressionSpecification = ["coalesce", ["get", "kind"], ""];
/** The class of a road as the drawn city has them: by what it is in detail, or else at all. */
const roadClass: ExpressionSpecification = [
  "match", kind, NO_ROADS, "none",
  ["match", ["coalesce", ["get", "kind_detail"], ["get", "kind"], ""], ARTERIALS, "arterial", COLLECTORS, "collector", "street"],
];

export interface Drawn {
  tiles: VectorSourceSpecification;
  /** What the layers of the tiles are called; null, if that is not known. */
  layers: ReadonlySet<string> | null;
  /** The zoom at which a metre is so many CSS pixels. */
  zoomAt: (pxPerM: number) => number;
  /** How wide each class of road is drawn, and from where on. */
  classes: Roads;
}

/** The style for tiles, in these colours. */
export function styleOf({ tiles, layers, zoomAt, classes }: Drawn, ink: Ink): StyleSpecification {
  const has = (layer: string): boolean => layers?.has(layer) ?? layer !== "earth";
  const of = (layer: string, drawn: readonly LayerSpecification[]): readonly LayerSpecification[] => (has(layer) ? drawn : []);
  const part = (id: string, layer = id): { id: string; source: string; "source-layer": string } => ({ id, source: SOURCE, "source-layer": layer });
  return {
    version: 8,
    sources: { [SOURCE]: tiles },
    layers: [
      // Where land is drawn, what is not land is water.
      { id: "ground", type: "background", paint: { "background-color": has("earth") ? ink.mapWater : ink.mapGround } },
      ...of("earth", [{ ...part("earth"), type: "fill", filter: isArea, paint: { "fill-color": ink.mapGround } }]),
      ...of("landuse", [{ ...part("green", "landuse"), type: "fill", filter: ["all", isArea, ["in", kind, ["literal", GREEN]]], paint: { "fill-color": ink.mapPark } }]),
      ...of("water", [{ ...part("water"), type: "fill", filter: isArea, paint: { "fill-color": ink.mapWater } }]),
      ...of("buildings", [{ ...part("buildings"), type: "fill", minzoom: 14, filter: isArea, paint: { "fill-color": ink.mapGrid, "fill-opacity": 0.6 } }]),
      ...of("roads", roads(classes, ink, zoomAt, part)),
      ...of("places", [{
        ...part("places"), type: "symbol", maxzoom: zoomAt(0.9), filter: ["all", ["has", "name"], ["in", kind, ["literal", SETTLEMENTS]]],
        layout: {
          "text-field": ["get", "name"], "text-font": FONT, "text-size": ["step", ["zoom"], 11.5, zoomAt(0.15), 13], "text-transform": "uppercase",
          "text-letter-spacing": 0.12, "text-padding": 12, "symbol-sort-key": ["-", 0, ["to-number", ["coalesce", ["get", "population_rank"], 0]]],
        },
        paint: { "text-color": ink.mapPlace, "text-halo-color": ink.mapHalo, "text-halo-width": 1.6 },
      }]),
    ],
  };
}

const isArea: ExpressionSpecification = ["==", ["geometry-type"], "Polygon"];

type Part = (id: string, layer?: string) => { id: string; source: string; "source-layer": string };

/** The lesser ones below the greater ones, and names above all. */
function roads(classes: Roads, ink: Ink, zoomAt: Drawn["zoomAt"], part: Part): LayerSpecification[] {
  const colours = { street: ink.mapStreet, collector: ink.mapCollector, arterial: ink.mapArterial };
  const round = { "line-cap": "round", "line-join": "round" } as const;
  const is = (cls: string): ExpressionSpecification => ["==", roadClass, cls];
  return classes.flatMap(({ cls, width, least, from }): LayerSpecification[] => {
    const line = (more: number): ExpressionSpecification => wide(width, least, more, zoomAt);
    const shown = from > 0 ? { minzoom: zoomAt(from) } : {};
    const casing: LayerSpecification[] = cls !== "arterial" ? [] : [
      { ...part(`${cls}-casing`, "roads"), type: "line", minzoom: zoomAt(0.05), filter: is(cls), layout: round, paint: { "line-color": ink.mapCasing, "line-width": line(2) } },
    ];
    return [...casing, { ...part(cls, "roads"), type: "line", ...shown, filter: is(cls), layout: round, paint: { "line-color": colours[cls], "line-width": line(0) } }];
  }).concat(classes.map(({ cls }): LayerSpecification => ({
    ...part(`${cls}-names`, "roads"), type: "symbol", minzoom: zoomAt(cls === "arterial" ? 0.05 : 0.14), filter: ["all", ["has", "name"], is(cls)],
    layout: {
      "symbol-placement": "line", "symbol-spacing": 380, "text-field": ["get", "name"], "text-font": FONT, "text-size": 11, "text-letter-spacing": 0.02,
    },
    paint: { "text-color": ink.mapLabel, "text-halo-color": ink.mapHalo, "text-halo-width": 1.4 },
  })));
}

/** As wide as so many metres are at each zoom, but never less than so many CSS pixels; and so many of those more. */
function wide(metres: number, least: number, more: number, zoomAt: Drawn["zoomAt"]): ExpressionSpecification {
  const from = zoomAt(least / metres);
  const TIMES = 10;
  return ["interpolate", ["exponential", 2], ["zoom"], from, least + more, from + TIMES, least * 2 ** TIMES + more];
}
