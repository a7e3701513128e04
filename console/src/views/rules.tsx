// Rules of assignment: what admins say of how drivers are found, for which jobs and for how long, and what it would have changed.

import type { JSX } from "preact";
import { useReducer, useState } from "preact/hooks";
import type { JobId, OfferPolicy, WorkKind } from "@outrider/client";
import { go, useApp } from "../app.js";
import { jobId } from "../board.js";
import { listOf, localOf, momentOf, saidAnew, some } from "../fields.js";
import type { Answer } from "../rest.js";
import { Loading, Pill, Refusal, described } from "../ui.js";
import { moment, number, span, t, timeOfDay, word } from "../words.js";
import { ChangeForm, Checks, Choice, Field, Gated, LookedAt, NameField, Register, ZonesHere, differences, fieldOf, plain, type Item, type Said } from "./editing.js";

const [HOUR_MS, DAY_MS] = [3_600_000, 86_400_000];
type Bounded<Name extends string> = readonly [name: Name, least: number, most: number];
/** Numbers that a rule may change, with the least and the most of each, as `actors/src/rule.rs` has them: of jobs that are placed under it, … */
const OFFERING = [
  ["tier_ms", 1000, HOUR_MS], ["attempts_max", 1, 100], ["parallel_max", 1, 20], ["offer_ttl_ms", 1000, 600_000], ["search_ms", 1000, DAY_MS], ["feed_ms", 0, DAY_MS],
] as const satisfies readonly Bounded<string>[];
/** … of every round, … */
const HOLDING = [["hold_ms", 0, HOUR_MS], ["hold_per_age", 1, 1000]] as const satisfies readonly Bounded<string>[];
/** … and of what counts in one beside the way. */
const WEIGHING = [
  ["idle_ms", 0, HOUR_MS], ["idle_full_ms", 1, DAY_MS], ["star_ms", 0, HOUR_MS], ["level_ms", 0, HOUR_MS], ["refusal_ms", 0, HOUR_MS], ["excess_ms", 0, HOUR_MS],
  ["fairness_ms", 0, HOUR_MS], ["turn_ms", 0, HOUR_MS],
] as const satisfies readonly Bounded<string>[];
const KINDS: readonly WorkKind[] = ["ride", "delivery", "rescue"];
/** `direct` is an order's own choice. */
const POLICIES: readonly OfferPolicy[] = ["sequential", "broadcast_first_wins", "two_sided", "batch_optimal", "auto_assign", "feed"];
const PRIORITY_MAX = 1000;
const PATH = "/v1/rules";
const PILES = [{ label: "stands.set", statuses: "set" }, { label: "stands.over", statuses: "over" }, { label: "stands.removed", statuses: "removed" }] as const;

type Weighing = (typeof WEIGHING)[number][0];
type Offering = (typeof OFFERING | typeof HOLDING)[number][0];
type Figure = Offering | Weighing;
type Weights = Partial<Record<Weighing, number>>;

interface RuleChanges extends Partial<Record<Offering, number>> {
  offer?: OfferPolicy;
  tiers_m?: number[];
  learned_ways?: boolean;
  weights?: Weights;
}

export interface RuleTerms {
  name: string;
  preset?: string;
  zones?: string[];
  kinds?: WorkKind[];
  from?: number;
  until?: number;
  priority: number;
  changes: RuleChanges;
}

interface RuleShown extends Said {
  rule: RuleTerms;
}

/** As lists have it. */
interface Standing {
  said: { terms: RuleTerms };
}

export function Rules({ id }: { id: string | null }): JSX.Element {
  return <Gated isAllowed={(live) => live.isAdmin} title="rules.admins" says="rules.admins.says" role="admin"><All id={id} /></Gated>;
}

