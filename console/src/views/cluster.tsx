// Who serves what: nodes and what each counts of itself, shards by owner and load, what is moving, and what the node that serves
// the page counts.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Refused } from "@outrider/client";
import { useApp, useHeard } from "../app.js";
import { Loads, STRENGTHS, strengths, type Load, type Measure } from "../load.js";
import { parseMetrics, quantileMs, total, type Sample } from "../metrics.js";
import { Dialog, Empty, Loading, Pill, Refusal, Spark } from "../ui.js";
import { number, span, t, word, type Key } from "../words.js";

const SHARDS = 1024;
const LOOK_MS = 1000;
const FIGURES_MS = 2000;
const KEPT = 60;
/** Quantiles are of so many looks: half a minute. */
const WINDOW = 15;
/** A lease that has less left than this is a reason to look. */
const LEASE_SHORT_MS = 1500;
/** Owners are told apart by hue, and by their number where it matters. */
const HUES = 8;

interface Node {
  node: string;
  incarnation: number;
  standing: string;
  address: string;
  zone: string;
  weight: number;
  version: string;
  reads: number;
  hears: boolean;
  age_ms: number;
  lease_left_ms: number;
  n_shards: number;
  /** What it counts; absent if it did not say. */
  sessions?: Record<string, number>;
  commit_p50_ms?: number;
  commit_p99_ms?: number;
}

interface ClusterView {
  me: number | null;
  nodes: Node[];
  shards: { shard: number; owner: number | null; epoch: number; n_awake?: number; n_commands?: number }[];
  moves: { shard: number; from: number; to: number; phase: string; lasts_ms: number }[];
  pins: { shard: number; node: string | null }[];
  n_orphans: number;
  n_waiting: number;
  writes: number;
  sessions: Record<string, number>;
  silent: string[];
}

/** As a node says it; an older one says less. */
type Answered = Omit<ClusterView, "sessions" | "silent"> & Partial<Pick<ClusterView, "sessions" | "silent">>;

export function viewOf(answered: Answered): ClusterView {
  return { ...answered, sessions: answered.sessions ?? {}, silent: answered.silent ?? [] };
}

/** What was last seen, and why there is nothing newer. */
interface Seen {
  view: ClusterView | null;
  at: number;
  refused: Refused | null;
}

