// The map as something to touch: drag, wheel, pinch and keys move the camera; a click picks a mark.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useApp, useValue, type App } from "../app.js";
import { DRIVER, SHAPE, type Colour, type Sort } from "../status.js";
import { themed } from "../theme.js";
import { Glyph, IconButton, described } from "../ui.js";
import { number, t, word, type Key } from "../words.js";
import { layStreets } from "./beneath.js";
import type { LatLon } from "./camera.js";
import { Crowds } from "./crowds.js";
import { Ground, niceStep } from "./ground.js";
import { Hexes, type Layer, type Zone } from "./hexes.js";
import { EVERYTHING, Marks, progressOf, type Filter, type Progress } from "./marks.js";
import { regionsOf, type Region } from "./regions.js";
import { WORLD, watchFrom } from "./viewport.js";
import { Zones } from "./zones.js";

const PAN_PX = 80;
const CLICK_PX = 5;
const SORTS: readonly { sort: Sort; shape: number }[] = [
  { sort: "ride", shape: SHAPE.ring }, { sort: "delivery", shape: SHAPE.square }, { sort: "rescue", shape: SHAPE.triangle },
];
const PROGRESS: readonly { progress: Progress; shape: number; colour: Colour; label: Key }[] = [
  { progress: "waiting", shape: SHAPE.ring, colour: "away", label: "filter.waiting" }, { progress: "held", shape: SHAPE.ring, colour: "away", label: "job.held" },
  { progress: "scheduled", shape: SHAPE.ring, colour: "away", label: "status.scheduled" }, { progress: "underway", shape: SHAPE.flag, colour: "away", label: "filter.underway" },
  { progress: "completed", shape: SHAPE.ring, colour: "good", label: "stage.completed" }, { progress: "cancelled", shape: SHAPE.ring, colour: "bad", label: "stage.cancelled" },
  { progress: "no_driver", shape: SHAPE.ring, colour: "bad", label: "stage.no_driver" },
];
const LAYERS: readonly Layer[] = ["none", "demand", "surge"];
/** So many marks tell which regions there are. */
const SAMPLED = 400;
/** Statuses that are listed only when somebody has them. */
const RARE: readonly string[] = ["on_break", "unreachable", "offline", "blocked", "partly_busy"];

interface Props {
  /** Who is ringed. */
  selected: string | null;
  /** Called with whom was picked, or null for bare ground. */
  onPick: (id: string | null) => void;
}

