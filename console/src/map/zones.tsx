// Zones to look at and to pause: what is counted in them, drawn beneath the marks, and a card for the one that is looked at.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Refused } from "@outrider/client";
import { useApp, useFetched, useHeard, usePolled, useValue } from "../app.js";
import type { Answer } from "../rest.js";
import { Texts } from "../texts.js";
import { IconButton, Loading, Refusal, Spark, said } from "../ui.js";
import { number, t, timeOfDay } from "../words.js";
import type { LatLon } from "./camera.js";
import { isWithin, type Demand, type Hexes, type Zone } from "./hexes.js";

const DEMAND_MS = 10_000;
const PAUSED_MS = 10_000;
/** As the node allows. */
const WITHIN_M_MAX = 50_000;
/** The neighbourhood where demand is counted. */
const NEIGHBOURHOOD = 7;
const MINUTES = [15, 60, 240] as const;
/** Why a zone goes on, where nobody says: written into its history, and so the same whatever the dispatcher reads. */
const RESUMED = "over";

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
      {place === null ? null : <ZoneCard here={here} counted={kept.find((it) => isWithin(it.outline, place)) ?? null} onClose={onClose} />}
    </>
  );
}

/** The zone of a place: what is counted in it, and what may be done about it. */
function ZoneCard({ here, counted, onClose }: { here: Answer<Zone[]> | null; counted: Demand | null; onClose: () => void }): JSX.Element {
  const card = useRef<HTMLElement>(null);
  useEffect(() => {
    // Who has asked for it by its button goes on in it; who has clicked on the map goes on there.
    if (document.activeElement?.closest(".filters")) card.current!.focus();
  }, []);
  const pressed = (event: KeyboardEvent): void => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onClose();
    document.getElementById("map")?.focus({ preventScroll: true });
  };
  return (
    <section ref={card} class="zone-card" aria-label={t("zones.card")} tabIndex={-1} onKeyDown={pressed} onPointerDown={(event) => event.stopPropagation()} onWheel={(event) => event.stopPropagation()}>
      <header><h3>{t("zones.card")}</h3><IconButton icon="close" label={t("close")} onClick={onClose} /></header>
      {here === null ? <Loading rows={3} /> : "refused" in here ? <Refusal refused={here.refused} /> : (
        <>
          {counted ? <Counted it={counted} /> : null}
          <Pausing zones={here.ok} />
        </>
      )}
    </section>
  );
}

/** What the layer shows, or why it shows nothing. */
function noteOf(layer: "demand" | "surge", told: Answer<Demand[]> | null, kept: readonly Demand[]): string {
  if (told !== null && "refused" in told) return said(told.refused);
  if (kept.length > 0) return t(`layer.${layer}.says`);
  return t(told === null ? "loading" : "zones.none");
}

function Counted({ it }: { it: Demand }): JSX.Element {
  const surges = [...it.changes.map(({ from_percent: percent }) => percent), it.surge_percent];
  const last = it.changes.at(-1);
  return (
    <>
      <dl class="zone-figures">
        <div><dt>{t("zones.waiting")}</dt><dd>{number(it.n_waiting)}</dd></div>
        <div><dt>{t("zones.free")}</dt><dd>{number(it.n_free)}</dd></div>
        <div><dt>{t("zones.per_hour")}</dt><dd>{number(it.per_hour)} → {number(it.per_hour_soon)}</dd></div>
        <div class="is-wide"><dt>{t("zones.ratio")}</dt><dd>{number(it.ratio, 1)}</dd></div>
        <div><dt>{t("zones.surge")}</dt><dd>×{number(it.surge_percent / 100, 2)}</dd></div>
      </dl>
      {last ? <p class="soft">{t("zones.surge_since", { at: timeOfDay(last.at) })}</p> : null}
      {surges.length > 1 ? <Spark values={surges} label={t("zones.surge")} most={150} /> : null}
    </>
  );
}

/** Pauses the zone, or one of those around it, or lets those go on that are. */
function Pausing({ zones }: { zones: readonly Zone[] }): JSX.Element {
  const { live } = useApp();
  const paused = zones.filter((it) => it.paused);
  const [id, setId] = useState(zones.find((it) => it.resolution === NEIGHBOURHOOD)?.id ?? zones[0]?.id ?? "");
  const [reason, setReason] = useState("");
  const [minutes, setMinutes] = useState<number | null>(MINUTES[1]);
  const pause = (event: SubmitEvent): void => {
    event.preventDefault();
    const until = minutes === null ? {} : { until: Math.round(live.client.serverNow) + minutes * 60_000 };
    void live.ask(id, "act.pause_zone", { zone: { id, action: { pause: { reason: reason.trim(), ...until } } } });
  };
  const resume = (zone: string): void => {
    void live.ask(zone, "act.resume_zone", { zone: { id: zone, action: { resume: { reason: reason.trim() || RESUMED } } } });
  };
  return (
    <form class="form" onSubmit={pause}>
      {paused.map((it) => (
        <p key={it.id} class="zone-paused">
          <span><strong>{t("zones.paused", { size: sizeOf(it.resolution) })}</strong> {it.paused!.reason}{it.paused!.until ? ` · ${t("zones.until", { at: timeOfDay(it.paused!.until) })}` : ""}</span>
          <button type="button" class="ghost" onClick={() => resume(it.id)}>{t("act.resume_zone")}</button>
        </p>
      ))}
      <label for="zone-size">{t("zones.size")}</label>
      <select id="zone-size" class="field" value={id} onChange={(event) => setId(event.currentTarget.value)}>
        {zones.map((it) => <option key={it.id} value={it.id}>{sizeOf(it.resolution)}</option>)}
      </select>
      <label for="zone-reason">{t("zones.reason")}</label>
      <input id="zone-reason" class="field" maxLength={200} value={reason} onInput={(event) => setReason(event.currentTarget.value)} />
      <Texts keys={["reason.flood", "reason.event", "reason.unsafe"]} onChoose={setReason} />
      <div class="segments" role="radiogroup" aria-label={t("zones.how_long")}>
        {[...MINUTES, null].map((it) => (
          <label key={String(it)}><input type="radio" name="minutes" checked={it === minutes} onChange={() => setMinutes(it)} /><span>{it === null ? t("zones.until_resumed") : it < 60 ? t("unit.min", { n: it }) : t("unit.h", { n: it / 60 })}</span></label>
        ))}
      </div>
      <div class="form-end"><button type="submit" class="primary danger" disabled={reason.trim() === ""}>{t("act.pause_zone")}</button></div>
    </form>
  );
}

/** About how large a cell of this resolution is. */
function sizeOf(resolution: number): string {
  const km2: Record<number, number> = { 4: 1770, 5: 253, 6: 36, 7: 5.2, 8: 0.74, 9: 0.11 };
  return t("zones.km2", { n: number(km2[resolution] ?? 0, 2) });
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
