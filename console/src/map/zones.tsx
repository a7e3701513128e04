// Zones to look at: what is counted in them and which are paused, drawn beneath the marks, and a card for the one that is looked at.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Refused } from "@outrider/client";
import { useApp, useFetched, useHeard, usePolled, useValue } from "../app.js";
import { Later } from "../later.js";
import type { Answer } from "../rest.js";
import { said } from "../ui.js";
import { t } from "../words.js";
import type { LatLon } from "./camera.js";
import { isWithin, type Demand, type Hexes, type Zone } from "./hexes.js";

const DEMAND_MS = 10_000;
const PAUSED_MS = 10_000;
/** As the node allows. */
const WITHIN_M_MAX = 50_000;
/** The neighbourhood where demand is counted. */
export const NEIGHBOURHOOD = 7;

interface Paused {
  zones: readonly Zone[];
  refused: Refused | null;
}

interface ZonePage {
  items: { id: string }[];
}

/** Keeps the layer of zones up to date. Draws nothing itself but what is to be clicked. */
export function Zones({ hexes, place, onClose }: { hexes: Hexes | null; place: LatLon | null; onClose: () => void }): JSX.Element {
  const app = useApp();
  const layer = useValue(app.layer);
  const [middle, setMiddle] = useState<{ lat: number; lon: number; m: number } | null>(null);
  useEffect(() => {
    if (layer === "none") return undefined;
    const look = (): void => setMiddle(middleOf(app));
    look();
    const timer = setInterval(look, DEMAND_MS);
    return () => clearInterval(timer);
  }, [layer]);
  const path = layer === "none" || middle === null ? null : `/v1/demand?lat=${middle.lat}&lon=${middle.lon}&within_m=${middle.m}`;
  const told = usePolled<Demand[]>(path, DEMAND_MS);
  const demand = latest(told);
  const [kept, keep] = useState<Demand[]>([]);
  useEffect(() => {
    if (demand) keep(demand);
  }, [demand]);
  const [turn, setTurn] = useState(0);
  const paused = usePaused(turn);
  const here = useFetched<Zone[]>(place === null ? null : `/v1/zones/at?lat=${place.lat}&lon=${place.lon}`, turn);
  const zones = latest(here);
  const chosen = zones?.find((it) => it.resolution === NEIGHBOURHOOD)?.outline ?? null;
  useEffect(() => hexes?.show({ layer, demand: kept, paused: paused.zones, chosen: place === null ? null : chosen }), [hexes, layer, kept, paused, place, chosen]);
  useHeard((again) => app.live.on("asked", again));
  const nAsked = app.live.asked.filter(({ what, state }) => what.endsWith("_zone") && state !== "asked").length;
  useEffect(() => setTurn((it) => it + 1), [nAsked]);
  return (
    <>
      {layer === "none" && paused.refused === null ? null : (
        <p class="zone-note" role="status">
          {paused.refused ? <span>{t("zones.paused_unknown", { why: said(paused.refused) })}</span> : null}
          {layer === "none" ? null : <span>{noteOf(layer, told, kept)}</span>}
        </p>
      )}
      {place === null ? null : <Later>{({ ZoneCard }) => <ZoneCard here={here} counted={kept.find((it) => isWithin(it.outline, place)) ?? null} onClose={onClose} />}</Later>}
    </>
  );
}

/** What the layer shows, or why it shows nothing. */
function noteOf(layer: "demand" | "surge", told: Answer<Demand[]> | null, kept: readonly Demand[]): string {
  if (told !== null && "refused" in told) return said(told.refused);
  if (kept.length > 0) return t(`layer.${layer}.says`);
  return t(told === null ? "loading" : "zones.none");
}

/** The zones that are paused, wherever they are, and why they are not known, if they are not; looked at again when `turn` is another. */
function usePaused(turn: number): Paused {
  const { rest } = useApp();
  const [paused, setPaused] = useState<Paused>({ zones: [], refused: null });
  useEffect(() => {
    let isWanted = true;
    const look = async (): Promise<void> => {
      if (document.hidden) return;
      const page = await rest.get<ZonePage>("/v1/zones?status=paused&limit=100");
      const all = "ok" in page ? await Promise.all(page.ok.items.map(({ id }) => rest.get<Zone>(`/v1/zones/${id}`))) : [];
      const refused = [page, ...all].flatMap((it) => ("refused" in it ? [it.refused] : []))[0] ?? null;
      const zones = all.flatMap((it) => ("ok" in it && it.ok.paused ? [it.ok] : []));
      // What was known is shown for as long as there is nothing else to be shown.
      if (isWanted) setPaused((before) => (refused ? { ...before, refused } : before.zones.length === 0 && zones.length === 0 && !before.refused ? before : { zones, refused: null }));
    };
    void look();
    const timer = setInterval(() => void look(), PAUSED_MS);
    return () => {
      isWanted = false;
      clearInterval(timer);
    };
  }, [turn]);
  return paused;
}

/** What the camera looks at, and how far it sees from there, in metres. */
export function middleOf({ camera, projection }: ReturnType<typeof useApp>): { lat: number; lon: number; m: number } {
  const m = Math.hypot(camera.width, camera.height) / 2 / camera.zoom;
  const digits = (degrees: number): number => Number(degrees.toFixed(4));
  return { lat: digits(projection.lat(camera.y)), lon: digits(projection.lon(camera.x)), m: Math.min(WITHIN_M_MAX, Math.ceil(m / 500) * 500) };
}

function latest<T>(answer: Answer<T> | null): T | null {
  return answer !== null && "ok" in answer ? answer.ok : null;
}