export function MapView({ selected, onPick }: Props): JSX.Element {
  const app = useApp();
  const root = useRef<HTMLDivElement>(null);
  const [ground, streets, credits, cells, marks, crowds, labels, tip, scaleBar, scaleText] = [
    useRef<HTMLCanvasElement>(null), useRef<HTMLDivElement>(null), useRef<HTMLDivElement>(null), useRef<HTMLCanvasElement>(null), useRef<HTMLCanvasElement>(null), useRef<HTMLCanvasElement>(null), useRef<HTMLCanvasElement>(null), useRef<HTMLDivElement>(null),
    useRef<HTMLSpanElement>(null), useRef<HTMLSpanElement>(null),
  ];
  const [hexes, setHexes] = useState<Hexes | null>(null);
  // The place whose zone is looked at.
  const [place, setPlace] = useState<LatLon | null>(null);
  const pick = useRef(onPick);
  pick.current = onPick;
  const [fault, setFault] = useState("");
  const [missing, setMissing] = useState<string | null>(null);
  const choose = useRef<(at: LatLon) => void>(() => {});
  choose.current = (at) => (app.layer.get() === "none" ? pick.current(null) : setPlace(at));

  useEffect(() => void app.arrived.then(() => {
    let layer: Marks;
    try {
      layer = new Marks(marks.current!, app.camera, app.projection, app.live.board);
    } catch (error) {
      setFault(error instanceof Error ? error.message : String(error));
      app.live.look(WORLD);
      return;
    }
    app.marks = layer;
    const bottom = new Ground(ground.current!, app.camera, app.projection, app.city);
    const bubbles = new Crowds(crowds.current!, app.camera);
    const zones = new Hexes(cells.current!, labels.current!, app.camera, app.projection, () => [...bottom.placed, ...bubbles.placed]);
    setHexes(zones);
    layer.oncrowds = (them) => {
      bubbles.show(them);
      zones.repaint();
    };
    app.filter.on(() => layer.filter(app.filter.get()));
    themed.addEventListener("change", () => {
      bottom.recolour();
      bubbles.recolour();
      zones.recolour();
      layer.recolour();
    });
    if (app.streetSource) lift.current = layStreets(app, app.streetSource, bottom, streets.current!, credits.current!, setMissing);
    app.camera.resize(root.current!.clientWidth, root.current!.clientHeight);
    frameRegions(app);
    frameCity(app, () => watchFrom(app.camera, app.projection, (viewport) => app.live.look(viewport)));
    touch(app, layer, bubbles, root.current!, tip.current!, (id) => pick.current(id), (at) => choose.current(at));
    const measure = (): void => {
      const { px, text } = scaleOf(app.camera.zoom);
      scaleBar.current!.style.width = `${px}px`;
      if (scaleText.current!.textContent !== text) scaleText.current!.textContent = text;
    };
    app.camera.addEventListener("change", measure);
    // It has been framed before anybody listened.
    measure();
    layer.select(ringed.current);
  }), []);
  const lift = useRef(() => {});
  useEffect(() => () => lift.current(), []);
  const ringed = useRef(selected);
  ringed.current = selected;
  useEffect(() => app.marks?.select(selected), [selected]);

  return (
    <div ref={root} id="map" class="map" tabIndex={0} role="application" aria-roledescription={t("map.role")} aria-label={t("map.label")} aria-describedby="map-keys">
      <canvas ref={ground} aria-hidden="true" />
      <div ref={streets} class="streets" aria-hidden="true" />
      <canvas ref={cells} class="marks" aria-hidden="true" />
      <canvas ref={marks} class="marks" aria-hidden="true" />
      <canvas ref={crowds} class="marks" aria-hidden="true" />
      <canvas ref={labels} class="marks" aria-hidden="true" />
      <p id="map-keys" class="unseen">{t("map.keys")}</p>
      <div ref={tip} class="tip" hidden />
      {fault ? <div class="notice" role="alert">{t("map.fault", { why: fault })}</div> : <Waiting />}
      <LeftOut />
      <Filters onZone={() => setPlace({ lat: app.projection.lat(app.camera.y), lon: app.projection.lon(app.camera.x) })} />
      <Zones hexes={hexes} place={place} onClose={() => setPlace(null)} />
      <Following />
      {missing !== null ? <p class="no-streets" role="status" title={missing}>{t("map.no_streets")}</p> : null}
      <div ref={credits} class="credits" />
      <div class="scale" aria-hidden="true"><span ref={scaleBar} class="scale-bar" /><span ref={scaleText} /></div>
      <div class="zoom" role="group" aria-label={t("map.view")}>
        <IconButton icon="plus" label={t("map.zoom_in")} onClick={() => app.camera.zoomAt(1.6)} />
        <IconButton icon="minus" label={t("map.zoom_out")} onClick={() => app.camera.zoomAt(1 / 1.6)} />
        <IconButton icon="fit" label={t("map.fit")} onClick={() => { app.followed.set(null); app.camera.fit(); }} />
      </div>
    </div>
  );
}

/** Until the first board is here, and when there is nobody on it. */
function Waiting(): JSX.Element | null {
  const { live } = useApp();
  const [text, setText] = useState(live.board.isKnown ? "" : t("map.waiting"));
  useEffect(() => {
    const judge = (): void => setText(!live.board.isKnown ? t("map.waiting") : live.board.marks.size === 0 ? t("map.empty") : "");
    const ends = [live.board.on("counters", judge), live.board.on("gap", judge)];
    judge();
    return () => ends.forEach((end) => end());
  }, []);
  return text ? <div class="notice" role="status">{text}</div> : null;
}

