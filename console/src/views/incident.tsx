// Calls for help that are not over: all of them, and one with what may be done about it.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { CheckItem, IncidentAction, IncidentView } from "@outrider/client";
import { go, useApp, useFollowed, useHeard, useTick } from "../app.js";
import { jobId } from "../board.js";
import { LISTED_MAX, isOver, type IncidentPage } from "../incidents.js";
import { clockFace } from "../jobs.js";
import type { Asked } from "../live.js";
import type { Answer } from "../rest.js";
import { who } from "../sos.js";
import { SHAPE, short } from "../status.js";
import { ActorLink, Copy, Empty, Glyph, Loading, Pill, Refusal } from "../ui.js";
import { metres, span, t, timeOfDay, word, type Key } from "../words.js";
import { UnderWay } from "./job.js";

const CHECKS: readonly CheckItem[] = ["caller_safe", "anybody_hurt", "authorities_called", "vehicle_secured"];

/** An incident as it will be if the node says yes to everything that was asked. */
export function expectedIncident(view: IncidentView, asked: readonly Asked[]): IncidentView {
  return asked.reduce<IncidentView>((it, { wish }) => {
    const action = (wish as { incident?: { action: IncidentAction } }).incident?.action;
    if (action === undefined) return it;
    if ("ack" in action) return { ...it, calling: false, status: it.status === "open" ? "acked" : it.status };
    if ("check" in action) {
      const { item, answer } = action.check;
      return { ...it, checklist: [...(it.checklist ?? []).filter((known) => known.item !== item), { item, answer }] };
    }
    if ("resolve" in action) return { ...it, calling: false, status: action.resolve.resolution === "helped" ? "resolved" : "false" };
    return it;
  }, view);
}

/** What an incident is, in few words. */
function named({ kind, mock }: IncidentView): string {
  return `${word("incident", kind)}${mock ? ` · ${t("sos.drill")}` : ""}`;
}

/** Those that are not over; `answer` is how the node lists them, `incidents` how they are known. */
export function Incidents({ answer, incidents, selected, onOpen }: {
  answer: Answer<IncidentPage> | null; incidents: readonly IncidentView[]; selected: string | null; onOpen: (id: string) => void;
}): JSX.Element {
  const { live } = useApp();
  useTick(1000);
  return (
    <div class="listed">
      {answer === null ? <Loading rows={4} /> : "refused" in answer ? <Refusal refused={answer.refused} />
        : incidents.length === 0 ? <Empty>{t("queue.empty.incidents")}</Empty> : null}
      <ul aria-label={t("incidents.list")}>
        {incidents.map((it) => {
          const asked = live.underWay(it.id).at(-1);
          const view = expectedIncident(it, live.underWay(it.id));
          return (
            <li key={it.id}>
              <button type="button" id={`row-${it.id}`} class={view.calling ? "is-calling" : ""} {...(it.id === selected ? { "aria-current": "true" as const } : {})} onClick={() => onOpen(it.id)}>
                <Glyph shape={SHAPE.triangle} colour={view.calling ? "rescue" : "away"} />
                <span class="row-title">{named(view)} <span class="soft">{short(it.id)}</span></span>
                <span class="row-status">{asked ? <em class="asked">{t(asked.what as Key)}…</em> : word("case", view.status)} · {t("sos.by", { who: who(view.raised_by) })}</span>
                <span class="clock-pill h-none">{clockFace(live.client.serverNow - it.opened_at)}</span>
              </button>
            </li>
          );
        })}
      </ul>
      {answer && "ok" in answer && answer.ok.next ? <p class="soft">{t("incidents.first", { n: LISTED_MAX })}</p> : null}
    </div>
  );
}

