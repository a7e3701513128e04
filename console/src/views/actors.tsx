// Any actor by its id: what it remembers, as it changes; what happened to it; and what it was, version by version.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { ActorView, RunView } from "@outrider/client";
import { go, useApp, useFetched, useFollowed, usePolled, useTick } from "../app.js";
import { kindOf, short, type Kind } from "../status.js";
import { Tree, changesBetween } from "../tree.js";
import { ActorLink, Copy, Empty, Glyph, Loading, Refusal, described, said } from "../ui.js";
import { because, happened, percent, span, t, timeOfDay, word } from "../words.js";
import { IncidentActions } from "./incident.js";
import { called, historyOf, type HistoryRow } from "./job.js";

const RECENT_MAX = 14;
const KEY = "outrider.recent";
/** The kinds whose past the node can make anew from their events. */
const TRAVELLED: readonly Kind[] = ["order", "rescue", "driver", "rider", "incident", "zone", "run", "rule", "template"];

const LOOK_MS = 2000;

/** Where an actor lives, and how it is there. */
interface Residence {
  shard: number;
  node?: string;
  epoch?: number;
  awake?: boolean;
  waiting?: number;
  falls?: number;
  quarantined?: boolean;
}

interface SessionPage {
  items: { id: string; node?: string }[];
}

export function Actors({ id }: { id: string | null }): JSX.Element {
  const { live: { board } } = useApp();
  const [recent, setRecent] = useState<string[]>(() => JSON.parse(sessionStorage.getItem(KEY) ?? "[]"));
  const isActor = id !== null && kindOf(id) !== null;
  useEffect(() => {
    if (!isActor) return;
    const next = [id, ...recent.filter((it) => it !== id)].slice(0, RECENT_MAX);
    sessionStorage.setItem(KEY, JSON.stringify(next));
    setRecent(next);
  }, [id]);
  const open = (next: string): void => go("actors", next);
  return (
    <div class="actors">
      <aside class="actors-side">
        <form onSubmit={(event) => { event.preventDefault(); const text = new FormData(event.currentTarget).get("id"); if (typeof text === "string" && kindOf(text.trim())) open(text.trim()); }}>
          <label for="actor-id">{t("actors.by_id")}</label>
          <input id="actor-id" name="id" class="field" placeholder="order-0192f3c8…" spellcheck={false} autocomplete="off" pattern="\s*(order|rescue|driver|rider|incident|revocation|zone|run|rule|template)-[0-9a-f]{32}\s*" title={t("actors.pattern")} />
        </form>
        <h3>{t("actors.recent")}</h3>
        {recent.length === 0 ? <Empty>{t("actors.recent_none")}</Empty> : (
          <ul class="recent">{recent.map((it) => <li key={it} {...(it === id ? { "aria-current": "true" as const } : {})}><ActorLink id={it} mark={board.marks.get(it)} onOpen={open} /></li>)}</ul>
        )}
      </aside>
      {isActor ? <Actor key={id} id={id} onOpen={open} /> : <div class="actors-none"><Glyph shape={1} colour="away" /><p>{t(id === null ? "actors.none" : "actors.no_id")}</p></div>}
    </div>
  );
}

function Actor({ id, onOpen }: { id: string; onOpen: (id: string) => void }): JSX.Element {
  const { live } = useApp();
  const told = useFollowed<ActorView>({ actor: id });
  useTick(1000);
  const mark = live.board.marks.get(id);
  const look = described(id, mark);
  const kind = kindOf(id)!;
  const view = told && "view" in told ? told.view : null;
  return (
    <section class="actor" aria-label={look.title} id="inspector">
      <header class="actor-head">
        <Glyph shape={look.shape} colour={look.colour} />
        <h2>{look.title}</h2>
        {look.status ? <span class={`pill t-${look.colour}`}>{look.status}</span> : null}
        <Copy text={id} />
        {kind === "order" || kind === "rescue" || kind === "driver" || kind === "incident" ? <button type="button" class="ghost" onClick={() => go("dispatch", id)}>{t("actors.on_map")}</button> : null}
      </header>
      <Living id={id} />
      {told === null ? <Loading rows={10} /> : "refused" in told ? <Refused id={id} code={told.refused.code}><Refusal refused={told.refused} /></Refused> : null}
      {view ? <Remembered id={id} view={view} onOpen={onOpen} /> : null}
    </section>
  );
}