/** Too many are in view for all of them to be told. */
function LeftOut(): JSX.Element | null {
  const { live: { board } } = useApp();
  const [n, setN] = useState(board.leftOut);
  useEffect(() => board.on("counters", () => setN(board.leftOut)), []);
  return n > 0 ? <p class="left-out">{t("map.left_out", { n: number(n) })}</p> : null;
}

function Following(): JSX.Element | null {
  const app = useApp();
  const id = useValue(app.followed);
  if (id === null) return null;
  return (
    <button type="button" class="following" onClick={() => app.followed.set(null)}>
      <span class="following-dot" aria-hidden="true" />{t("map.following", { who: described(id, app.live.board.marks.get(id)).title })}<span aria-hidden="true">×</span>
    </button>
  );
}

/** What is drawn, with how many there are of each; also the legend. */
function Filters({ onZone }: { onZone: () => void }): JSX.Element {
  const app = useApp();
  const { live: { board } } = app;
  const [isOpen, setOpen] = useState(false);
  const [counters, setCounters] = useState(board.counters);
  const filter = useValue(app.filter);
  const layer = useValue(app.layer);
  const set = (changed: Partial<Filter>): void => app.filter.set({ ...filter, ...changed });
  useEffect(() => {
    if (!isOpen) return undefined;
    setCounters(board.counters);
    return board.on("counters", () => setCounters(board.counters));
  }, [isOpen]);
  const nHidden = filter.hiddenDrivers.size + filter.hiddenSorts.size + filter.hiddenVehicles.size + filter.hiddenProgress.size + (filter.region ? 1 : 0);
  const stages = { ride: board.stages("rides"), delivery: board.stages("deliveries"), rescue: board.stages("rescues") };
  const progress = new Map<Progress, number>();
  if (isOpen) for (const mark of board.marks.values()) if (mark.kind !== "driver") progress.set(progressOf(mark), (progress.get(progressOf(mark)) ?? 0) + 1);
  const left = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || !isOpen) return;
    event.stopPropagation();
    setOpen(false);
    (event.currentTarget as HTMLElement).querySelector("button")?.focus();
  };
  return (
    <div class={`filters ${isOpen ? "is-open" : ""}`} onKeyDown={left} onPointerDown={(event) => event.stopPropagation()} onWheel={(event) => event.stopPropagation()}>
      <IconButton icon="filter" label={t("filter.title")} isPressed={isOpen} onClick={() => setOpen(!isOpen)} />
      {nHidden > 0 && !isOpen ? <button type="button" class="chip" onClick={() => app.filter.set(EVERYTHING)}>{t("filter.hidden", { n: nHidden })} ×</button> : null}
      {isOpen ? (
        <div class="filters-body" role="group" aria-label={t("filter.title")}>
          <h3>{t("filter.zones")}</h3>
          <div class="segments" role="radiogroup" aria-label={t("filter.zones")}>
            {LAYERS.map((it) => <label key={it}><input type="radio" name="layer" checked={it === layer} onChange={() => app.layer.set(it)} /><span>{t(`layer.${it}`)}</span></label>)}
          </div>
          <button type="button" class="ghost filters-zone" onClick={onZone}>{t("zones.here")}</button>
          <h3>{t("filter.jobs")}</h3>
          <ul class="legend">
            {SORTS.map(({ sort, shape }) => (
              <li key={sort}>
                <Toggle isOn={!filter.hiddenSorts.has(sort)} onToggle={() => set({ hiddenSorts: toggled(filter.hiddenSorts, sort) })}>
                  <Glyph shape={shape} colour={sort} /><span class="name">{t(`sort.${sort}`)}</span><span class="count">{number(stages[sort].searching + stages[sort].active)}</span>
                </Toggle>
              </li>
            ))}
            {PROGRESS.map(({ progress: it, shape, colour, label }) => (
              <li key={it}>
                <Toggle isOn={!filter.hiddenProgress.has(it)} onToggle={() => set({ hiddenProgress: toggled(filter.hiddenProgress, it) })}>
                  <Glyph shape={shape} colour={colour} /><span class="name">{t(label)}</span><span class="count">{number(progress.get(it) ?? 0)}</span>
                </Toggle>
              </li>
            ))}
          </ul>
          <h3>{t("filter.drivers")}</h3>
          <ul class="legend">
            {Object.entries(DRIVER).filter(([status]) => (counters.drivers[status] ?? 0) > 0 || !RARE.includes(status) || filter.hiddenDrivers.has(status)).map(([status, { shape, colour }]) => (
              <li key={status}>
                <Toggle isOn={!filter.hiddenDrivers.has(status)} onToggle={() => set({ hiddenDrivers: toggled(filter.hiddenDrivers, status) })}>
                  <Glyph shape={shape} colour={colour} /><span class="name">{word("status", status)}</span><span class="count">{number(counters.drivers[status] ?? 0)}</span>
                </Toggle>
              </li>
            ))}
          </ul>
          <Vehicles hidden={filter.hiddenVehicles} onHide={(hiddenVehicles) => set({ hiddenVehicles })} />
          <Regions region={filter.region} onChoose={(region) => set({ region })} />
        </div>
      ) : null}
    </div>
  );
}