function All({ id }: { id: string | null }): JSX.Element {
  const { live } = useApp();
  const [turn, again] = useReducer((n: number, _: void) => n + 1, 0);
  const [isMaking, setMaking] = useState(false);
  const row = ({ status, body: { said: { terms } } }: Item<Standing>): { name: string; cells: (string | number | JSX.Element)[] } => ({
    name: terms.name,
    cells: [scopeOf(terms), timeOf(terms), changesOf(terms).join("; "), number(terms.priority), <State status={status} terms={terms} now={live.client.serverNow} />],
  });
  return (
    <Register<Standing> view="rules" path={PATH} title="nav.rules" piles={PILES} empty="rules.none" make="rules.new" columns={["rules.for", "rules.when", "field.changes", "field.priority", "field.status"]}
      turn={turn} selected={id} row={row} onMake={() => setMaking(true)}>
      {id === null ? null : <Rule key={id} id={id} turn={turn} onChange={() => again()} />}
      {isMaking ? <RuleForm shown={null} onDone={(made) => { again(); go("rules", made.id); }} onClose={() => setMaking(false)} /> : null}
    </Register>
  );
}

function Rule({ id, turn, onChange }: { id: string; turn: number; onChange: () => void }): JSX.Element {
  const { live } = useApp();
  const [open, setOpen] = useState<{ what: "change" | "remove"; shown: RuleShown } | null>(null);
  const [changed, setChanged] = useState<RuleShown | null>(null);
  const close = (): void => setOpen(null);
  const done = (it: RuleShown): void => {
    setChanged(it);
    onChange();
  };
  return (
    <>
      <LookedAt<RuleShown> path={`${PATH}/${id}`} turn={turn} changed={changed} nameOf={({ rule }) => rule.name}
        stateOf={({ status, rule }) => <State status={status} terms={rule} now={live.client.serverNow} />}
        actions={(shown) => (
          <>
            <button type="button" class="ghost" onClick={() => setOpen({ what: "change", shown })}>{t("edit.change")}</button>
            <button type="button" class="ghost danger" onClick={() => setOpen({ what: "remove", shown })}>{t("edit.remove")}</button>
          </>
        )}
        facts={({ rule }) => (
          <>
            <dt>{t("rules.for")}</dt><dd>{scopeOf(rule)}</dd>
            {rule.zones?.length ? <><dt>{t("field.zones")}</dt><dd class="ids">{rule.zones.join(" ")}</dd></> : null}
            <dt>{t("rules.when")}</dt><dd>{timeOf(rule)}</dd>
            <dt>{t("field.priority")}</dt><dd>{number(rule.priority)}</dd>
            <dt>{t("field.changes")}</dt><dd><ul>{changesOf(rule).map((it) => <li key={it}>{it}</li>)}</ul></dd>
          </>
        )}>
        {({ rule }) => <Trial terms={rule} />}
      </LookedAt>
      {open?.what === "change" ? <RuleForm shown={open.shown} onDone={done} onClose={close} /> : null}
      {open?.what === "remove" ? <Removal shown={open.shown} onDone={done} onClose={close} /> : null}
    </>
  );
}

function State({ status, terms, now }: { status: string; terms: RuleTerms; now: number }): JSX.Element {
  if (status !== "set") return <Pill tone="away">{word("stands", status)}</Pill>;
  return terms.from !== undefined && terms.from > now ? <Pill tone="offered">{t("rules.to_come")}</Pill> : <Pill tone="good">{t("rules.in_force")}</Pill>;
}

/** For which work, and where that is picked up. */
function scopeOf({ kinds = [], zones = [] }: RuleTerms): string {
  const work = kinds.length === 0 ? t("rules.all_work") : kinds.map((it) => t(`sort.${it}`)).join(", ");
  return `${work} · ${zones.length === 0 ? t("rules.everywhere") : t("rules.zones", { n: zones.length })}`;
}

function timeOf({ from, until }: RuleTerms): string {
  const said = [from === undefined ? null : t("rules.from", { at: moment(from) }), until === undefined ? null : t("zones.until", { at: moment(until) })];
  return said.filter((it) => it !== null).join(" ") || t("rules.always");
}