/** Its node, its mailbox, its falls and, to admins, the devices of whoever it is. */
function Living({ id }: { id: string }): JSX.Element | null {
  const { live } = useApp();
  const isPerson = kindOf(id) === "rider" || kindOf(id) === "driver";
  const answer = usePolled<Residence>(`/v1/actors/${id}/residence`, LOOK_MS);
  const devices = usePolled<SessionPage>(live.isAdmin && isPerson ? `/admin/sessions?principal=${id}&limit=20` : null, LOOK_MS * 2);
  if (answer === null) return null;
  if ("refused" in answer) return <p class="soft actor-living" role="status">{t("actors.unknown", { why: said(answer.refused) })}</p>;
  const { node, epoch, awake, waiting, falls, quarantined } = answer.ok;
  const sessions = devices && "ok" in devices ? devices.ok.items : null;
  return (
    <dl class="actor-facts actor-living">
      {node ? <div><dt>{t("actors.node")}</dt><dd>{node}{epoch === undefined ? null : <span class="soft"> · {t("cluster.epoch", { n: epoch })}</span>}</dd></div> : null}
      <div><dt>{t("actors.hosted")}</dt><dd>{awake === undefined ? t("actors.silent") : quarantined ? t("actors.quarantined") : t(awake ? "actors.awake" : "actors.asleep")}</dd></div>
      {waiting === undefined ? null : <div><dt>{t("actors.mailbox")}</dt><dd class={waiting > 8 ? "countdown is-soon" : ""}>{waiting}</dd></div>}
      {falls ? <div><dt>{t("actors.falls")}</dt><dd>{falls}</dd></div> : null}
      {devices && "refused" in devices ? <div><dt>{t("actors.sessions")}</dt><dd>{said(devices.refused)}</dd></div> : null}
      {sessions === null ? null : <div><dt>{t("actors.sessions")}</dt><dd>{sessions.length === 0 ? t("actors.sessions_none") : sessions.map((it) => `${short(it.id)}${it.node ? ` (${it.node})` : ""}`).join(", ")}</dd></div>}
    </dl>
  );
}

/** It is not shown; if it was set aside, an admin may give it another chance. */
function Refused({ id, code, children }: { id: string; code: string; children: JSX.Element }): JSX.Element {
  const { live, rest } = useApp();
  const [said, setSaid] = useState<JSX.Element | null>(null);
  const release = async (): Promise<void> => {
    const answer = await rest.post(`/v1/actors/${id}/release`);
    if ("refused" in answer) return setSaid(<Refusal refused={answer.refused} />);
    setSaid(null);
    live.again({ actor: id });
  };
  return (
    <div class="actor-refused">
      {children}
      {code === "quarantined" ? (
        live.isAdmin ? <button type="button" class="primary" onClick={() => void release()}>{t("actors.release")}</button> : <p class="soft">{t("actors.release_admins")}</p>
      ) : <button type="button" class="ghost" onClick={() => live.again({ actor: id })}>{t("again")}</button>}
      {said}
    </div>
  );
}

