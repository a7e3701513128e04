// One driver: what it does, what it was offered, and why it gets nothing.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { DriverAction, DriverView } from "@outrider/client";
import { go, useApp, useFetched, useFollowed, useHeard, useTick, useValue } from "../app.js";
import { jobId } from "../board.js";
import type { Asked } from "../live.js";
import { short } from "../status.js";
import { ActorLink, Copy, Empty, Glyph, Loading, Pill, Refusal, described, useKeys } from "../ui.js";
import { because, dayOf, metres, moment, number, span, t, timeOfDay, word } from "../words.js";
import { Grant, More, Reason, SetFleet, Write } from "./actions.js";
import { UnderWay } from "./job.js";
import { Shifts } from "./shifts.js";
import { useJobsOf, useWays } from "./way.js";

interface WhyNoOffers {
  since: number;
  now: string[];
  spells: { from: number | null; until: number | null; why: string }[];
  offers: { id: string; job: { order: string } | { rescue: string }; at: number; ended_at: number | null; outcome: string | null }[];
  n_jobs: number;
  n_proposed: number;
  why: Record<string, number>;
}

/** A driver as it will be if the node says yes to everything that was asked. */
export function expectedDriver(view: DriverView, asked: readonly Asked[]): DriverView {
  return asked.reduce<DriverView>((it, { wish }) => {
    const action = (wish as { driver?: { action: DriverAction } }).driver?.action;
    if (action === undefined) return it;
    if ("suspend" in action) return { ...it, status: "blocked", blocked: action.suspend.reason };
    // Whether it works then is up to it.
    if ("reinstate" in action) return { ...it, blocked: null, status: it.status === "blocked" ? "offline" : it.status };
    if ("set_fleet" in action) return { ...it, fleet: action.set_fleet.fleet ?? null };
    if ("grant_skill" in action) {
      const { skill, until } = action.grant_skill;
      const others = (it.grants ?? []).filter((other) => other.skill !== skill);
      return { ...it, grants: [...others, { skill, until: until ?? null }], ungranted: (it.ungranted ?? []).filter((other) => other !== skill) };
    }
    if ("revoke_skill" in action) {
      const { skill } = action.revoke_skill;
      return { ...it, grants: (it.grants ?? []).filter((other) => other.skill !== skill) };
    }
    return it;
  }, view);
}

/** What is to be said of a driver's rest: nothing once it is over, nor of one off duty that need not rest. */
export function restOf({ rest, status }: Pick<DriverView, "rest" | "status">, now: number): DriverView["rest"] {
  if (!rest || rest.until && rest.until <= now) return null;
  return rest.must || status !== "offline" ? rest : null;
}