/** What is different under it, field by field. */
function changesOf({ changes }: RuleTerms): string[] {
  return differences({}, changes).map(({ path, is }) => `${fieldOf(path)}: ${plain(path, is)}`);
}

// ── What it says, as fields have it ──

interface Draft {
  name: string;
  zones: string;
  kinds: WorkKind[];
  from: string;
  until: string;
  priority: string;
  offer: string;
  tiers: string;
  /** Times are in seconds there. */
  numbers: Partial<Record<Figure, string>>;
  learned: string;
}

const inSeconds = (name: Figure): boolean => name.endsWith("_ms");

export function draftOf(terms: RuleTerms | null): Draft {
  const changes: RuleChanges = terms?.changes ?? {};
  const { offer = "", tiers_m: tiers = [], learned_ways: learned } = changes;
  const figures: Partial<Record<Figure, number>> = { ...changes, ...changes.weights };
  const written = (name: Figure): string => {
    const it = figures[name];
    return it === undefined ? "" : String(inSeconds(name) ? it / 1000 : it);
  };
  return {
    name: terms?.name ?? "",
    zones: (terms?.zones ?? []).join(" "),
    kinds: terms?.kinds ?? [],
    from: localOf(terms?.from),
    until: localOf(terms?.until),
    priority: String(terms?.priority ?? 0),
    offer,
    tiers: tiers.join(", "),
    numbers: Object.fromEntries([...OFFERING, ...HOLDING, ...WEIGHING].map(([name]) => [name, written(name)])),
    learned: learned === undefined ? "" : learned ? "yes" : "no",
  };
}

/** What the draft says; of `before`, whose draft it was, what no field says. */
export function termsOf(draft: Draft, before: RuleTerms | null): RuleTerms {
  const figure = (name: Figure): number | undefined => {
    const text = draft.numbers[name] ?? "";
    return text === "" ? undefined : inSeconds(name) ? Math.round(Number(text) * 1000) : Number(text);
  };
  const figures = <Name extends Figure>(of: readonly Bounded<Name>[]): Record<Name, number | undefined> => (
    Object.fromEntries(of.map(([name]) => [name, figure(name)])) as Record<Name, number | undefined>
  );
  const weights = saidAnew<Weights>(before?.changes.weights, figures(WEIGHING));
  return saidAnew<RuleTerms>(before, {
    name: draft.name.trim(),
    zones: some(listOf(draft.zones)),
    kinds: some(draft.kinds),
    from: momentOf(draft.from, before?.from) ?? undefined,
    until: momentOf(draft.until, before?.until) ?? undefined,
    priority: Number(draft.priority),
    changes: saidAnew<RuleChanges>(before?.changes, {
      offer: draft.offer === "" ? undefined : draft.offer as OfferPolicy,
      tiers_m: some(listOf(draft.tiers).map(Number)),
      learned_ways: draft.learned === "" ? undefined : draft.learned === "yes",
      weights: Object.keys(weights).length === 0 ? undefined : weights,
      ...figures(OFFERING),
      ...figures(HOLDING),
    }),
  });
}

/** As it can be said anew, for whoever was not first. */
function saying({ status, rule }: RuleShown): object {
  return { status, ...rule };
}