function Remembered({ id, view, onOpen }: { id: string; view: ActorView; onOpen: (id: string) => void }): JSX.Element {
  const { live } = useApp();
  // Which version is looked at; null: the latest, as it changes.
  const [version, setVersion] = useState<number | null>(null);
  const isPast = version !== null && version < view.version;
  const past = useFetched<ActorView>(isPast ? `/v1/actors/${id}?version=${version}` : null);
  const before = useFetched<ActorView>(isPast && version > 1 ? `/v1/actors/${id}?version=${version - 1}` : null);
  const history = useFetched<HistoryRow[]>(historyOf(id, view.version), view.version);
  const rows = history && "ok" in history ? history.ok : [];
  const changes = useChanges(view);
  const shown = isPast ? (past && "ok" in past ? past.ok : null) : view;
  const canTravel = TRAVELLED.includes(kindOf(id)!) && view.version > 1;
  return (
    <div class="remembered">
      <div class="remembered-state">
        <dl class="actor-facts">
          <div><dt>{t("actors.version")}</dt><dd>{view.version}</dd></div>
          <div><dt>{t("actors.shard")}</dt><dd>{view.shard}</dd></div>
          <div><dt>{t("actors.next")}</dt><dd>{view.deadline ? <Countdown at={view.deadline} now={live.client.serverNow} /> : t("actors.nothing_planned")}</dd></div>
          <div><dt>{t("actors.born")}</dt><dd>{rows[0]?.version === 1 ? timeOfDay(rows[0].at) : "–"}</dd></div>
        </dl>
        {kindOf(id) === "incident" ? <IncidentActions id={id} /> : null}
        {kindOf(id) === "run" ? <Run id={id} onOpen={onOpen} /> : null}
        {canTravel ? (
          <div class={`travel ${isPast ? "is-past" : ""}`}>
            <label for="version">{t("actors.travel")}</label>
            <input id="version" type="range" min={1} max={view.version} value={version ?? view.version} aria-valuetext={t("actors.as_of", { n: version ?? view.version })}
              onInput={(event) => { const n = event.currentTarget.valueAsNumber; setVersion(n >= view.version ? null : n); }} />
            <output>{isPast ? `v${version}` : t("actors.now")}</output>
            {isPast ? <button type="button" class="ghost" onClick={() => setVersion(null)}>{t("actors.back")}</button> : null}
          </div>
        ) : null}
        <h3>{isPast ? t("actors.as_of", { n: version }) : t("actors.state")}</h3>
        {isPast && past && "refused" in past ? <Refusal refused={past.refused} /> : null}
        {shown === null ? (isPast && past && "refused" in past ? null : <Loading rows={10} />) : (
          <Tree value={shown.state} changed={isPast ? (before && "ok" in before ? changesBetween(before.ok.state, shown.state) : new Set()) : changes} isLasting={isPast} onOpen={onOpen} />
        )}
      </div>
      <div class="remembered-history">
        <h3>{t("actors.history")}</h3>
        {history === null ? <Loading rows={8} /> : "refused" in history ? <Refusal refused={history.refused} /> : (
          <ol class="history">
            {[...rows].reverse().map((row) => (
              <li key={row.version}>
                <button type="button" disabled={!canTravel} aria-pressed={row.version === (version ?? view.version)} onClick={() => setVersion(row.version >= view.version ? null : row.version)}>
                  <span class="n">v{row.version}</span><span class="what">{happened(row.event)}</span><time>{timeOfDay(row.at)}</time>
                  {row.by || row.reason || row.driver ? (
                    <span class="more">{[row.by ? called(row.by) : null, row.driver && kindOf(row.driver) ? `→ ${short(row.driver)}` : null, row.reason ? `“${because(row.reason)}”` : null].filter(Boolean).join(" · ")}</span>
                  ) : null}
                </button>
              </li>
            ))}
          </ol>
        )}
      </div>
    </div>
  );
}

/** Paths of the state that have just changed. */
function useChanges(view: ActorView): ReadonlySet<string> {
  const before = useRef<ActorView | null>(null);
  const changes = useRef<{ version: number; paths: Set<string> }>({ version: view.version, paths: new Set() });
  if (before.current !== view) {
    if (before.current !== null) changes.current = { version: view.version, paths: changesBetween(before.current.state, view.state) };
    before.current = view;
  }
  return changes.current.paths;
}

function Countdown({ at, now }: { at: number; now: number }): JSX.Element {
  const left = at - now;
  return <span class={left < 10_000 ? "countdown is-soon" : "countdown"}>{left > 0 ? t("actors.in", { span: span(left) }) : t("actors.due")}</span>;
}

/** What several deliveries are, brought as one: whose, how far each has come, and what is still to be done. */
function Run({ id, onOpen }: { id: string; onOpen: (id: string) => void }): JSX.Element {
  const { live: { board } } = useApp();
  const told = useFollowed<RunView>({ run: id });
  if (told === null) return <Loading rows={4} />;
  if ("refused" in told) return <Refusal refused={told.refused} />;
  const { view } = told;
  return (
    <section class="run" aria-label={t("runs.facts")}>
      <dl class="facts">
        <dt>{t("runs.status")}</dt><dd>{word("run", view.status)}</dd>
        <dt>{t("job.driver")}</dt><dd><ActorLink id={view.driver} mark={board.driver(view.driver)} onOpen={onOpen} /></dd>
        <dt>{t("runs.saving")}</dt><dd>{percent(view.saving_percent / 100)}</dd>
        {view.reason ? <><dt>{t("job.reason")}</dt><dd>{because(view.reason)}</dd></> : null}
        <dt>{t("runs.orders")}</dt>
        <dd><ul>{view.orders.map(({ order, status }) => <li key={order}><ActorLink id={order} mark={board.marks.get(order)} onOpen={onOpen} /> <span class="soft">{word("member", status)}</span></li>)}</ul></dd>
        {view.stops.length > 0 ? (
          <>
            <dt>{t("runs.stops")}</dt>
            <dd><ol>{view.stops.map(({ order, what, at, due }) => (
              <li key={`${order}.${what}`}>{word("errand", what)} {short(order)}{at.label ? ` · ${at.label}` : ""} <span class="soft">{t("runs.due", { at: timeOfDay(due) })}</span></li>
            ))}</ol></dd>
          </>
        ) : null}
      </dl>
    </section>
  );
}
