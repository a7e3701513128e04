// One order or rescue: where it stands, what happened to it, how a driver was looked for, and what may be done.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Etas, Fare, FulfilmentStatus, Needs, OfferView, OrderView, Place, Queued, RescueView } from "@outrider/client";
import { go, useApp, useFetched, useFollowed, useHeard, useTick } from "../app.js";
import { JobClock } from "./queue.js";
import { Actions } from "./actions.js";
import { Matching } from "./matching.js";
import { Others } from "./others.js";
import { useWays } from "./way.js";
import { jobOf } from "../jobs.js";
import type { Asked } from "../live.js";
import { isAwaited, kindOf, short, stageOf, type Colour, type Sort } from "../status.js";
import { ActorLink, Copy, Empty, Glyph, Loading, Pill, Refusal, Tabs, described } from "../ui.js";
import { around, because, happened, metres, money, number, span, t, timeOfDay, word, type Key } from "../words.js";

type Tab = "now" | "timeline" | "matching";
const TABS: readonly Tab[] = ["now", "timeline", "matching"];

/** An order or a rescue, as far as both are the same. */
export interface JobView {
  id: string;
  kind: "order" | "rescue";
  sort: Sort;
  /** Whether it is a ride, a delivery or from a shop, or what is wrong. */
  what: string;
  status: string;
  rider: string;
  driver: string | null;
  held: boolean;
  priority: string;
  policy: string | null;
  offers: OfferView[];
  /** Whose drivers it is kept to. */
  fleet: string | null;
  /** Only at first: everybody is asked later. */
  fleetFirst: boolean;
  /** What it is brought with. */
  run: string | null;
  /** Of an order from a shop, where that is with it. */
  fulfilment: FulfilmentStatus;
  /** What whoever helps must bring. */
  needs: Needs | null;
  /** Why nobody is looked for where it begins. */
  paused: string | null;
  stops: Place[];
  stopsDone: number;
  /** Which of them whoever brings it now fetches it at: the hub, once it was left there. */
  pickup: number;
  fare: Fare;
  reason: string | null;
  /** When its vehicle is expected. */
  eta: Etas | null;
  /** Where in the queue it is. */
  queue: Queued | null;
  at: number;
  version: number;
}

export function jobView(view: OrderView | RescueView): JobView {
  if ("issue" in view) {
    const stops = view.dropoff ? [view.at, view.dropoff] : [view.at];
    return {
      id: view.id, kind: "rescue", sort: "rescue", what: word("issue", view.issue), status: view.status, rider: view.rider, driver: view.driver ?? null,
      held: view.held ?? false, priority: view.priority ?? "normal", policy: null, offers: view.offers, fleet: view.fleet ?? null, fleetFirst: false, stops, stopsDone: 0, pickup: 0, fare: view.fare,
      reason: view.outcome ?? null, at: view.requested_at, version: view.version, run: null, fulfilment: "none", needs: view.needs ?? null, paused: null,
      eta: view.eta ?? null, queue: view.queue ?? null,
    };
  }
  return {
    id: view.id, kind: "order", sort: view.kind === "ride" ? "ride" : "delivery", what: word("kind", view.kind), status: view.status, rider: view.rider,
    driver: view.driver ?? null, held: view.held ?? false, priority: view.priority ?? "normal", policy: view.policy, offers: view.offers, fleet: view.fleet ?? null, fleetFirst: view.fleet_first ?? false, stops: view.stops,
    stopsDone: view.stops_done, pickup: view.hub?.left_at ? 1 : 0, fare: view.fare, reason: view.reason ?? null, at: view.placed_at, version: view.version,
    run: view.run ?? null, fulfilment: view.fulfilment, needs: null, paused: view.paused?.reason ?? null, eta: view.eta ?? null, queue: view.queue ?? null,
  };
}

/** A job as it will be if the node says yes to everything that was asked. */
export function expected(view: JobView, asked: readonly Asked[]): JobView {
  return asked.reduce((it, { wish }) => {
    const action = Object.values(wish as Record<string, { action?: object }>)[0]?.action ?? {};
    if ("hold" in action) return { ...it, held: true };
    if ("resume" in action) return { ...it, held: false };
    if ("set_fleet" in action) return { ...it, fleet: (action.set_fleet as { fleet?: string }).fleet ?? null, fleetFirst: false };
    if ("set_priority" in action) return { ...it, priority: (action.set_priority as { priority: string }).priority };
    if ("assign" in action) return given(it, (action.assign as { driver: string }).driver);
    if ("reassign" in action) return given(it, (action.reassign as { driver: string }).driver);
    if ("handover" in action) return { ...given(it, (action.handover as { driver: string }).driver), status: "picked_up" };
    if ("unassign" in action) return { ...it, driver: null, status: "searching" };
    if ("cancel" in action) return { ...it, status: "cancelled_by_admin" };
    if ("cancel_safety" in action) return { ...it, status: "cancelled_safety" };
    return it;
  }, view);
}