function RuleForm({ shown, onDone, onClose }: { shown: RuleShown | null; onDone: (done: RuleShown) => void; onClose: () => void }): JSX.Element {
  const [known, setKnown] = useState(shown);
  const [draft, setDraft] = useState(() => draftOf(shown?.rule ?? null));
  const set = (more: Partial<Draft>): void => setDraft((it) => ({ ...it, ...more }));
  const terms = termsOf(draft, known?.rule ?? null);
  const path = known === null ? PATH : `${PATH}/${known.id}`;
  const figures = (of: readonly Bounded<Figure>[]): JSX.Element[] => of.map(([name, least, most]) => {
    const unit = inSeconds(name) ? 1000 : 1;
    return <Field key={name} id={`rule-${name}`} label={t(`field.${name}`)} type="number" min={least / unit} max={most / unit} step={unit === 1 ? 1 : "any"}
      value={draft.numbers[name] ?? ""} onInput={(value) => set({ numbers: { ...draft.numbers, [name]: value } })} />;
  });
  return (
    <ChangeForm<RuleShown> title={known === null ? "rules.new" : "edit.change"} go="edit.save" isWide isReady={Object.keys(terms.changes).length > 0} path={path} known={known} saying={saying}
      change={(reason) => ({ ...(known === null ? { method: "POST" as const } : { method: "PUT" as const, version: known.version }), path, body: { rule: terms, reason } })}
      onReload={(now) => { setKnown(now); setDraft(draftOf(now.rule)); }} onDone={onDone} onClose={onClose}>
      <NameField id="rule-name" value={draft.name} onInput={(name) => set({ name })} />
      <h3>{t("rules.for")}</h3>
      <Checks label={t("field.kinds")} names={KINDS} nameOf={(it) => t(`sort.${it}`)} chosen={draft.kinds} onChoose={(kinds) => set({ kinds })} />
      <Field id="rule-zones" label={t("rules.zones_empty")} value={draft.zones} onInput={(zones) => set({ zones })} placeholder="zone-0000000000000000087…" title={t("edit.id", { kind: "zone" })} pattern="\s*(zone-[0-9a-f]{32}[\s,]*)*" />
      <ZonesHere onChoose={(zone) => set({ zones: [...new Set([...listOf(draft.zones), zone])].join(" ") })} />
      <div class="form-grid">
        <Field id="rule-from" label={t("field.from")} type="datetime-local" value={draft.from} onInput={(from) => set({ from })} />
        <Field id="rule-until" label={t("field.until")} type="datetime-local" min={draft.from} value={draft.until} onInput={(until) => set({ until })} />
        <Field id="rule-priority" label={t("field.priority")} type="number" min={0} max={PRIORITY_MAX} step={1} required value={draft.priority} onInput={(priority) => set({ priority })} />
      </div>
      <p class="soft">{t("rules.empty_is")}</p>
      <h3>{t("rules.offering")}</h3>
      <div class="form-grid">
        <Choice id="rule-offer" label={t("field.offer")} value={draft.offer} onChange={(offer) => set({ offer })} options={[["", t("rules.as_preset")], ...POLICIES.map((it) => [it, word("policy", it)] as const)]} />
        <Field id="rule-tiers" label={t("field.tiers_m")} value={draft.tiers} onInput={(tiers) => set({ tiers })} placeholder="1000, 3000, 8000" pattern="\s*(\d+\s*[\s,]\s*\d+\s*[\s,]\s*\d+)?\s*" />
        {figures(OFFERING)}
      </div>
      <h3>{t("rules.rounds")}</h3>
      <div class="form-grid">
        {figures(HOLDING)}
        <Choice id="rule-learned" label={t("field.learned_ways")} value={draft.learned} onChange={(learned) => set({ learned })} options={[["", t("rules.as_preset")], ["yes", t("yes")], ["no", t("no")]]} />
      </div>
      <h3>{t("rules.weights")}</h3>
      <div class="form-grid">{figures(WEIGHING)}</div>
      <Trial terms={terms} />
    </ChangeForm>
  );
}

function Removal({ shown, onDone, onClose }: { shown: RuleShown; onDone: (done: RuleShown) => void; onClose: () => void }): JSX.Element {
  const [known, setKnown] = useState(shown);
  const path = `${PATH}/${known.id}`;
  return (
    <ChangeForm<RuleShown> title="rules.remove" go="edit.remove" suggestions={["reason.over"]} isDanger path={path} known={known} saying={saying}
      change={(reason) => ({ method: "DELETE", path: `${path}?reason=${encodeURIComponent(reason)}`, version: known.version })} onReload={setKnown} onDone={onDone} onClose={onClose} />
  );
}