/** What those in view drive. */
function Vehicles({ hidden, onHide }: { hidden: ReadonlySet<string>; onHide: (hidden: ReadonlySet<string>) => void }): JSX.Element | null {
  const { live: { board } } = useApp();
  const counts = new Map<string, number>([...hidden].map((it) => [it, 0]));
  for (const mark of board.marks.values()) if (mark.kind === "driver" && mark.vehicle) counts.set(mark.vehicle, (counts.get(mark.vehicle) ?? 0) + 1);
  if (counts.size === 0) return null;
  return (
    <>
      <h3>{t("filter.vehicles")}</h3>
      <ul class="legend">
        {[...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([vehicle, n]) => (
          <li key={vehicle}>
            <Toggle isOn={!hidden.has(vehicle)} onToggle={() => onHide(toggled(hidden, vehicle))}>
              <Glyph shape={SHAPE.dot} colour="away" /><span class="name">{word("kind", vehicle)}</span><span class="count">{number(n)}</span>
            </Toggle>
          </li>
        ))}
      </ul>
    </>
  );
}

/** The regions that what is known lies in. */
function Regions({ region, onChoose }: { region: Region | null; onChoose: (region: Region | null) => void }): JSX.Element | null {
  const { city, live: { board }, rest } = useApp();
  const [regions, setRegions] = useState<readonly Region[]>(region ? [region] : []);
  useEffect(() => {
    let isWanted = true;
    const places = [...board.marks.values()].slice(0, SAMPLED).map(({ at }) => at);
    void regionsOf(places, regions, rest, city?.places ?? []).then((found) => isWanted && setRegions(found));
    return () => {
      isWanted = false;
    };
  }, []);
  if (regions.length < 2 && region === null) return null;
  return (
    <>
      <h3>{t("filter.region")}</h3>
      <div class="chips">
        <button type="button" aria-pressed={region === null} onClick={() => onChoose(null)}>{t("filter.all_regions")}</button>
        {regions.map((it) => <button key={it.id} type="button" aria-pressed={it.id === region?.id} title={it.id} onClick={() => onChoose(it)}>{it.name}</button>)}
      </div>
    </>
  );
}

function Toggle({ isOn, onToggle, children }: { isOn: boolean; onToggle: () => void; children: ComponentChildren }): JSX.Element {
  return <button type="button" aria-pressed={isOn} onClick={onToggle}>{children}</button>;
}