/** One of them, beside the map. */
export function IncidentDetails({ id, onOpen }: { id: string; onOpen: (id: string) => void }): JSX.Element {
  const app = useApp();
  const { live } = app;
  const told = useFollowed<IncidentView>({ incident: id });
  useTick(1000);
  useHeard((again) => live.on("asked", again), [live]);
  const asked = live.underWay(id);
  const known = told && "view" in told ? told.view : null;
  const view = known && expectedIncident(known, asked);
  const at = view?.position?.at;
  return (
    <>
      <header class="details-head">
        <Glyph shape={SHAPE.triangle} colour={view?.calling ? "rescue" : "away"} />
        <div class="details-name">
          <h2>{t("title.incident", { id: short(id) })}</h2>
          {view ? <div class="details-pills"><Pill tone={view.calling ? "rescue" : "away"} class={known?.status === view.status ? "" : "is-expected"}>{word("case", view.status)}</Pill></div> : null}
        </div>
      </header>
      <div class="details-id"><Copy text={id} /><button type="button" class="ghost" onClick={() => go("actors", id)}>{t("job.inspect")}</button></div>
      <UnderWay asked={asked} />
      <div class="details-body">
        {view ? (
          <dl class="facts" aria-label={t("incidents.facts")}>
            <dt>{t("job.what")}</dt><dd>{named(view)}</dd>
            <dt>{t("incident.opened")}</dt><dd>{timeOfDay(view.opened_at)} <span class="soft">{t("job.ago", { span: span(live.client.serverNow - view.opened_at) })}</span></dd>
            <dt>{t("incident.by")}</dt><dd>{who(view.raised_by)}</dd>
            {view.job ? <><dt>{t("incident.job")}</dt><dd><ActorLink id={jobId(view.job)} mark={live.board.marks.get(jobId(view.job))} onOpen={onOpen} /></dd></> : null}
            {view.others && view.others.length > 0 ? <><dt>{t("incident.others")}</dt><dd>{view.others.map(who).join(", ")}</dd></> : null}
            {view.escalations > 0 ? <><dt>{t("incident.escalations")}</dt><dd>{view.escalations}×</dd></> : null}
            {view.acked_at ? <><dt>{t("incident.seen_to")}</dt><dd>{timeOfDay(view.acked_at)}</dd></> : null}
            {view.responders && view.responders.length > 0 ? <><dt>{t("incident.responders")}</dt><dd>{view.responders.join(", ")}</dd></> : null}
            {view.note ? <><dt>{t("incident.note")}</dt><dd>{view.note}</dd></> : null}
            {at ? (
              <>
                <dt>{t("incident.where")}</dt>
                <dd>
                  {at.lat.toFixed(5)}, {at.lon.toFixed(5)}{view.position?.accuracy_m ? <span class="soft"> ±{metres(view.position.accuracy_m)}</span> : null}
                  <button type="button" class="ghost" onClick={() => { app.followed.set(null); app.camera.flyTo(app.projection.x(at.lon), app.projection.y(at.lat), Math.max(app.camera.zoom, 0.18)); }}>{t("incident.show")}</button>
                </dd>
              </>
            ) : null}
          </dl>
        ) : null}
        <IncidentActions id={id} />
      </div>
    </>
  );
}

/** What staff may do about a call for help. */
export function IncidentActions({ id }: { id: string }): JSX.Element {
  const { live } = useApp();
  const told = useFollowed<IncidentView>({ incident: id });
  useHeard((again) => live.on("asked", again), [live]);
  const [note, setNote] = useState("");
  if (told === null) return <Loading rows={4} />;
  if ("refused" in told) return <Refusal refused={told.refused} />;
  const view = expectedIncident(told.view, live.underWay(id));
  const status = <p class="incident-status"><Pill tone={view.calling ? "rescue" : "away"}>{word("case", view.status)}</Pill> {named(view)}</p>;
  if (isOver(view.status)) return status;
  const act = (what: Key, action: IncidentAction): void => void live.ask(id, what, { incident: { id, action } });
  return (
    <section class="incident" aria-label={t("act")}>
      {status}
      <fieldset>
        <legend>{t("incident.checklist")}</legend>
        {CHECKS.map((item) => {
          const answer = view.checklist?.find((it) => it.item === item)?.answer;
          return (
            <div key={item} class="incident-check"><span id={`check-${item}`}>{t(`incident.${item}` as Key)}</span>
              <span class="segments" role="group" aria-labelledby={`check-${item}`}><button type="button" aria-pressed={answer === true} onClick={() => act("act.check", { check: { item, answer: true } })}>{t("yes")}</button><button type="button" aria-pressed={answer === false} onClick={() => act("act.check", { check: { item, answer: false } })}>{t("no")}</button></span>
            </div>
          );
        })}
      </fieldset>
      <label for="note">{t("incident.note")}</label>
      <input id="note" class="field" maxLength={200} value={note} onInput={(event) => setNote(event.currentTarget.value)} />
      <div class="form-end">
        {view.calling ? <button type="button" class="primary" onClick={() => void live.heed(view)}>{t("act.ack")}</button> : null}
        <button type="button" class="ghost" onClick={() => act("act.escalate", { escalate: { reason: note } })}>{t("act.escalate")}</button>
        <button type="button" class="ghost" onClick={() => act("act.resolve", { resolve: { resolution: "helped", note } })}>{t("incident.helped")}</button>
        <button type="button" class="ghost" onClick={() => act("act.resolve", { resolve: { resolution: "false", note } })}>{t("incident.false")}</button>
      </div>
    </section>
  );
}
