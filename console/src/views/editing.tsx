// What staff make, change and remove, version by version: the list of it, the one that is looked at, and what asks for a change. Whoever
// has not seen the latest version is refused; then it is said what is different now, and gone on from there.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { mintCommandId, type Refused } from "@outrider/client";
import { go, useApp, useFetched, useHeard, usePolled, type View } from "../app.js";
import { WEEKDAYS, type Weekday } from "../fields.js";
import type { Live } from "../live.js";
import type { Zone } from "../map/hexes.js";
import { middleOf } from "../map/zones.js";
import { isPassing, type Change } from "../rest.js";
import { Dialog, Empty, Loading, Refusal, said, useKeys } from "../ui.js";
import { because, moment, number, t, weekdayOf, word, type Key } from "../words.js";
import { called } from "./job.js";
import { sizeOf } from "./zone.js";

const LOOK_MS = 5000;
/** How many a list shows, as the node allows. */
const LISTED_MAX = 100;
/** Longest name or reason, as the node allows. */
const LINE_CHARS_MAX = 200;

// ── The list, and the one that is looked at ──

/** Something as it was last said. */
export interface Said {
  id: string;
  version: number;
  status: string;
  /** How it stands by the word of staff, if its status says more than that, or something else. */
  phase?: string;
  made_at: number;
  changed_at: number;
  by: string;
  reason: string;
}

/** How it stands by the word of staff; nodes of older builds say no more than its status. */
export function phaseOf({ status, phase }: Pick<Said, "status" | "phase">): string {
  return phase ?? status;
}

/** What is known of something that was asked for, and was changed since then, or not: the last word. */
export function latestOf<Shown extends { version: number }>(asked: Shown, changed: Shown | null): Shown {
  return changed !== null && changed.version > asked.version ? changed : asked;
}

/** A row of a list, as the node has it. */
export interface Item<Body> {
  id: string;
  status: string;
  body: Body;
}

interface Page<Body> {
  items: Item<Body>[];
  next?: string;
}

/** What is for some only; others are told for whom. Whoever was let in stays while the token is renewed, and with them what they write. */
export function Gated({ isAllowed, title, says, role, children }: {
  isAllowed: (live: Live) => boolean; title: Key; says: Key; role: string; children: ComponentChildren;
}): JSX.Element {
  const { live } = useApp();
  const wasAllowed = useRef(false);
  useHeard((again) => live.on("trust", again));
  if (live.principal !== null) wasAllowed.current = isAllowed(live);
  if (wasAllowed.current) return <>{children}</>;
  if (live.principal === null) return <Loading rows={8} />;
  return (
    <div class="register">
      <section class="card cluster-closed"><h2>{t(title)}</h2><p class="soft">{t(says)}</p><p class="hint"><code>outrider token --role {role}</code></p></section>
    </div>
  );
}