function toggled<T>(set: ReadonlySet<T>, it: T): ReadonlySet<T> {
  const next = new Set(set);
  if (!next.delete(it)) next.add(it);
  return next;
}

/** So many regions are looked up to see where the map begins. */
const FRAMED_MAX = 16;

/** Of whoever is told of some regions only, the whole city is where they are. Without a city, marks say that: they lie in them. */
function frameRegions({ camera, projection, city, live, rest }: App): void {
  let [framed, asked] = ["", ""];
  const frame = async (): Promise<void> => {
    const wanted = live.regions.join();
    if (city === null || wanted === framed || wanted === asked) return;
    asked = wanted;
    const zones = await Promise.all(live.regions.slice(0, FRAMED_MAX).map((id) => rest.get<Zone>(`/v1/zones/${id}`)));
    // They may have become others meanwhile.
    if (asked !== wanted) return;
    asked = "";
    const corners = zones.flatMap((zone) => ("ok" in zone ? zone.ok.outline : []));
    if (corners.length === 0) return;
    framed = wanted;
    const [x, y] = [corners.map(({ lon }) => projection.x(lon)), corners.map(({ lat }) => projection.y(lat))];
    camera.setBounds({ west: Math.min(...x), east: Math.max(...x), south: Math.min(...y), north: Math.max(...y) });
  };
  live.on("trust", () => void frame());
  void frame();
}

/** Where the whole city is: as it is drawn, or around the first marks. Calls `then` when that is known. */
function frameCity({ camera, projection, city, live, marks, filter }: App, then: () => void): void {
  const { board } = live;
  if (city) {
    const { south, west, north, east } = city.bounds;
    camera.setBounds({ west: projection.x(west), east: projection.x(east), south: projection.y(south), north: projection.y(north) });
    return then();
  }
  const MARGIN_M = 1500;
  live.look(WORLD);
  const end = board.on("marks", () => {
    const [first] = board.marks.values();
    if (!first) return;
    end();
    // Wherever on Earth that is: far from its origin a map's metres are none.
    projection.moveTo(first.at);
    marks?.filter(filter.get());
    const places = [...board.marks.values()].map(({ at }) => [projection.x(at.lon), projection.y(at.lat)] as const);
    const least = (axis: 0 | 1): number => places.reduce((it, place) => Math.min(it, place[axis]), Infinity);
    const most = (axis: 0 | 1): number => places.reduce((it, place) => Math.max(it, place[axis]), -Infinity);
    camera.setBounds({ west: least(0) - MARGIN_M, east: most(0) + MARGIN_M, south: least(1) - MARGIN_M, north: most(1) + MARGIN_M });
    then();
  });
}

type At = [x: number, y: number];