/** Whoever is told to, forced or not, sets off for it. */
function given(view: JobView, driver: string): JobView {
  return { ...view, driver, offers: [], eta: null, status: view.kind === "rescue" ? "accepted" : "assigned" };
}

export function JobDetails({ id, isListening, onOpen }: { id: string; isListening: boolean; onOpen: (id: string) => void }): JSX.Element {
  const app = useApp();
  const { live } = app;
  const kind = kindOf(id) === "rescue" ? "rescue" : "order";
  const told = useFollowed<OrderView | RescueView>(kind === "rescue" ? { rescue: id } : { order: id });
  const [tab, setTab] = useState<Tab>("now");
  useTick(1000);
  useHeard((again) => live.on("asked", again), [live]);
  const asked = live.underWay(id);
  const known = told && "view" in told ? jobView(told.view) : null;
  const view = known && expected(known, asked);
  useWays(known ? [known] : []);
  /** Is this so, or only asked for? */
  const sure = (isSo: boolean): string => (isSo ? "" : "is-expected");

  const mark = live.board.job(id);
  const shown = described(id, mark);
  const status = view?.status ?? mark?.status ?? "";
  const stage = status ? stageOf(kind, status) : null;
  const tone: Colour = stage === "completed" ? "good" : stage === "cancelled" || stage === "no_driver" ? "bad" : view?.sort ?? mark?.sort ?? "away";
  const job = mark ? jobOf({ ...mark, status, isHeld: view?.held ?? mark.isHeld }, live.client.serverNow) : null;

  return (
    <>
      <header class="details-head">
        <Glyph shape={shown.shape} colour={shown.colour} />
        <div class="details-name">
          <h2>{shown.title}</h2>
          <div class="details-pills">
            {status ? <Pill tone={tone} class={sure(!known || known.status === status)}>{word("status", status)}</Pill> : null}
            {view?.held ? <Pill tone="offered" class={sure(known!.held)}>{t("job.held")}</Pill> : null}
            {view && view.priority !== "normal" ? <Pill tone={view.priority === "low" ? "away" : "rescue"} class={sure(known!.priority === view.priority)}>{word("priority", view.priority)}</Pill> : null}
            {job ? <JobClock job={job} /> : null}
          </div>
        </div>
      </header>
      <div class="details-id"><Copy text={id} /><button type="button" class="ghost" onClick={() => go("actors", id)}>{t("job.inspect")}</button></div>
      <Others job={id} />
      <UnderWay asked={asked} />
      {told === null ? <Loading /> : "refused" in told ? <Refusal refused={told.refused} /> : view ? (
        <>
          <Actions view={view} isListening={isListening} />
          <Tabs label={t("job.tabs")} current={tab} onChoose={setTab} names={TABS.map((name) => ({ name, label: t(`job.tab.${name}`) }))} />
          <div class="details-body">
            {tab === "now" ? <Now view={view} isDriverSure={known!.driver === view.driver} onOpen={onOpen} /> : null}
            {tab === "timeline" ? <Timeline id={id} version={view.version} onOpen={onOpen} /> : null}
            {tab === "matching" ? <Matching view={view} onOpen={onOpen} /> : null}
          </div>
        </>
      ) : null}
    </>
  );
}

/** What was asked and is not answered: shown as if it were so, and said that it is not yet. */
export function UnderWay({ asked }: { asked: readonly Asked[] }): JSX.Element | null {
  if (asked.length === 0) return null;
  return <p class="under-way" role="status"><span class="spinner" aria-hidden="true" />{asked.map((it) => t(it.what as Key)).join(", ")}…</p>;
}

