// What lies beneath the marks: real streets, where the node has some and as long as they can be had; else the drawn ground.

import type { App } from "../app.js";
import { at } from "../rest.js";
import { ink, themed } from "../theme.js";
import type { Basemap } from "./basemap.js";
import { ROADS, type BasemapSource, type Ground } from "./ground.js";

/** After how long streets that could not be had are asked for again: twice as long each time. */
const AGAIN_MS = { least: 5_000, most: 120_000 };
/** Streets that were there for so long were no accident. */
const STEADY_MS = 60_000;

/**
 * Lays real streets above `ground` and below the marks, and shows `ground` whenever there are none. `say` hears why there are none, or null
 * while there are. Returns what takes them away again.
 */
export function layStreets(app: App, source: BasemapSource, ground: Ground, into: HTMLElement, credits: HTMLElement, say: (why: string | null) => void): () => void {
  let [pauseMs, shownAt, isOver] = [AGAIN_MS.least, Infinity, false];
  let timer: ReturnType<typeof setTimeout> | undefined;

  const show = (isShown: boolean): void => {
    ground.show(!isShown);
    into.classList.toggle("is-shown", isShown);
    shownAt = isShown ? performance.now() : Infinity;
  };
  const lift = (): void => {
    app.basemap?.end();
    app.basemap = null;
  };
  const miss = (why: unknown): void => {
    if (isOver) return;
    if (performance.now() - shownAt > STEADY_MS) pauseMs = AGAIN_MS.least;
    lift();
    show(false);
    say(why instanceof Error ? why.message : String(why));
    // Where there is no WebGL there will be none later.
    if (why instanceof Error && why.name === "GPUInitializationError") return;
    timer = setTimeout(() => void lay(), pauseMs);
    pauseMs = Math.min(AGAIN_MS.most, pauseMs * 2);
  };
  const shown = (): void => {
    show(true);
    say(null);
  };
  const lay = async (): Promise<void> => {
    try {
      const module = await import("./basemap.js");
      const place = { into, credits, camera: app.camera, projection: app.projection };
      const look = { archive: at("/console/basemap.pmtiles"), ink, roads: ROADS };
      const basemap: Basemap = await module.Basemap.open(source, place, look, { shown, failed: miss });
      if (isOver) basemap.end();
      else app.basemap = basemap;
    } catch (error) {
      miss(error);
    }
  };
  const recolour = (): void => app.basemap?.recolour();

  themed.addEventListener("change", recolour);
  void lay();
  return () => {
    isOver = true;
    clearTimeout(timer);
    themed.removeEventListener("change", recolour);
    lift();
    show(false);
  };
}