/** Looks again and again: each time a while after the last answer, however long that took. What was seen stays where there is no newer. */
function useSeen(isWanted: boolean): Seen {
  const { rest } = useApp();
  const [seen, setSeen] = useState<Seen>({ view: null, at: 0, refused: null });
  useEffect(() => {
    if (!isWanted) return undefined;
    let isOver = false;
    let timer: ReturnType<typeof setTimeout>;
    const look = async (): Promise<void> => {
      if (!document.hidden) {
        const answer = await rest.get<Answered>("/admin/cluster");
        if (isOver) return;
        setSeen((before) => ("ok" in answer ? { view: viewOf(answer.ok), at: Date.now(), refused: null } : { ...before, refused: answer.refused }));
      }
      timer = setTimeout(() => void look(), LOOK_MS);
    };
    void look();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [isWanted]);
  return seen;
}

export function Cluster(): JSX.Element {
  const { live } = useApp();
  useHeard((again) => live.on("trust", again));
  const { view, at, refused } = useSeen(live.isAdmin);
  return (
    <div class="cluster">
      <Figures />
      {live.principal !== null && !live.isAdmin ? (
        <section class="card cluster-closed"><h2>{t("cluster.admins")}</h2><p class="soft">{t("cluster.admins.says")}</p><p class="hint"><code>outrider token --role admin</code></p></section>
      ) : view === null ? refused === null ? <Loading rows={12} /> : <Refusal refused={refused} /> : (
        <>
          {refused === null ? null : <div class="cluster-stale"><p>{t("cluster.stale", { span: span(Date.now() - at) })}</p><Refusal refused={refused} /></div>}
          {view.silent.length > 0 ? <p class="cluster-silent" role="status">{t("matching.silent", { nodes: view.silent.join(", ") })}</p> : null}
          {view.me === null ? <Alone view={view} /> : <Together view={view} at={at} />}
        </>
      )}
    </div>
  );
}

/** A node that is alone: everything is its own. */
function Alone({ view }: { view: ClusterView }): JSX.Element {
  return (
    <section class="card">
      <div class="card-head"><h2>{t("cluster.alone")}</h2></div>
      <p class="soft">{t("cluster.alone.says")}</p>
      <Sessions view={view} />
    </section>
  );
}

function Together({ view, at }: { view: ClusterView; at: number }): JSX.Element {
  const hue = useMemo(() => new Map(view.nodes.map((it) => it.incarnation).sort((a, b) => a - b).map((it, i) => [it, i % HUES])), [view.nodes.map((it) => it.incarnation).join()]);
  const names = new Map(view.nodes.map((it) => [it.incarnation, it.node]));
  const [shard, setShard] = useState<number | null>(null);
  const [measure, setMeasure] = useState<Measure>("awake");
  const looks = useRef(new Loads());
  const loads = useMemo(() => looks.current.look(view.shards, at), [view]);
  return (
    <>
      <section class="card">
        <div class="card-head">
          <h2>{t("cluster.nodes")}</h2>
          <p class="soft">{t("cluster.facts", { orphans: view.n_orphans, waiting: view.n_waiting, format: view.writes })}</p>
        </div>
        <Nodes view={view} hue={hue} />
      </section>
      <div class="cluster-pair">
        <section class="card">
          <div class="card-head"><h2>{t("cluster.shards")}</h2><p class="soft">{t("cluster.shards.says")}</p></div>
          <Strengths measure={measure} onChoose={setMeasure} />
          <Matrix view={view} hue={hue} names={names} loads={loads} measure={measure} onChoose={setShard} />
        </section>
        <section class="card">
          <div class="card-head"><h2>{t("cluster.moves")}</h2></div>
          <Moves view={view} names={names} />
          <Pins view={view} />
          <Sessions view={view} />
        </section>
      </div>
      {shard === null ? null : <PinDialog view={view} shard={shard} names={names} onClose={() => setShard(null)} />}
    </>
  );
}

function Nodes({ view, hue }: { view: ClusterView; hue: Map<number, number> }): JSX.Element {
  const [draining, setDraining] = useState<Node | null>(null);
  const longest = Math.max(1, ...view.nodes.map((it) => it.lease_left_ms));
  return (
    <div class="scroll">
      <table class="nodes">
        <thead><tr>{(["node", "standing", "n_shards", "sessions", "commit", "lease", "hears", "build", "age", "act"] as const).map((it) => <th key={it} scope="col">{it === "act" ? <span class="unseen">{t("act")}</span> : t(`cluster.${it}`)}</th>)}</tr></thead>
        <tbody>
          {view.nodes.map((it) => {
            const isMe = it.incarnation === view.me;
            return (
              <tr key={it.incarnation}>
                <th scope="row"><span class={`owner o-${hue.get(it.incarnation)}`} aria-hidden="true" />{it.node}{isMe ? <span class="soft"> · {t("cluster.me")}</span> : null}<span class="soft node-address">{it.address}{it.zone ? ` · ${it.zone}` : ""}</span></th>
                <td><Pill tone={it.standing === "up" ? "good" : it.standing === "draining" ? "offered" : "bad"}>{word("standing", it.standing)}</Pill></td>
                <td><strong>{it.n_shards}</strong> <span class="soft">{t("cluster.of_all", { share: Math.round((100 * it.n_shards) / SHARDS) })}</span></td>
                <td>{it.sessions === undefined ? "–" : <strong title={byRole(it.sessions)}>{number(sum(it.sessions))}</strong>}</td>
                <td>{it.commit_p50_ms === undefined || it.commit_p99_ms === undefined ? "–" : `${ms(it.commit_p50_ms)} / ${ms(it.commit_p99_ms)}`}</td>
                <td><span class={`lease ${it.lease_left_ms < LEASE_SHORT_MS ? "is-short" : ""}`}><span style={{ width: `${(100 * it.lease_left_ms) / longest}%` }} /></span><span class="lease-ms">{span(it.lease_left_ms)}</span></td>
                <td>{t(it.hears ? "yes" : "no")}</td>
                <td>{it.version} <span class="soft">{t("cluster.reads", { n: it.reads })}</span></td>
                <td>{span(it.age_ms)}</td>
                <td><button type="button" class="ghost danger" disabled={it.standing !== "up"} aria-label={t("cluster.drain.one", { node: it.node })} onClick={() => setDraining(it)}>{t("cluster.drain")}</button></td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {draining ? <Drain view={view} node={draining} onClose={() => setDraining(null)} /> : null}
    </div>
  );
}

function Drain({ view, node, onClose }: { view: ClusterView; node: Node; onClose: () => void }): JSX.Element {
  const { rest } = useApp();
  const [refused, setRefused] = useState<Refused | null>(null);
  const drain = async (): Promise<void> => {
    const answer = await rest.post(`/admin/drain/${encodeURIComponent(node.node)}`);
    if ("refused" in answer) setRefused(answer.refused);
    else onClose();
  };
  return (
    <Dialog title={t("cluster.drain.title", { node: node.node })} onClose={onClose}>
      <div class="form">
        <p>{t("cluster.drain.says", { n: node.n_shards })}</p>
        {node.incarnation === view.me ? <p class="soft">{t("cluster.drain.me")}</p> : null}
        {view.nodes.filter((it) => it.standing === "up").length < 2 ? <p class="refusal">{t("cluster.drain.last")}</p> : null}
        {refused ? <Refusal refused={refused} /> : null}
        <div class="form-end"><button type="button" class="ghost" onClick={onClose}>{t("act.not")}</button><button type="button" class="primary danger" onClick={() => void drain()}>{t("cluster.drain")}</button></div>
      </div>
    </Dialog>
  );
}

/** By what shards are strong, and how strong they can be. */
function Strengths({ measure, onChoose }: { measure: Measure; onChoose: (measure: Measure) => void }): JSX.Element {
  const measures = { awake: "cluster.load.awake", perS: "cluster.load.commands" } as const;
  return (
    <div class="strengths">
      <span class="soft">{t("cluster.load")}</span>
      <div class="segments" role="radiogroup" aria-label={t("cluster.load")}>
        {(Object.keys(measures) as Measure[]).map((it) => <label key={it}><input type="radio" name="measure" checked={it === measure} onChange={() => onChoose(it)} /><span>{t(measures[it])}</span></label>)}
      </div>
      <span class="ramp" aria-hidden="true">{Array.from({ length: STRENGTHS }, (_, i) => <i key={i} class={`o-0 load-${i}`} />)}</span>
    </div>
  );
}

function Matrix({ view, hue, names, loads, measure, onChoose }: {
  view: ClusterView; hue: Map<number, number>; names: Map<number, string>; loads: Map<number, Load>; measure: Measure; onChoose: (shard: number) => void;
}): JSX.Element {
  const strong = useMemo(() => strengths(loads, measure), [loads, measure]);
  const moving = new Map(view.moves.map((it) => [it.shard, it]));
  const pinned = new Set(view.pins.map((it) => it.shard));
  // Whose owner has just become another one.
  const owners = useRef(new Map<number, number | null>());
  const [at, setAt] = useState(0);
  const came = new Set<number>();
  for (const { shard, owner } of view.shards) {
    if (owners.current.has(shard) && owners.current.get(shard) !== owner) came.add(shard);
    owners.current.set(shard, owner);
  }
  const grid = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent): void => {
    const step: number | undefined = ({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -32, ArrowDown: 32 } as Record<string, number>)[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = Math.min(SHARDS - 1, Math.max(0, at + step));
    setAt(next);
    grid.current?.querySelector<HTMLElement>(`[data-shard="${next}"]`)?.focus();
  };
  return (
    <div ref={grid} class="matrix" role="group" aria-label={t("cluster.shards")} onKeyDown={move}>
      {view.shards.map(({ shard, owner, epoch }) => {
        const on = owner === null ? t("cluster.nobody") : names.get(owner) ?? String(owner);
        const way = moving.get(shard);
        const load = loads.get(shard);
        const does = load === undefined ? t("cluster.load.unknown") : `${t("cluster.load.n_awake", { n: load.awake })}${load.perS === null ? "" : `, ${t("cluster.load.per_s", { n: number(load.perS, 1) })}`}`;
        const says = `${t("cluster.shard", { n: shard })}: ${on}, ${does}, ${t("cluster.epoch", { n: epoch })}${way ? ` → ${names.get(way.to) ?? way.to} (${word("phase", way.phase)})` : ""}${pinned.has(shard) ? `, ${t("cluster.pinned")}` : ""}`;
        return (
          <button key={`${shard}.${came.has(shard) ? epoch : ""}`} type="button" data-shard={shard} tabIndex={shard === at ? 0 : -1} aria-label={says} title={says} onFocus={() => setAt(shard)} onClick={() => onChoose(shard)}
            class={`${owner === null ? "o-none" : `o-${hue.get(owner) ?? 0} load-${strong.get(shard) ?? "unknown"}`} ${way ? "is-moving" : ""} ${came.has(shard) ? "has-come" : ""} ${pinned.has(shard) ? "is-pinned" : ""}`} />
        );
      })}
    </div>
  );
}

function Moves({ view, names }: { view: ClusterView; names: Map<number, string> }): JSX.Element {
  // What has moved lately, also what was too quick to be seen under way.
  const seen = useRef<{ owners: Map<number, number | null>; log: { shard: number; from: number | null; to: number | null; at: number }[] }>({ owners: new Map(), log: [] });
  useEffect(() => {
    const { owners, log } = seen.current;
    for (const { shard, owner } of view.shards) {
      if (owners.has(shard) && owners.get(shard) !== owner) log.unshift({ shard, from: owners.get(shard) ?? null, to: owner, at: Date.now() });
      owners.set(shard, owner);
    }
    log.length = Math.min(log.length, 200);
  }, [view]);
  const called = (owner: number | null): string => (owner === null ? t("cluster.nobody") : names.get(owner) ?? `${owner}`);
  if (view.moves.length === 0 && seen.current.log.length === 0) return <Empty>{t("cluster.moves.none")}</Empty>;
  return (
    <ol class="moves">
      {view.moves.map((it) => (
        <li key={`m${it.shard}`} class="is-moving"><span>{t("cluster.shard", { n: it.shard })}</span><span>{called(it.from)} → {called(it.to)}</span><span class="soft">{word("phase", it.phase)} · {it.lasts_ms < 1000 ? ms(it.lasts_ms) : span(it.lasts_ms)}</span></li>
      ))}
      {seen.current.log.slice(0, 12).map((it) => (
        <li key={`${it.shard}.${it.at}`}><span>{t("cluster.shard", { n: it.shard })}</span><span>{called(it.from)} → {called(it.to)}</span><span class="soft">{t("job.ago", { span: span(Date.now() - it.at) })}</span></li>
      ))}
    </ol>
  );
}

function Pins({ view }: { view: ClusterView }): JSX.Element | null {
  const { rest } = useApp();
  const [said, setSaid] = useState<JSX.Element | null>(null);
  if (view.pins.length === 0) return null;
  const rebalance = async (): Promise<void> => {
    const answer = await rest.post<{ n_unpinned: number }>("/admin/cluster/rebalance", {});
    setSaid("ok" in answer ? <p class="soft">{t("cluster.unpinned", { n: answer.ok.n_unpinned })}</p> : <Refusal refused={answer.refused} />);
  };
  return (
    <div class="pins">
      <h3>{t("cluster.pins")}</h3>
      <ul class="tags">{view.pins.map((it) => <li key={it.shard}>{it.shard} <strong>{it.node}</strong></li>)}</ul>
      <button type="button" class="ghost" onClick={() => void rebalance()}>{t("cluster.rebalance")}</button>
      {said}
    </div>
  );
}

function PinDialog({ view, shard, names, onClose }: { view: ClusterView; shard: number; names: Map<number, string>; onClose: () => void }): JSX.Element {
  const { rest } = useApp();
  const pinned = view.pins.find((it) => it.shard === shard)?.node ?? null;
  const head = view.shards.find((it) => it.shard === shard);
  const [node, setNode] = useState<string | null>(pinned);
  const [refused, setRefused] = useState<Refused | null>(null);
  const pin = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const answer = await rest.post("/admin/cluster/pins", { shard, node });
    if ("refused" in answer) setRefused(answer.refused);
    else onClose();
  };
  const choices = [null, ...new Set(view.nodes.filter((it) => it.standing !== "dead").map((it) => it.node))];
  return (
    <Dialog title={t("cluster.shard", { n: shard })} onClose={onClose}>
      <form class="form" onSubmit={(event) => void pin(event)}>
        <p class="soft">{head?.owner == null ? t("cluster.nobody") : names.get(head.owner)} · {t("cluster.epoch", { n: head?.epoch ?? 0 })}</p>
        <p>{t("cluster.pin.says")}</p>
        <div class="segments is-tall" role="radiogroup" aria-label={t("cluster.node")}>
          {choices.map((it) => <label key={it ?? ""}><input type="radio" name="node" checked={it === node} onChange={() => setNode(it)} /><span>{it ?? t("cluster.pin.none")}</span></label>)}
        </div>
        {refused ? <Refusal refused={refused} /> : null}
        <div class="form-end"><button type="button" class="ghost" onClick={onClose}>{t("act.not")}</button><button type="submit" class="primary" disabled={node === pinned}>{t("cluster.pin")}</button></div>
      </form>
    </Dialog>
  );
}

const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((all, n) => all + n, 0);
const roles = (counts: Record<string, number>): [string, number][] => Object.entries(counts).sort((a, b) => b[1] - a[1]).map(([role, n]) => [word("kind", role), n]);
const byRole = (counts: Record<string, number>): string => roles(counts).map(([role, n]) => `${role} ${number(n)}`).join(", ");
const ms = (value: number): string => `${number(value, value < 10 ? 1 : 0)} ms`;

/** Who is connected, by role, to all nodes that have said so. */
function Sessions({ view }: { view: ClusterView }): JSX.Element {
  return (
    <div class="sessions">
      <h3>{t("cluster.sessions")} <span class="soft">{number(sum(view.sessions))}</span></h3>
      <ul class="tags">{roles(view.sessions).map(([role, n]) => <li key={role}>{role} <strong>{number(n)}</strong></li>)}</ul>
    </div>
  );
}

interface Figure {
  key: Key;
  /** Now, in what unit, and over time. */
  value: string;
  series: number[];
}

/** What the node that serves this page counts: rates over the last two seconds, times of what it did lately. */
function Figures(): JSX.Element {
  const { rest } = useApp();
  const [figures, setFigures] = useState<Figure[] | null>(null);
  const [isSilent, setSilent] = useState(false);
  const series = useRef<Record<string, number[]>>({});
  useEffect(() => {
    const looks: Moment[] = [];
    let isOver = false;
    const look = async (): Promise<void> => {
      if (document.hidden) return;
      const text = await rest.text("/metrics");
      if (isOver) return;
      setSilent(text === null);
      if (text === null) return;
      const now = { at: performance.now(), samples: parseMetrics(text) };
      setFigures(figuresOf(looks, now, series.current));
      looks.push(now);
      if (looks.length > WINDOW) looks.shift();
    };
    void look();
    const timer = setInterval(() => void look(), FIGURES_MS);
    return () => {
      isOver = true;
      clearInterval(timer);
    };
  }, []);
  return (
    <section class="figures-strip" aria-label={t("figures")}>
      {figures === null ? isSilent ? <Empty>{t("figures.silent")}</Empty> : <Loading rows={2} /> : figures.map((it) => (
        <div key={it.key} class="card figure">
          <h3>{t(it.key)}</h3><p><strong>{it.value}</strong></p>
          <Spark values={it.series} label={t(it.key)} />
        </div>
      ))}
    </section>
  );
}

type Moment = { at: number; samples: Sample[] };

function figuresOf(looks: readonly Moment[], now: Moment, series: Record<string, number[]>): Figure[] {
  const before = looks.at(-1) ?? null;
  const commit = (q: number): number | null => quantileMs(looks[0]?.samples ?? null, now.samples, "outrider_journal_commit_seconds", q);
  const rate = (name: string): number | null => {
    const [was, is] = [before && total(before.samples, name), total(now.samples, name)];
    return before === null || was === null || is === null ? null : Math.max(0, ((is - was) * 1000) / (now.at - before.at));
  };
  const inMs = (value: number | null): string => (value === null ? "–" : ms(value));
  const plain = (value: number | null): string => (value === null ? "–" : number(value, value < 10 ? 1 : 0));
  const p99 = commit(0.99);
  const all: [Key, number | null, string][] = [
    ["figures.sessions", total(now.samples, "outrider_sessions"), plain(total(now.samples, "outrider_sessions"))],
    ["figures.awake", total(now.samples, "outrider_entities_awake"), plain(total(now.samples, "outrider_entities_awake"))],
    ["figures.commands", rate("outrider_commands_total"), `${plain(rate("outrider_commands_total"))}/s`],
    ["figures.frames", rate("outrider_frames_total"), `${plain(rate("outrider_frames_total"))}/s`],
    ["figures.commit", p99, `${inMs(commit(0.5))} / ${inMs(p99)}`],
    ["figures.effects", total(now.samples, "outrider_effects_open"), plain(total(now.samples, "outrider_effects_open"))],
  ];
  return all.map(([key, value, says]) => {
    const kept = series[key] ??= [];
    if (value !== null) kept.push(value);
    if (kept.length > KEPT) kept.shift();
    return { key, value: says, series: [...kept] };
  });
}