export function DriverDetails({ id, isListening, onOpen }: { id: string; isListening: boolean; onOpen: (id: string) => void }): JSX.Element {
  const app = useApp();
  const { live } = app;
  const told = useFollowed<DriverView>({ driver: id });
  const followed = useValue(app.followed);
  const [revoked, setRevoked] = useState<string | null>(null);
  useTick(1000);
  useHeard((again) => live.on("asked", again), [live]);
  const mark = live.board.driver(id);
  const asked = live.underWay(id);
  const refused = live.asked.findLast(({ actor, state }) => actor === id && state === "refused")?.refused;
  const known = told && "view" in told ? told.view : null;
  const view = known && expectedDriver(known, asked);
  useWays(useJobsOf(view?.jobs.map(jobId) ?? []));
  /** Is this so, or only asked for? */
  const sure = (isSo: boolean): string => (isSo ? "" : "is-expected");
  const look = described(id, mark);
  const status = view?.status ?? mark?.status;
  const now = live.client.serverNow;
  const rest = view && restOf(view, now);
  return (
    <>
      <header class="details-head">
        <Glyph shape={look.shape} colour={look.colour} />
        <div class="details-name">
          <h2>{look.title}</h2>
          <div class="details-pills">{status ? <Pill tone={look.colour} class={sure(known === null || known.status === status)}>{word("status", status)}</Pill> : null}{known?.doubted ?? mark?.isDoubted ? <span title={t("driver.doubted_says")}><Pill tone="bad">{t("driver.doubted")}</Pill></span> : null}{(view ? rest : mark?.isTired) ? <span title={t("driver.tired_says")}><Pill tone="resting">{t("driver.tired")}</Pill></span> : null}</div>
        </div>
      </header>
      <div class="details-id">
        <Copy text={id} />
        <button type="button" class="ghost" aria-pressed={followed === id} onClick={() => app.followed.set(followed === id ? null : id)}>{t(followed === id ? "driver.following" : "driver.follow")}</button>
        <button type="button" class="ghost" onClick={() => go("actors", id)}>{t("job.inspect")}</button>
      </div>
      <UnderWay asked={asked} />
      {refused ? <div class="details-refused"><Refusal refused={refused} /></div> : null}
      {view ? <DriverActions view={view} isListening={isListening} /> : null}
      <div class="details-body">
        {told === null ? <Loading /> : "refused" in told ? <Refusal refused={told.refused} /> : null}
        {view ? (
          <dl class="facts">
            <dt>{t("driver.vehicle")}</dt><dd>{view.vehicle ? `${word("kind", view.vehicle.kind)}${view.vehicle.capacity_g ? ` · ${number(view.vehicle.capacity_g / 1000)} kg` : ""}${view.vehicle.skills?.length ? ` · ${view.vehicle.skills.map((it) => word("skill", it)).join(", ")}` : ""}` : "–"}</dd>
            <dt>{t("driver.jobs")}</dt><dd>{view.jobs.length === 0 ? <span class="soft">{t("driver.free")}</span> : view.jobs.map(jobId).map((job) => <ActorLink key={job} id={job} mark={live.board.marks.get(job)} onOpen={onOpen} />)}</dd>
            {view.position ? <><dt>{t("driver.seen")}</dt><dd>{t("job.ago", { span: span(now - view.position.sampled_at) })}{view.position.accuracy_m ? ` · ±${metres(view.position.accuracy_m)}` : ""}</dd></> : null}
            {view.fleet ? <><dt>{t("job.fleet")}</dt><dd title={view.fleet} class={sure(known?.fleet === view.fleet)}>{short(view.fleet)}</dd></> : null}
            {view.grants?.length ? <><dt>{t("driver.grants")}</dt><dd>{view.grants.map(({ skill, until }) => (
              <span key={skill} class={`granted ${sure(known?.grants?.some((it) => it.skill === skill) ?? false)}`}>
                {word("skill", skill)}{until ? <span class="soft">{` ${t(until > now ? "driver.granted_until" : "driver.granted_over", { at: dayOf(until) })}`}</span> : null}
                <button type="button" class="ghost" onClick={() => setRevoked(skill)}>{t("act.revoke")}</button>
              </span>
            ))}</dd></> : null}
            {view.ungranted?.length ? <><dt>{t("driver.ungranted")}</dt><dd>{view.ungranted.map((it) => word("skill", it)).join(", ")}</dd></> : null}
            {view.rates?.made ? <><dt>{t("driver.rates")}</dt><dd>{t("driver.rates_say", { accepted: number(view.rates.accepted ?? 0), declined: number(view.rates.declined ?? 0), ignored: number(view.rates.ignored ?? 0) })}</dd></> : null}
            {view.run ? <><dt>{t("job.run")}</dt><dd><ActorLink id={view.run} onOpen={(run) => go("actors", run)} /></dd></> : null}
            {rest ? <><dt>{t("driver.rest")}</dt><dd>{rest.until ? t("driver.rest_until", { at: moment(rest.until) }) : rest.must ? t("driver.rest_then") : rest.at ? t("driver.rest_at", { at: moment(rest.at) }) : t("driver.tired")}</dd></> : null}
            {view.blocked ? <><dt>{t("driver.blocked")}</dt><dd class={sure(known?.blocked === view.blocked)}>{because(view.blocked)}</dd></> : null}
          </dl>
        ) : null}
        {view && view.offers.length > 0 ? (
          <section class="offers">
            <h3>{t("driver.offers")}</h3>
            <ul>{view.offers.map((offer) => (
              <li key={offer.id}><ActorLink id={jobId(offer.job)} mark={live.board.marks.get(jobId(offer.job))} onOpen={onOpen} /><span class="soft">{span(offer.eta_s * 1000)}</span>{offer.next ? <span class="soft">{t("driver.offer_next")}</span> : null}<span class="countdown">{span(offer.expires_at - now)}</span></li>
            ))}</ul>
          </section>
        ) : null}
        {revoked ? <Reason title="act.revoke" go="act.revoke" says="act.revoke.says" suggestions={["reason.papers", "reason.over"]} isDanger onClose={() => setRevoked(null)}
          onGive={(reason) => void live.ask(id, "act.revoke", { driver: { id, action: { revoke_skill: { skill: revoked, reason } } } })} /> : null}
        <Shifts id={id} told={[view?.shift?.start, view?.shift?.end, view?.shift?.zone, view?.n_shift_no_shows].join()} />
        <WhyNone id={id} version={view?.version ?? 0} onOpen={onOpen} />
      </div>
    </>
  );
}