function Now({ view, isDriverSure, onOpen }: { view: JobView; isDriverSure: boolean; onOpen: (id: string) => void }): JSX.Element {
  const { live } = useApp();
  const due = live.board.job(view.id)?.due ?? null;
  return (
    <>
      {view.offers.length > 0 ? <Offers offers={view.offers} onOpen={onOpen} /> : null}
      <dl class="facts">
        <dt>{t("job.what")}</dt><dd>{view.what}</dd>
        <dt>{t("job.rider")}</dt><dd><ActorLink id={view.rider} onOpen={(id) => go("actors", id)} /></dd>
        <dt>{t("job.driver")}</dt><dd class={isDriverSure ? "" : "is-expected"}>{view.driver ? <DriverLine id={view.driver} view={view} onOpen={onOpen} /> : <span class="soft">{t("job.nobody")}</span>}</dd>
        <dt>{t("job.asked_at")}</dt><dd>{timeOfDay(view.at)} <span class="soft">{t("job.ago", { span: span(live.client.serverNow - view.at) })}</span></dd>
        {due ? <><dt>{t("job.promised")}</dt><dd>{timeOfDay(due)} <span class="soft">{t(due > live.client.serverNow ? "clock.left" : "clock.over", { span: span(Math.abs(due - live.client.serverNow)) })}</span></dd></> : null}
        <Expected view={view} />
        <dt>{t("job.fare")}</dt><dd><FareLines fare={view.fare} /></dd>
        {view.fleet ? <><dt>{t(view.fleetFirst ? "job.fleet_first" : "job.fleet")}</dt><dd title={view.fleet}>{short(view.fleet)}</dd></> : null}
        {view.run ? <><dt>{t("job.run")}</dt><dd><ActorLink id={view.run} onOpen={(id) => go("actors", id)} /></dd></> : null}
        {view.fulfilment === "none" ? null : <><dt>{t("job.shop")}</dt><dd>{word("fulfilment", view.fulfilment)}</dd></>}
        {view.needs ? <><dt>{t("job.needs")}</dt><dd>{inWords(view.needs)}</dd></> : null}
        {view.paused ? <><dt>{t("job.zone_paused")}</dt><dd>{view.paused}</dd></> : null}
        {view.policy ? <><dt>{t("job.policy")}</dt><dd>{word("policy", view.policy)}</dd></> : null}
        {view.reason ? <><dt>{t("job.reason")}</dt><dd>{because(view.reason)}</dd></> : null}
      </dl>
      <h3>{t("job.stops")}</h3>
      <ol class="stops">
        {view.stops.map((stop, i) => (
          <li key={i} class={i < view.stopsDone ? "is-done" : i === view.stopsDone ? "is-next" : ""}>
            <span class="stop-name">{stop.label || t(view.kind === "rescue" ? (i === 0 ? "job.scene" : "job.tow_to") : i === 0 ? "job.pickup" : i === view.stops.length - 1 ? "job.dropoff" : "job.stop")}</span>
            <span class="soft">{stop.at.lat.toFixed(5)}, {stop.at.lon.toFixed(5)}</span>
          </li>
        ))}
      </ol>
      <Nearby view={view} />
    </>
  );
}

/** Any of these vehicles, room for so much, and all of these skills. */
function inWords({ vehicles = [], weight_g = 0, skills = [] }: Needs): string {
  const kinds = vehicles.map((it) => word("kind", it)).join(" / ");
  const weight = weight_g > 0 ? `${number(weight_g / 1000)} kg` : "";
  return [kinds, weight, ...skills.map((it) => word("skill", it))].filter((it) => it !== "").join(", ");
}

/** When its vehicle is there, or where in the queue it is. */
function Expected({ view }: { view: JobView }): JSX.Element | null {
  const { live } = useApp();
  const since = (at: number): number => Math.max(0, live.client.serverNow - at);
  const { eta, queue } = view;
  if (eta && view.driver) {
    return (
      <>
        {eta.pickup ? <><dt>{t("job.eta_pickup")}</dt><dd>{around(eta.pickup, since(eta.at))}</dd></> : null}
        {eta.arrival ? <><dt>{t("job.eta_arrival")}</dt><dd>{around(eta.arrival, since(eta.at))}</dd></> : null}
      </>
    );
  }
  if (queue && !view.driver) {
    const soonest = queue.eta ? <> <span class="soft">{t("job.queue_eta", { span: around(queue.eta, 0) })}</span></> : null;
    return <><dt>{t("job.queue")}</dt><dd>{t("job.queue_place", { n: queue.position, of: queue.n_waiting })}{soonest}</dd></>;
  }
  return null;
}