/** Those in some statuses, a row for each, and beside them `children`: the one that is looked at. */
export function Register<Body>({ view, path, title, piles, empty, make, columns, turn, selected, row, onMake, children }: {
  view: View; path: string; title: Key; piles: readonly { label: Key; statuses: string }[]; empty: Key; make: Key;
  /** What is in the columns beside names. */
  columns: readonly Key[];
  /** Looks again when it is another. */
  turn: number;
  selected: string | null;
  row: (item: Item<Body>) => { name: string; cells: ComponentChildren[] };
  onMake: () => void;
  children: ComponentChildren;
}): JSX.Element {
  const [pile, setPile] = useState(piles[0]!);
  const answer = usePolled<Page<Body>>(`${path}?status=${pile.statuses}&limit=${LISTED_MAX}`, LOOK_MS, turn);
  useKeys((event) => {
    if (event.key === "Escape" && selected !== null) go(view);
  });
  return (
    <div class={`register ${selected === null ? "" : "is-detailed"}`}>
      <section class="card" aria-label={t(title)}>
        <div class="card-head">
          <h2>{t(title)}</h2>
          <div class="chips" role="group" aria-label={t("queue.piles")}>
            {piles.map((it) => <button key={it.label} type="button" aria-pressed={it === pile} onClick={() => setPile(it)}>{t(it.label)}</button>)}
          </div>
          <button type="button" class="primary" onClick={onMake}>{t(make)}</button>
        </div>
        {answer === null ? <Loading rows={5} /> : "refused" in answer ? <Refusal refused={answer.refused} /> : answer.ok.items.length === 0 ? <Empty>{t(empty)}</Empty> : (
          <div class="scroll">
            <table class="nodes said">
              <thead><tr><th scope="col">{t("field.name")}</th>{columns.map((it) => <th key={it} scope="col">{t(it)}</th>)}</tr></thead>
              <tbody>
                {answer.ok.items.map((item) => {
                  const { name, cells } = row(item);
                  return (
                    <tr key={item.id} {...(item.id === selected ? { "aria-current": "true" as const } : {})}>
                      <th scope="row"><button type="button" class="link" onClick={() => go(view, item.id)}>{name}</button></th>
                      {cells.map((cell, i) => <td key={columns[i]}>{cell}</td>)}
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </div>
        )}
        {answer !== null && "ok" in answer && answer.ok.next ? <p class="soft">{t("incidents.first", { n: LISTED_MAX })}</p> : null}
      </section>
      {children}
    </div>
  );
}

/** The one that is looked at: what may be done to it, what it says (`facts`), who said so and why, and what else there is to see. */
export function LookedAt<Shown extends Said>({ path, turn, changed, nameOf, stateOf, actions, facts, children }: {
  path: string; turn: number;
  /** As it was answered to whoever changed it here last. */
  changed: Shown | null;
  nameOf: (shown: Shown) => string; stateOf: (shown: Shown) => JSX.Element;
  actions: (shown: Shown) => ComponentChildren; facts: (shown: Shown) => ComponentChildren; children: (shown: Shown) => ComponentChildren;
}): JSX.Element {
  const answer = usePolled<Shown>(path, LOOK_MS, turn);
  if (answer === null) return <section class="card"><Loading rows={5} /></section>;
  if ("refused" in answer) return <section class="card"><Refusal refused={answer.refused} /></section>;
  const shown = latestOf(answer.ok, changed);
  return (
    <section class="card" id="looked-at" aria-label={nameOf(shown)}>
      <div class="card-head"><h2>{nameOf(shown)}</h2>{stateOf(shown)}</div>
      <div class="said-actions" role="group" aria-label={t("act")}>
        {phaseOf(shown) === "removed" ? null : actions(shown)}
        <button type="button" class="ghost" onClick={() => go("actors", shown.id)}>{t("job.inspect")}</button>
      </div>
      <dl class="facts">
        {facts(shown)}
        <dt>{t("edit.made_at")}</dt><dd>{moment(shown.made_at)}</dd>
        <dt>{t("edit.changed_at")}</dt><dd>{moment(shown.changed_at)} <span class="soft">{t("timeline.by", { who: called(shown.by) })}</span></dd>
        <dt>{t("job.reason")}</dt><dd>{because(shown.reason)}</dd>
      </dl>
      {children(shown)}
    </section>
  );
}

// ── What asks for a change ──

/** Asks for a change. Where it is asked again because no answer came, or one that passes, it is the same wish. */
function useChange<Done>(onDone: (done: Done) => void): { refused: Refused | null; isAsking: boolean; ask: (change: Change) => Promise<void>; forget: () => void } {
  const { live, rest } = useApp();
  const [refused, setRefused] = useState<Refused | null>(null);
  const [isAsking, setAsking] = useState(false);
  const tried = useRef<{ wanted: string; key: string } | null>(null);
  const isShown = useRef(true);
  useEffect(() => () => { isShown.current = false; }, []);
  const ask = async (change: Change): Promise<void> => {
    const [wanted, before] = [JSON.stringify(change), tried.current];
    const key = before?.wanted === wanted ? before.key : mintCommandId(live.client.serverNow);
    tried.current = { wanted, key };
    setAsking(true);
    const answer = await rest.change<Done>({ ...change, key });
    // Whoever has left meanwhile is led nowhere.
    if (!isShown.current) return;
    setAsking(false);
    if ("ok" in answer) return onDone(answer.ok);
    // What was refused is kept by its key, and would be refused again whatever has become possible. What may have been done all the same is not done twice.
    if (!isPassing(answer.refused)) tried.current = null;
    setRefused(answer.refused);
  };
  return { refused, isAsking, ask, forget: () => setRefused(null) };
}

/** Asks for a change, and why; it stays open until that is done, and says what speaks against it. */
export function ChangeForm<Shown extends { version: number }>({ title, go: goes, suggestions = [], isWide = false, isDanger = false, isReady = true, path, known, saying, change, children, onReload, onDone, onClose }: {
  title: Key; go: Key; suggestions?: readonly Key[]; isWide?: boolean; isDanger?: boolean;
  /** Is there something to ask for yet? */
  isReady?: boolean;
  /** Where that is which is changed, and what is known of it; null, if it is to be new. */
  path: string; known: Shown | null;
  /** What it says, as far as that can be changed. */
  saying: (shown: Shown) => object;
  change: (reason: string) => Change;
  children?: ComponentChildren;
  /** Somebody was first, and this is what it is now. */
  onReload: (now: Shown) => void;
  onDone: (done: Shown) => void; onClose: () => void;
}): JSX.Element {
  const [reason, setReason] = useState("");
  const { refused, isAsking, ask, forget } = useChange<Shown>((done) => {
    onDone(done);
    onClose();
  });
  const save = useRef<HTMLButtonElement>(null);
  // While it was asked that was disabled and lost the focus; and what is said above it may be out of sight.
  useLayoutEffect(() => {
    if (refused !== null) save.current!.focus();
  }, [refused]);
  /** What is under way is waited for. */
  const close = (): void => {
    if (!isAsking) onClose();
  };
  const isMissing = reason.trim() === "";
  const give = (event: SubmitEvent): void => {
    event.preventDefault();
    if (!isMissing && !isAsking) void ask(change(reason.trim()));
  };
  return (
    <Dialog title={t(title)} isWide={isWide} onClose={close}>
      <form class="form" onSubmit={give}>
        {children}
        <label for="reason">{t("act.reason")}</label>
        <input id="reason" class="field" value={reason} maxLength={LINE_CHARS_MAX} required autofocus={isDanger || !children} onInput={(event) => setReason(event.currentTarget.value)} />
        {suggestions.length > 0 ? <div class="chips">{suggestions.map((it) => <button key={it} type="button" onClick={() => setReason(t(it))}>{t(it)}</button>)}</div> : null}
        {refused ? <NotDone refused={refused} path={path} known={known} saying={saying} onReload={(now) => { forget(); onReload(now); }} /> : null}
        <div class="form-end">
          <button type="button" class="ghost" onClick={close}>{t("act.not")}</button>
          <button ref={save} type="submit" class={isDanger ? "primary danger" : "primary"} disabled={!isReady || isMissing || isAsking}>{t(goes)}</button>
        </div>
      </form>
    </Dialog>
  );
}

/** Why it was not done. If somebody was first, what is different now, and a way to go on from there. */
function NotDone<Shown extends { version: number }>({ refused, path, known, saying, onReload }: {
  refused: Refused; path: string; known: Shown | null; saying: (shown: Shown) => object; onReload: (now: Shown) => void;
}): JSX.Element {
  const isLate = known !== null && refused.code === "too_late";
  const answer = useFetched<Shown>(isLate ? path : null, refused);
  const now = answer !== null && "ok" in answer && answer.ok.version !== known?.version ? answer.ok : null;
  return (
    <>
      <Refusal refused={refused} />
      {known !== null && now !== null ? (
        <section class="overtaken" aria-label={t("edit.overtaken")}>
          <p>{t("edit.overtaken")}</p>
          <Different them={differences(saying(known), saying(now))} />
          <button type="button" class="ghost" onClick={() => onReload(now)}>{t("edit.reload")}</button>
        </section>
      ) : null}
    </>
  );
}

function Different({ them }: { them: readonly Difference[] }): JSX.Element {
  if (them.length === 0) return <p class="soft">{t("edit.same")}</p>;
  return (
    <table class="differences">
      <thead><tr>{(["what", "was", "is"] as const).map((it) => <th key={it} scope="col">{t(`edit.${it}`)}</th>)}</tr></thead>
      <tbody>{them.map(({ path, was, is }) => <tr key={path.join()}><th scope="row">{fieldOf(path)}</th><td>{plain(path, was)}</td><td>{plain(path, is)}</td></tr>)}</tbody>
    </table>
  );
}

// ── What is different ──

export interface Difference {
  path: readonly string[];
  /** Undefined, where there is none. */
  was: unknown;
  is: unknown;
}

const isTree = (it: unknown): it is Record<string, unknown> => it !== null && typeof it === "object";
/** A list of plain values is one value. */
const leaf = (it: unknown): unknown => (Array.isArray(it) && !it.some(isTree) ? it.join(", ") : it);

/** What is different between two states, leaf by leaf. */
export function differences(before: unknown, after: unknown, path: readonly string[] = []): Difference[] {
  const [was, is] = [leaf(before), leaf(after)];
  if (!isTree(was ?? is) || !isTree(is ?? was)) return was === is ? [] : [{ path, was, is }];
  const [old, young] = [was ?? {}, is ?? {}] as [Record<string, unknown>, Record<string, unknown>];
  return [...new Set([...Object.keys(old), ...Object.keys(young)])].flatMap((key) => differences(old[key], young[key], [...path, key]));
}

/** What a field of the node's is called: all that leads to it, and lists count from 1. */
export function fieldOf(path: readonly string[]): string {
  return path.map((it) => (/^\d+$/.test(it) ? String(Number(it) + 1) : word("field", it))).join(" · ");
}

/** Fields that say names of the node's, one or several, and what these are called. */
const NAMES: Readonly<Record<string, (name: string) => string>> = {
  offer: (name) => word("policy", name),
  status: (name) => word("stands", name),
  kinds: (name) => word("kind", name),
  vehicles: (name) => word("kind", name),
  weekdays: (name) => weekdayOf(WEEKDAYS.indexOf(name as Weekday)),
  skills: (name) => word("skill", name),
  payment: (name) => word("payment", name),
  pickup_proof: (name) => word("proof", name),
  dropoff_proof: (name) => word("proof", name),
};

/** A value as people read it. */
export function plain(path: readonly string[], value: unknown): string {
  const name = path.at(-1) ?? "";
  if (value === undefined || value === null || value === "") return "–";
  if (typeof value === "boolean") return t(value ? "yes" : "no");
  if (typeof value === "number") return name.endsWith("_ms") ? number(value / 1000, 3) : value > 1e12 ? moment(value) : number(value, 6);
  return Object.hasOwn(NAMES, name) ? String(value).split(", ").map(NAMES[name]!).join(", ") : String(value);
}

// ── Parts of forms ──

export function Field({ id, label, type = "text", value, onInput, title, ...more }: {
  id: string; label: string; type?: "text" | "number" | "date" | "time" | "datetime-local"; value: string; onInput: (value: string) => void;
  required?: boolean; autofocus?: boolean; min?: string | number; max?: string | number; step?: number | "any"; maxLength?: number; pattern?: string; placeholder?: string;
  /** What it must look like; as its placeholder, if nothing else is said of its pattern. A browser says so of what does not. */
  title?: string;
}): JSX.Element {
  const like = more.pattern === undefined || more.placeholder === undefined ? undefined : t("edit.like", { like: more.placeholder });
  return (
    <div class="form-field">
      <label for={id}>{label}</label>
      {/* Its types know which roles go with which type; this has none. */}
      <input id={id} class="field" type={type as "text"} autocomplete="off" spellcheck={false} title={title ?? like} value={value} onInput={(event) => onInput(event.currentTarget.value)} {...more} />
    </div>
  );
}

/** What something is called. */
export function NameField({ id, value, onInput }: { id: string; value: string; onInput: (value: string) => void }): JSX.Element {
  return <Field id={id} label={t("field.name")} value={value} onInput={onInput} required autofocus maxLength={LINE_CHARS_MAX} />;
}

/** One of some, or none of them. */
export function Choice({ id, label, value, options, onChange }: {
  id: string; label: string; value: string; options: readonly (readonly [value: string, label: string])[]; onChange: (value: string) => void;
}): JSX.Element {
  return (
    <div class="form-field">
      <label for={id}>{label}</label>
      <select id={id} class="field" value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([it, says]) => <option key={it} value={it}>{says}</option>)}
      </select>
    </div>
  );
}

/** Any of some. */
export function Checks<Name extends string>({ label, names, nameOf, chosen, onChoose }: {
  label: string; names: readonly Name[]; nameOf: (name: Name) => string; chosen: readonly Name[]; onChoose: (chosen: Name[]) => void;
}): JSX.Element {
  const turn = (name: Name): void => onChoose(names.filter((it) => chosen.includes(it) !== (it === name)));
  return (
    <fieldset class="checks">
      <legend>{label}</legend>
      {names.map((it) => <label key={it} class="check"><input type="checkbox" checked={chosen.includes(it)} onChange={() => turn(it)} /><span>{nameOf(it)}</span></label>)}
    </fieldset>
  );
}

/** Zones in the middle of the map, one of each size. */
export function ZonesHere({ onChoose }: { onChoose: (zone: string) => void }): JSX.Element | null {
  const app = useApp();
  const [{ lat, lon }] = useState(() => middleOf(app));
  const answer = useFetched<Zone[]>(`/v1/zones/at?lat=${lat}&lon=${lon}`);
  if (answer === null) return null;
  if ("refused" in answer) return <p class="soft">{said(answer.refused)}</p>;
  return <div class="chips"><span class="soft">{t("edit.zones_here")}</span>{answer.ok.map(({ id, resolution }) => <button key={id} type="button" title={id} onClick={() => onChoose(id)}>{sizeOf(resolution)}</button>)}</div>;
}