/** What staff may do about a driver. */
function DriverActions({ view, isListening }: { view: DriverView; isListening: boolean }): JSX.Element {
  const { live } = useApp();
  const [open, setOpen] = useState<"message" | "fleet" | "grant" | "suspend" | null>(null);
  useKeys((event) => {
    if (event.key !== "m") return;
    event.preventDefault();
    setOpen("message");
  }, isListening);
  const close = (): void => setOpen(null);
  const wish = (action: object): never => ({ driver: { id: view.id, action } }) as never;
  return (
    <div class="actions" role="group" aria-label={t("act")}>
      <button type="button" class="primary" onClick={() => setOpen("message")}>{t("act.message")}</button>
      {view.blocked
        ? <button type="button" class="ghost" onClick={() => void live.ask(view.id, "act.reinstate", wish({ reinstate: {} }))}>{t("act.reinstate")}</button>
        : <button type="button" class="ghost danger" onClick={() => setOpen("suspend")}>{t("act.suspend")}</button>}
      <More>
        <button type="button" class="ghost" onClick={() => setOpen("fleet")}>{t("act.fleet")}</button>
        <button type="button" class="ghost" onClick={() => setOpen("grant")}>{t("act.grant")}</button>
      </More>
      {open === "message" ? <Write to={[view.id]} onClose={close} /> : null}
      {open === "fleet" ? <SetFleet job={view.id} fleet={view.fleet ?? null} says="act.fleet.driver_says" wish={(given) => wish({ set_fleet: given })} onClose={close} /> : null}
      {open === "grant" ? <Grant driver={view.id} ungranted={view.ungranted ?? []} onClose={close} /> : null}
      {open === "suspend" ? <Reason title="act.suspend" go="act.suspend" says="act.suspend.says" suggestions={["reason.complaint", "reason.papers", "reason.unsafe"]} isDanger onClose={close}
        onGive={(reason) => void live.ask(view.id, "act.suspend", wish({ suspend: { reason, reassign: false } }))} /> : null}
    </div>
  );
}

function WhyNone({ id, version, onOpen }: { id: string; version: number; onOpen: (id: string) => void }): JSX.Element {
  const { live } = useApp();
  const answer = useFetched<WhyNoOffers>(`/v1/drivers/${id}/why-no-offers`, version);
  if (answer === null) return <Loading rows={4} />;
  if ("refused" in answer) return <Refusal refused={answer.refused} />;
  const { now, why, n_jobs: nJobs, n_proposed: nProposed, offers, since } = answer.ok;
  return (
    <>
      <h3>{t("driver.why")}</h3>
      {now.length > 0 ? <p>{t("driver.why_now")} <strong>{now.map((it) => word("why", it)).join(", ")}</strong></p> : <p class="soft">{t("driver.why_nothing")}</p>}
      <p class="soft">{t("driver.why_jobs", { jobs: nJobs, proposed: nProposed, since: timeOfDay(since) })}</p>
      {Object.keys(why).length > 0 ? <ul class="tags">{Object.entries(why).sort((a, b) => b[1] - a[1]).map(([reason, n]) => <li key={reason}>{word("why", reason)} <strong>{n}</strong></li>)}</ul> : null}
      <h3>{t("driver.made")}</h3>
      {offers.length === 0 ? <Empty>{t("driver.made_none")}</Empty> : (
        <ol class="offered">
          {[...offers].reverse().slice(0, 12).map((it) => (
            <li key={it.id}><time>{timeOfDay(it.at)}</time><div><ActorLink id={jobId(it.job)} mark={live.board.marks.get(jobId(it.job))} onOpen={onOpen} />
              <span class={`outcome o-${it.outcome ?? "open"}`}>{it.outcome === null ? t("matching.open") : word("offer", it.outcome)}</span></div></li>
          ))}
        </ol>
      )}
    </>
  );
}