function DriverLine({ id, view, onOpen }: { id: string; view: JobView; onOpen: (id: string) => void }): JSX.Element {
  const app = useApp();
  const mark = app.live.board.driver(id);
  const at = view.stops[view.pickup]!.at;
  return (
    <span class="driver-line">
      <ActorLink id={id} mark={mark} onOpen={onOpen} />
      {mark && isAwaited(view.kind, view.status) ? <span class="soft">{t("job.driver_away", { far: metres(app.projection.apart(mark.at, at)) })}</span> : null}
    </span>
  );
}

/** How many free drivers there are around where somebody must come. */
function Nearby({ view }: { view: JobView }): JSX.Element | null {
  const app = useApp();
  if (stageOf(view.kind, view.status) !== "searching") return null;
  const near = [1000, 3000].map((m) => {
    let n = 0;
    for (const mark of app.live.board.marks.values()) {
      if (mark.kind === "driver" && mark.status === "available" && app.projection.apart(mark.at, view.stops[view.pickup]!.at) <= m) n += 1;
    }
    return t("job.near", { n, far: metres(m) });
  });
  return <p class="soft">{near.join(" · ")}</p>;
}

function FareLines({ fare }: { fare: Fare }): JSX.Element {
  const total = fare.lines.reduce((sum, it) => sum + it.amount, 0);
  return (
    <details class="fare">
      <summary>{money({ amount: total, currency: fare.currency })}</summary>
      <ul>{fare.lines.map((line) => <li key={line.code}><span>{word("fare", line.code)}</span><span>{money({ amount: line.amount, currency: fare.currency })}</span></li>)}</ul>
    </details>
  );
}

/** Who is being asked just now, and for how much longer. */
function Offers({ offers, onOpen }: { offers: OfferView[]; onOpen: (id: string) => void }): JSX.Element {
  const { live } = useApp();
  return (
    <section class="offers" aria-label={t("job.offers")}>
      <h3>{t("job.offers")}</h3>
      <ul>
        {offers.map((offer) => {
          const left = offer.expires_at - live.client.serverNow;
          return (
            <li key={offer.id}>
              <ActorLink id={offer.driver} mark={live.board.driver(offer.driver)} onOpen={onOpen} />
              <span class="soft">{word("offer", offer.status)}</span>
              <span class={`countdown ${left < 5000 ? "is-soon" : ""}`}>{left > 0 ? span(left) : t("job.offer_due")}</span>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

export interface HistoryRow {
  version: number;
  at: number;
  event: string;
  by?: string;
  driver?: string;
  reason?: string;
  bypassed?: string[];
}

/** The path of the latest 400 to 500 events of an actor; another one only every hundred versions. */
export function historyOf(id: string, version: number): string {
  return `/v1/actors/${id}/history?limit=500&after=${Math.max(0, Math.floor((version - 400) / 100) * 100)}`;
}

/** Whoever did something, as the history names them: by an id, or by a role. */
export function called(who: string): string {
  return kindOf(who) ? described(who, undefined).title : word("kind", who);
}

/** What happened, from the journal, newest first. */
export function Timeline({ id, version, onOpen }: { id: string; version: number; onOpen: (id: string) => void }): JSX.Element {
  const { live } = useApp();
  const answer = useFetched<HistoryRow[]>(historyOf(id, version), version);
  if (answer === null) return <Loading rows={8} />;
  if ("refused" in answer) return <Refusal refused={answer.refused} />;
  if (answer.ok.length === 0) return <Empty>{t("timeline.empty")}</Empty>;
  const first = answer.ok[0]!.at;
  return (
    <ol class="timeline">
      {[...answer.ok].reverse().map((row) => (
        <li key={row.version}>
          <span class="timeline-when"><time dateTime={new Date(row.at).toISOString()}>{timeOfDay(row.at)}</time><span class="soft">+{span(row.at - first)}</span></span>
          <div>
            <strong>{happened(row.event)}</strong>
            {row.by ? <span class="soft"> {t("timeline.by", { who: called(row.by) })}</span> : null}
            {row.driver && kindOf(row.driver) ? <ActorLink id={row.driver} mark={live.board.driver(row.driver)} onOpen={onOpen} /> : null}
            {row.reason ? <q>{because(row.reason)}</q> : null}
            {row.bypassed && row.bypassed.length > 0 ? <span class="soft">{t("timeline.bypassed", { what: row.bypassed.map((it) => word("why", it)).join(", ") })}</span> : null}
          </div>
        </li>
      ))}
    </ol>
  );
}