/** Lets pointers and keys move the camera and pick marks. */
function touch(app: App, marks: Marks, crowds: Crowds, root: HTMLElement, tip: HTMLElement, onPick: (id: string | null) => void, onGround: (at: LatLon) => void): void {
  const { camera, live: { board }, followed } = app;
  const pointers = new Map<number, At>();
  let [travelled, hoverAt] = [0, null as At | null];
  const at = (event: MouseEvent): At => {
    const box = root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const isControl = (event: Event): boolean => (event.target as HTMLElement).closest("button, .filters, .zone-card, .credits") !== null;
  const letGo = (): void => followed.set(null);

  const hover = (id: string | null): void => {
    const mark = id === null ? undefined : board.marks.get(id);
    root.classList.toggle("is-over", mark !== undefined);
    tip.hidden = mark === undefined;
    const place = id === null ? null : marks.where(id);
    if (!mark || !place) return;
    const { title, status } = described(mark.id, mark);
    const text = `${title} · ${status}`;
    if (tip.textContent !== text) tip.textContent = text;
    const left = Math.min(camera.width - tip.offsetWidth - 8, Math.max(8, camera.screenX(place[0]) - tip.offsetWidth / 2));
    const above = camera.screenY(place[1]) - tip.offsetHeight - 14;
    tip.style.transform = `translate(${left}px, ${above < 8 ? above + tip.offsetHeight + 30 : above}px)`;
  };

  new ResizeObserver(() => camera.resize(root.clientWidth, root.clientHeight)).observe(root);
  root.addEventListener("pointerdown", (event) => {
    if (isControl(event) || event.button > 0) return;
    root.setPointerCapture(event.pointerId);
    if (pointers.size === 0) travelled = 0;
    pointers.set(event.pointerId, at(event));
    hover(null);
  });
  root.addEventListener("pointermove", (event) => {
    const now = at(event);
    const before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") hoverAt = isControl(event) ? null : now;
      return;
    }
    pointers.set(event.pointerId, now);
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    travelled += Math.hypot(dx, dy);
    if (pointers.size === 1) {
      if (travelled < CLICK_PX) return;
      letGo();
      camera.pan(dx, dy);
      return;
    }
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) return;
    const [far, wasFar] = [apart(now, other), apart(before, other)];
    letGo();
    camera.pan(dx / 2, dy / 2);
    if (wasFar > 10) camera.zoomAt(far / wasFar, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  });
  root.addEventListener("pointerup", (event) => {
    const wasAlone = pointers.size === 1;
    if (!pointers.delete(event.pointerId) || !wasAlone || travelled >= CLICK_PX) return;
    const [x, y] = at(event);
    const id = marks.pick(x, y, event.pointerType === "touch" ? 22 : 12);
    const crowd = id === null ? crowds.at(x, y) : null;
    // A crowd is looked at more closely.
    if (crowd) camera.flyTo(crowd.x, crowd.y, camera.zoom * 2.4);
    else if (id === null) onGround({ lat: app.projection.lat(camera.worldY(y)), lon: app.projection.lon(camera.worldX(x)) });
    else onPick(id);
  });
  root.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  root.addEventListener("pointerleave", () => {
    hoverAt = null;
    hover(null);
  });
  root.addEventListener("wheel", (event) => {
    event.preventDefault();
    // A wheel that counts lines says 3 where one that counts pixels says 100.
    const pixels = event.deltaY * (event.deltaMode === 1 ? 33 : 1);
    camera.zoomAt(Math.exp(-Math.max(-240, Math.min(240, pixels)) * 0.0022), ...at(event));
  }, { passive: false });
  root.addEventListener("dblclick", (event) => {
    if (!isControl(event)) camera.zoomAt(2, ...at(event));
  });
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== root) return;
    const pans: Record<string, At> = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const pan = pans[event.key];
    if (pan) {
      letGo();
      camera.pan(pan[0] * PAN_PX, pan[1] * PAN_PX);
    } else if (event.key === "+" || event.key === "=") {
      camera.zoomAt(1.4);
    } else if (event.key === "-" || event.key === "_") {
      camera.zoomAt(1 / 1.4);
    } else if (event.key === "0") {
      letGo();
      camera.fit();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
  // Whom a still pointer is over changes as they move; a few times a second is enough to say so.
  let judgedAt = 0;
  marks.onframe = () => {
    const id = followed.get();
    const place = id === null ? null : marks.where(id);
    if (place) camera.follow(...place);
    const now = performance.now();
    if (!hoverAt || pointers.size > 0 || now - judgedAt < 60) return;
    judgedAt = now;
    hover(marks.pick(hoverAt[0], hoverAt[1], 9));
  };
}

function apart(a: At, b: At): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

/** A round length that is some 60 pixels or more at this zoom, in pixels per metre. */
export function scaleOf(zoom: number): { px: number; text: string } {
  const length = niceStep(60 / zoom);
  return { px: length * zoom, text: length >= 1000 ? `${length / 1000} km` : `${length} m` };
}
