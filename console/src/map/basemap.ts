// Real streets below the marks: MapLibre draws them from tiles and follows the camera; nobody touches it. Its code is large, and only
// loaded where there are such tiles (beneath.ts). It imports nothing of the console but types: what it needs of it, it is given. While nodes
// are replaced, it may come from another one than the console did, and what modules of one build export to each other has no lasting names.

import { AttributionControl, Map as TileMap, addProtocol, setWorkerUrl, type StyleSpecification } from "maplibre-gl";
// As a file of the node's own: a worker made of text would need a policy that allows scripts made of text.
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import { PMTiles, Protocol, type Header } from "pmtiles";
import type { Ink } from "../theme.js";
import type { Camera, Projection } from "./camera.js";
import type { BasemapSource, Roads } from "./ground.js";
import { styleOf, type Drawn } from "./street_style.js";

/** So many tiles in a row that cannot be had, and none of them can. */
const FAULTS_MAX = 4;
/** What has not been drawn after so long will not be, whether or not anybody says why: its worker, say, did not come. */
const PATIENCE_MS = 30_000;

const archives = new Protocol();
addProtocol("pmtiles", archives.tile);
setWorkerUrl(workerUrl);

/** Who hears what becomes of it. */
export interface Listener {
  /** It is drawn. */
  shown(): void;
  /** It cannot be drawn, or no longer; it is to be ended. */
  failed(why: unknown): void;
}

/** Below what, and beside what, it is drawn. */
export interface Place {
  into: HTMLElement;
  /** Where it is said whose tiles these are. */
  credits: HTMLElement;
  camera: Camera;
  projection: Projection;
}

/** How it is drawn, if it comes from an archive of the node's. */
export interface Look {
  /** Where that archive is. */
  archive: string;
  /** The colours of the page as it is now. */
  ink: () => Ink;
  roads: Roads;
}

export class Basemap {
  readonly map: TileMap;
  readonly #place: Place;
  readonly #credits = new AttributionControl({ compact: false });
  readonly #style: () => string | StyleSpecification;
  readonly #heard: Listener;
  #size = { width: 0, height: 0 };
  #worn: string | StyleSpecification;
  #nArrived = 0;
  #nFaults = 0;
  #lastFault: unknown = null;
  #isShown = false;
  #isOver = false;
  #patience: ReturnType<typeof setInterval> | undefined;

  /** Draws what `source` has; rejects if its archive cannot be read, or nothing can be drawn here at all. */
  static async open(source: BasemapSource, place: Place, look: Look, heard: Listener): Promise<Basemap> {
    if ("style" in source) {
      const { style } = source;
      return new Basemap(() => style.replaceAll("{theme}", document.documentElement.dataset.theme ?? "dark"), place, heard);
    }
    const drawn = await readArchive(look.archive, place.projection, look.roads);
    return new Basemap(() => styleOf(drawn, look.ink()), place, heard);
  }

  private constructor(style: () => string | StyleSpecification, place: Place, heard: Listener) {
    this.#style = style;
    this.#worn = style();
    this.#place = place;
    this.#heard = heard;
    this.map = new TileMap({
      container: place.into, style: this.#worn, ...this.#view(),
      interactive: false, attributionControl: false, trackResize: false, renderWorldCopies: false, fadeDuration: 0, maxPitch: 0,
      pixelRatio: Math.min(2, devicePixelRatio || 1),
    });
    this.#listen();
    place.credits.replaceChildren(this.#credits.onAdd(this.map));
    place.camera.addEventListener("change", this.#follow);
  }

  /** Wears the colours of the theme as it is now. */
  recolour(): void {
    const style = this.#style();
    if (style === this.#worn) return;
    this.#worn = style;
    this.map.setStyle(style);
  }

  /** Draws no more, and lets go of what it had. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#patience);
    this.#place.camera.removeEventListener("change", this.#follow);
    this.#credits.onRemove();
    this.map.remove();
  }

  #listen(): void {
    let hasStyle = false;
    this.map.once("style.load", () => (hasStyle = true));
    this.map.on("sourcedata", ({ tile }) => {
      if (tile) [this.#nArrived, this.#nFaults] = [this.#nArrived + 1, 0];
    });
    this.map.on("error", (event) => {
      this.#nFaults += 1;
      this.#lastFault = event.error;
      // A sprite or a glyph may be missing: without a style there is nothing, and without tiles.
      if (!hasStyle || (this.#isShown && "tile" in event && this.#nFaults >= FAULTS_MAX)) this.#fail();
    });
    this.map.once("load", () => {
      clearInterval(this.#patience);
      if (this.#isOver) return;
      if (this.#nArrived === 0 && this.#nFaults > 0) return this.#fail();
      this.#isShown = true;
      this.#heard.shown();
    });
    this.map.on("webglcontextlost", () => this.#fail(new Error("the graphics card is gone")));
    // Nobody draws on a page that nobody sees.
    this.#patience = setInterval(() => document.hidden || this.#fail(), PATIENCE_MS);
  }

  /** Says so, once; and not from within the map, which may not be ended before it has done what it is at. */
  #fail(why = this.#lastFault ?? new Error("nothing came")): void {
    setTimeout(() => this.#isOver || this.#heard.failed(why), 0);
  }

  readonly #follow = (): void => {
    const { width, height } = this.#place.camera;
    if (width !== this.#size.width || height !== this.#size.height) {
      this.#size = { width, height };
      this.map.resize();
    }
    this.map.jumpTo(this.#view());
  };

  #view(): { center: [number, number]; zoom: number } {
    const { camera, projection } = this.#place;
    return { center: [projection.lon(camera.x), projection.lat(camera.y)], zoom: projection.tileZoom(camera.zoom) };
  }
}

interface Metadata {
  attribution?: string;
  vector_layers?: { id: string }[];
}

/** What there is to draw in an archive. */
async function readArchive(url: string, projection: Projection, classes: Roads): Promise<Drawn> {
  const archive = new PMTiles(url);
  archives.add(archive);
  const [header, metadata] = [await archive.getHeader(), (await archive.getMetadata()) as Metadata];
  const { attribution, vector_layers: layers } = metadata;
  return {
    tiles: {
      type: "vector", tiles: [`pmtiles://${url}/{z}/{x}/{y}`], minzoom: header.minZoom, maxzoom: header.maxZoom,
      ...(isSomewhere(header) ? { bounds: [header.minLon, header.minLat, header.maxLon, header.maxLat] } : {}),
      ...(attribution ? { attribution } : {}),
    },
    layers: layers ? new Set(layers.map(({ id }) => id)) : null,
    zoomAt: (pxPerM) => projection.tileZoom(pxPerM),
    classes,
  };
}

function isSomewhere({ minLon, minLat, maxLon, maxLat }: Header): boolean {
  return minLon < maxLon && minLat < maxLat;
}