// ── What it would have changed ──

interface DryRun {
  since: number;
  known_since: number;
  n_assignments: number;
  n_differ: number;
  eta_before_s: number | null;
  eta_after_s: number | null;
  differ: { job: JobId; at: number; before: string; eta_before_ms: number; after: string | null; eta_after_ms: number | null }[];
  left_out: Record<string, number>;
  cannot_know: string[];
  silent?: string[];
}

/** Tries it on the rounds of the last hour; what it says of other terms than these is not shown. */
function Trial({ terms }: { terms: RuleTerms }): JSX.Element {
  const { rest } = useApp();
  const [tried, setTried] = useState<{ of: string; answer: Answer<DryRun> | null } | null>(null);
  const of = JSON.stringify(terms);
  const attempt = async (): Promise<void> => {
    setTried({ of, answer: null });
    const answer = await rest.post<DryRun>(`${PATH}/dry-run`, { rule: terms });
    setTried((it) => (it?.of === of ? { of, answer } : it));
  };
  const answer = tried?.of === of ? tried.answer : undefined;
  return (
    <section class="trial" aria-label={t("rules.try")} aria-live="polite">
      <button type="button" class="ghost" disabled={answer === null || terms.name === "" || Object.keys(terms.changes).length === 0} onClick={() => void attempt()}>{t("rules.try")}</button>
      {answer === undefined ? null : answer === null ? <Loading rows={2} /> : "refused" in answer ? <Refusal refused={answer.refused} /> : <Tried run={answer.ok} />}
    </section>
  );
}

function Tried({ run }: { run: DryRun }): JSX.Element {
  const nLeftOut = Object.values(run.left_out).reduce((all, n) => all + n, 0);
  const away = (ms: number | null): string => (ms === null ? "–" : span(ms));
  return (
    <>
      <p><strong>{run.n_assignments === 0 ? t("trial.none") : t("trial.differ", { n: number(run.n_differ), of: number(run.n_assignments) })}</strong></p>
      {run.eta_before_s !== null && run.eta_after_s !== null ? <p>{t("trial.eta", { before: span(run.eta_before_s * 1000), after: span(run.eta_after_s * 1000) })}</p> : null}
      {run.known_since > run.since ? <p class="soft">{t("trial.known_since", { at: timeOfDay(run.known_since) })}</p> : null}
      {nLeftOut > 0 ? <p class="soft">{t("trial.left_out", { n: number(nLeftOut) })}</p> : null}
      {run.cannot_know.length > 0 ? <p class="soft">{t("trial.cannot_know", { what: run.cannot_know.map((it) => fieldOf(it.split(".").slice(1))).join(", ") })}</p> : null}
      {run.silent?.length ? <p class="soft">{t("matching.silent", { nodes: run.silent.join(", ") })}</p> : null}
      {run.differ.length > 0 ? (
        <div class="scroll" role="region" tabIndex={0} aria-label={t("trial.list")}>
          <table class="differences">
            <thead><tr>{(["at", "job", "before", "after"] as const).map((it) => <th key={it} scope="col">{t(`trial.${it}`)}</th>)}</tr></thead>
            <tbody>
              {run.differ.map((it) => (
                <tr key={`${jobId(it.job)}.${it.at}`}>
                  <td><time>{timeOfDay(it.at)}</time></td>
                  <th scope="row" title={jobId(it.job)}>{described(jobId(it.job), undefined).title}</th>
                  <td title={it.before}>{described(it.before, undefined).title} <span class="soft">{away(it.eta_before_ms)}</span></td>
                  <td {...(it.after === null ? {} : { title: it.after })}>{it.after === null ? t("trial.nobody") : described(it.after, undefined).title} <span class="soft">{away(it.eta_after_ms)}</span></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : null}
    </>
  );
}
