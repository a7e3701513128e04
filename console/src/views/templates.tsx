// Templates of runs: what staff say is brought together again and again, when it is next, and what became of it day by day.

import type { JSX } from "preact";
import { useReducer, useState } from "preact/hooks";
import type { Needs, PaymentTiming, Place, ProofKind, VehicleKind } from "@outrider/client";
import { go, useApp } from "../app.js";
import { SPOT, WEEKDAYS, listOf, pointOf, saidAnew, some, spotOf, type Weekday } from "../fields.js";
import { middleOf } from "../map/zones.js";
import { short } from "../status.js";
import { ActorLink, Pill } from "../ui.js";
import { calendarDay, number, span, t, weekdayOf, word, type Key } from "../words.js";
import type { DayOutcome, Payment, Stands } from "../words/named.js";
import { ChangeForm, Checks, Choice, Field, Gated, LookedAt, NameField, Register, phaseOf, type Item, type Said } from "./editing.js";

const PATH = "/v1/run-templates";
const PILES = [
  { label: "stands.set", statuses: "set,due" }, { label: "stands.paused", statuses: "paused" }, { label: "stands.over", statuses: "over" }, { label: "stands.removed", statuses: "removed" },
] as const;
/** As the node takes them (`actors/src/template.rs`). It may take fewer orders (`orders_max`), and says so when it is asked: what is written stays then. */
const ORDERS = { least: 2, most: 20 };
const LEAD_MIN = { least: 1, most: 720, usual: 60 };
/** Not in advance: nobody could every day. */
const PAYMENTS: readonly Payment[] = ["cash", "on_completion"];
const PROOFS: readonly ProofKind[] = ["photo", "signature", "pin", "qr", "barcode", "id_document", "quantity"];
const VEHICLES: readonly VehicleKind[] = ["foot", "bicycle", "moto", "car", "van", "tow_truck"];
const TONE: Record<Stands, string> = { set: "good", due: "busy", paused: "offered", over: "away", removed: "away" };
const OUTCOME_TONE: Record<DayOutcome, string> = { run: "good", alone: "offered", failed: "bad", missed: "bad" };
const LABEL_CHARS_MAX = 200;

interface TemplateOrder {
  rider: string;
  from: Place;
  to: Place;
  payment?: PaymentTiming;
  needs?: Needs;
  pickup_proof?: ProofKind[];
  dropoff_proof?: ProofKind[];
  cash_on_delivery?: number;
}

/** Days are of the calendar and `at` is of the clock of the brand: `2026-11-30`, `06:30`. */
export interface TemplateTerms {
  name: string;
  preset?: string;
  orders: TemplateOrder[];
  weekdays: Weekday[];
  at: string;
  lead_min: number;
  from?: string;
  until?: string;
  except?: string[];
  driver?: string;
}

interface TemplateDay {
  day: string;
  outcome?: DayOutcome;
  orders?: ({ placed: string } | { refused: string } | null)[];
  run?: string;
  why?: string;
}

interface TemplateView extends Said {
  template: TemplateTerms;
  utc_offset_min: number;
  next?: { day: string; placed_at: number; due: number };
  days?: TemplateDay[];
}

type What = "change" | "pause" | "resume" | "remove";

export function Templates({ id }: { id: string | null }): JSX.Element {
  return <Gated isAllowed={(live) => live.isEverywhere} title="templates.everywhere" says="templates.everywhere.says" role="dispatcher"><All id={id} /></Gated>;
}

function All({ id }: { id: string | null }): JSX.Element {
  const [turn, again] = useReducer((n: number, _: void) => n + 1, 0);
  const [isMaking, setMaking] = useState(false);
  const row = ({ body }: Item<TemplateView>): { name: string; cells: (string | JSX.Element)[] } => ({
    name: body.template.name,
    cells: [daysOf(body), number(body.template.orders.length), <Next view={body} />, <State view={body} />],
  });
  return (
    <Register<TemplateView> view="templates" path={PATH} title="templates" piles={PILES} empty="templates.none" make="templates.new" columns={["templates.days", "field.orders", "templates.next", "field.status"]}
      turn={turn} selected={id} row={row} onMake={() => setMaking(true)}>
      {id === null ? null : <Template key={id} id={id} turn={turn} onChange={() => again()} />}
      {isMaking ? <TemplateForm shown={null} onDone={(made) => { again(); go("templates", made.id); }} onClose={() => setMaking(false)} /> : null}
    </Register>
  );
}

function Template({ id, turn, onChange }: { id: string; turn: number; onChange: () => void }): JSX.Element {
  const [open, setOpen] = useState<{ what: What; shown: TemplateView } | null>(null);
  const [changed, setChanged] = useState<TemplateView | null>(null);
  const close = (): void => setOpen(null);
  const done = (it: TemplateView): void => {
    setChanged(it);
    onChange();
  };
  return (
    <>
      <LookedAt<TemplateView> path={`${PATH}/${id}`} turn={turn} changed={changed} nameOf={({ template }) => template.name} stateOf={(shown) => <State view={shown} />}
        actions={(shown) => (["change", phaseOf(shown) === "paused" ? "resume" : "pause", "remove"] as const).map((what) => (
          <button key={what} type="button" class={what === "remove" ? "ghost danger" : "ghost"} onClick={() => setOpen({ what, shown })}>{t(`edit.${what}`)}</button>
        ))}
        facts={(shown) => (
          <>
            <dt>{t("templates.next")}</dt><dd><Next view={shown} /></dd>
            <dt>{t("templates.days")}</dt><dd>{daysOf(shown)}</dd>
            {shown.template.from ? <><dt>{t("field.from")}</dt><dd>{calendarDay(shown.template.from)}</dd></> : null}
            {shown.template.until ? <><dt>{t("field.until")}</dt><dd>{calendarDay(shown.template.until)}</dd></> : null}
            {shown.template.except?.length ? <><dt>{t("field.except")}</dt><dd>{shown.template.except.map(calendarDay).join("; ")}</dd></> : null}
            <dt>{t("field.lead_min")}</dt><dd>{number(shown.template.lead_min)}</dd>
            <dt>{t("job.driver")}</dt><dd>{shown.template.driver ? <ActorLink id={shown.template.driver} onOpen={(driver) => go("dispatch", driver)} /> : t("templates.nearest")}</dd>
            <dt>{t("field.orders")}</dt><dd><ol>{shown.template.orders.map((it, i) => <li key={i}>{called(it.from)} → {called(it.to)} <span class="soft" title={it.rider}>{t("title.rider", { id: short(it.rider) })}</span></li>)}</ol></dd>
          </>
        )}>
        {({ days = [] }) => <Days days={days} />}
      </LookedAt>
      {open?.what === "change" ? <TemplateForm shown={open.shown} onDone={done} onClose={close} /> : null}
      {open !== null && open.what !== "change" ? <Word what={open.what} shown={open.shown} onDone={done} onClose={close} /> : null}
    </>
  );
}

/** Its status; while a day of it is being made, also that no other one will be. */
function State({ view: { status, phase = "set" } }: { view: TemplateView }): JSX.Element {
  const stands = phase === "set" || phase === status ? [status] : [status, phase];
  return <span class="details-pills">{stands.map((it) => <Pill key={it} tone={TONE[it as Stands] ?? "away"}>{word("stands", it)}</Pill>)}</span>;
}

function called({ label, at }: Place): string {
  return label || spotOf(at);
}

/** `Mon, Tue, 06:30 (UTC+2)`. */
function daysOf({ template: { weekdays, at }, utc_offset_min: offset }: TemplateView): string {
  const days = WEEKDAYS.flatMap((it, nth) => (weekdays.includes(it) ? [weekdayOf(nth)] : []));
  return `${days.length === WEEKDAYS.length ? t("templates.daily") : days.join(", ")}, ${at} (${clockOf(offset)})`;
}

/** `UTC+5:30`: whose clock is meant. */
export function clockOf(offsetMin: number): string {
  const [h, min] = [Math.floor(Math.abs(offsetMin) / 60), Math.abs(offsetMin) % 60];
  return offsetMin === 0 ? "UTC" : `UTC${offsetMin < 0 ? "−" : "+"}${h}${min === 0 ? "" : `:${String(min).padStart(2, "0")}`}`;
}

/** When its next run is to be fetched, and when its orders are placed. */
function Next({ view: { next, template } }: { view: TemplateView }): JSX.Element {
  const { live } = useApp();
  if (!next) return <>–</>;
  const left = next.placed_at - live.client.serverNow;
  return <>{calendarDay(next.day)}, {template.at} <span class="soft">{left > 0 ? t("templates.placed", { when: t("actors.in", { span: span(left) }) }) : ""}</span></>;
}

/** What became of it, the latest day first. */
function Days({ days }: { days: readonly TemplateDay[] }): JSX.Element | null {
  if (days.length === 0) return null;
  const open = (actor: string): void => go("actors", actor);
  return (
    <>
      <h3>{t("templates.made")}</h3>
      <ol class="days">
        {days.map(({ day, outcome, orders = [], run, why }) => (
          <li key={day}>
            <span>{calendarDay(day)}</span>
            <Pill tone={outcome ? OUTCOME_TONE[outcome] ?? "away" : "busy"}>{outcome ? word("day", outcome) : word("stands", "due")}</Pill>
            <span class="days-of">
              {run ? <ActorLink id={run} onOpen={open} /> : null}
              {orders.map((it, i) => (it === null ? null : "placed" in it ? <ActorLink key={i} id={it.placed} onOpen={open} /> : <span key={i} class="soft">{it.refused}</span>))}
              {why ? <span class="soft">{why}</span> : null}
            </span>
          </li>
        ))}
      </ol>
    </>
  );
}

// ── What it says, as fields have it ──

interface OrderDraft {
  /** Tells it from the others, wherever among them it is. */
  key: number;
  /** Whose draft it is; null of a new one. */
  of: TemplateOrder | null;
  rider: string;
  from: string;
  fromLabel: string;
  to: string;
  toLabel: string;
  payment: string;
  cash: string;
  vehicles: VehicleKind[];
  skills: string;
  weight: string;
  pickupProof: ProofKind[];
  dropoffProof: ProofKind[];
}

interface Draft {
  name: string;
  weekdays: Weekday[];
  at: string;
  lead: string;
  from: string;
  until: string;
  except: string;
  driver: string;
  orders: OrderDraft[];
}

let nDrafts = 0;

function orderDraftOf(order: TemplateOrder | null): OrderDraft {
  return {
    key: nDrafts += 1, of: order,
    rider: order?.rider ?? "",
    from: order ? spotOf(order.from.at) : "", fromLabel: order?.from.label ?? "",
    to: order ? spotOf(order.to.at) : "", toLabel: order?.to.label ?? "",
    payment: order?.payment ?? "cash", cash: String(order?.cash_on_delivery ?? ""),
    vehicles: order?.needs?.vehicles ?? [], skills: (order?.needs?.skills ?? []).join(" "), weight: String((order?.needs?.weight_g ?? 0) / 1000 || ""),
    pickupProof: order?.pickup_proof ?? [], dropoffProof: order?.dropoff_proof ?? [],
  };
}

export function draftOf(terms: TemplateTerms | null): Draft {
  const orders: readonly (TemplateOrder | null)[] = terms?.orders ?? [null, null];
  return {
    name: terms?.name ?? "",
    weekdays: terms?.weekdays ?? WEEKDAYS.slice(0, 5),
    at: terms?.at ?? "08:00",
    lead: String(terms?.lead_min ?? LEAD_MIN.usual),
    from: terms?.from ?? "",
    until: terms?.until ?? "",
    except: (terms?.except ?? []).join(" "),
    driver: terms?.driver ?? "",
    orders: orders.map(orderDraftOf),
  };
}

/** Where that is; of one that is no place the node says so. */
function placeOf(spot: string, label: string, before: Place | undefined): Place {
  return saidAnew<Place>(before, { at: pointOf(spot) ?? { lat: Number.NaN, lon: Number.NaN }, label: label.trim() === "" ? undefined : label.trim() });
}

function orderOf(draft: OrderDraft): TemplateOrder {
  const { of } = draft;
  return saidAnew<TemplateOrder>(of, {
    rider: draft.rider.trim(),
    from: placeOf(draft.from, draft.fromLabel, of?.from),
    to: placeOf(draft.to, draft.toLabel, of?.to),
    payment: draft.payment as PaymentTiming,
    needs: saidAnew<Needs>(of?.needs, {
      vehicles: some(draft.vehicles),
      weight_g: draft.weight === "" ? undefined : Math.round(Number(draft.weight) * 1000),
      skills: some(listOf(draft.skills)),
    }),
    pickup_proof: some(draft.pickupProof),
    dropoff_proof: some(draft.dropoffProof),
    cash_on_delivery: draft.cash === "" ? undefined : Number(draft.cash),
  });
}

/** What the draft says; of `before`, whose draft it was, what no field says. */
export function termsOf(draft: Draft, before: TemplateTerms | null): TemplateTerms {
  return saidAnew<TemplateTerms>(before, {
    name: draft.name.trim(),
    orders: draft.orders.map(orderOf),
    weekdays: draft.weekdays,
    at: draft.at,
    lead_min: Number(draft.lead),
    from: draft.from === "" ? undefined : draft.from,
    until: draft.until === "" ? undefined : draft.until,
    except: some(listOf(draft.except)),
    driver: draft.driver.trim() === "" ? undefined : draft.driver.trim(),
  });
}

/** As it can be said anew, for whoever was not first. */
function saying(view: TemplateView): object {
  return { status: phaseOf(view), ...view.template };
}

function TemplateForm({ shown, onDone, onClose }: { shown: TemplateView | null; onDone: (done: TemplateView) => void; onClose: () => void }): JSX.Element {
  const [known, setKnown] = useState(shown);
  const [draft, setDraft] = useState(() => draftOf(shown?.template ?? null));
  const set = (more: Partial<Draft>): void => setDraft((it) => ({ ...it, ...more }));
  const path = known === null ? PATH : `${PATH}/${known.id}`;
  const nOrders = draft.orders.length;
  return (
    <ChangeForm<TemplateView> title={known === null ? "templates.new" : "edit.change"} go="edit.save" isWide isReady={draft.weekdays.length > 0} path={path} known={known} saying={saying}
      change={(reason) => ({
        ...(known === null ? { method: "POST" as const } : { method: "PUT" as const, version: known.version }), path, body: { template: termsOf(draft, known?.template ?? null), reason },
      })}
      onReload={(now) => { setKnown(now); setDraft(draftOf(now.template)); }} onDone={onDone} onClose={onClose}>
      <NameField id="template-name" value={draft.name} onInput={(name) => set({ name })} />
      <Checks label={t("field.weekdays")} names={WEEKDAYS} nameOf={(it) => weekdayOf(WEEKDAYS.indexOf(it))} chosen={draft.weekdays} onChoose={(weekdays) => set({ weekdays })} />
      <div class="form-grid">
        <Field id="template-at" label={t("templates.at")} type="time" required value={draft.at} onInput={(at) => set({ at })} />
        <Field id="template-lead" label={t("field.lead_min")} type="number" required min={LEAD_MIN.least} max={LEAD_MIN.most} step={1} value={draft.lead} onInput={(lead) => set({ lead })} />
        <Field id="template-from" label={t("field.from")} type="date" value={draft.from} onInput={(from) => set({ from })} />
        <Field id="template-until" label={t("field.until")} type="date" min={draft.from} value={draft.until} onInput={(until) => set({ until })} />
      </div>
      <Field id="template-except" label={t("field.except")} value={draft.except} onInput={(except) => set({ except })} placeholder="2026-12-25 2027-01-01" pattern="\s*(\d{4}-\d{2}-\d{2}[\s,]*)*" />
      <Field id="template-driver" label={t("templates.driver_empty")} value={draft.driver} onInput={(driver) => set({ driver })} placeholder="driver-0192f3c8…" title={t("edit.id", { kind: "driver" })} pattern="\s*(driver-[0-9a-f]{32})?\s*" />
      {draft.orders.map((order, i) => (
        <Order key={order.key} nth={i} order={order} onChange={(more) => set({ orders: draft.orders.map((it, j) => (j === i ? { ...it, ...more } : it)) })}
          onRemove={nOrders > ORDERS.least ? () => set({ orders: draft.orders.filter((_, j) => j !== i) }) : null} />
      ))}
      <p><button type="button" class="ghost" disabled={nOrders >= ORDERS.most} onClick={() => set({ orders: [...draft.orders, orderDraftOf(null)] })}>{t("templates.add_order")}</button></p>
    </ChangeForm>
  );
}

/** One of what is brought together. */
function Order({ nth, order, onChange, onRemove }: { nth: number; order: OrderDraft; onChange: (more: Partial<OrderDraft>) => void; onRemove: (() => void) | null }): JSX.Element {
  const id = (field: string): string => `order-${nth}-${field}`;
  return (
    <fieldset class="template-order">
      <legend>{t("templates.order", { n: nth + 1 })}</legend>
      <Field id={id("rider")} label={t("templates.rider")} required value={order.rider} onInput={(rider) => onChange({ rider })} placeholder="rider-0192f3c8…" title={t("edit.id", { kind: "rider" })} pattern="\s*rider-[0-9a-f]{32}\s*" />
      <Spot id={id("from")} label="templates.from" spot={order.from} name={order.fromLabel} onChange={(from, fromLabel) => onChange({ from, fromLabel })} />
      <Spot id={id("to")} label="templates.to" spot={order.to} name={order.toLabel} onChange={(to, toLabel) => onChange({ to, toLabel })} />
      {/* What is wrong in there is to be seen before a browser leads there. */}
      <details onInvalidCapture={(event) => { event.currentTarget.open = true; }}>
        <summary>{t("more")}</summary>
        <div class="form-grid">
          <Choice id={id("payment")} label={t("field.payment")} value={order.payment} onChange={(payment) => onChange({ payment })} options={PAYMENTS.map((it) => [it, word("payment", it)] as const)} />
          <Field id={id("cash")} label={t("field.cash_on_delivery")} type="number" min={1} step={1} value={order.cash} onInput={(cash) => onChange({ cash })} />
          <Field id={id("weight")} label={t("templates.weight")} type="number" min={0} step="any" value={order.weight} onInput={(weight) => onChange({ weight })} />
          <Field id={id("skills")} label={t("field.skills")} value={order.skills} onInput={(skills) => onChange({ skills })} placeholder="cold_chain" />
        </div>
        <Checks label={t("field.vehicles")} names={VEHICLES} nameOf={(it) => word("kind", it)} chosen={order.vehicles} onChoose={(vehicles) => onChange({ vehicles })} />
        <Checks label={t("field.pickup_proof")} names={PROOFS} nameOf={(it) => word("proof", it)} chosen={order.pickupProof} onChoose={(pickupProof) => onChange({ pickupProof })} />
        <Checks label={t("field.dropoff_proof")} names={PROOFS} nameOf={(it) => word("proof", it)} chosen={order.dropoffProof} onChoose={(dropoffProof) => onChange({ dropoffProof })} />
      </details>
      {onRemove ? <p><button type="button" class="ghost danger" onClick={onRemove}>{t("templates.remove_order", { n: nth + 1 })}</button></p> : null}
    </fieldset>
  );
}

/** Where something is, in degrees or in the middle of the map, and what people call that. */
function Spot({ id, label, spot, name, onChange }: { id: string; label: Key; spot: string; name: string; onChange: (spot: string, name: string) => void }): JSX.Element {
  const app = useApp();
  const { lat, lon } = middleOf(app);
  return (
    <div class="form-grid">
      <Field id={id} label={t(label)} required pattern={SPOT} placeholder="-1.9441, 30.0619" value={spot} onInput={(next) => onChange(next, name)} />
      <Field id={`${id}-label`} label={t("field.label")} maxLength={LABEL_CHARS_MAX} value={name} onInput={(next) => onChange(spot, next)} />
      <button type="button" class="ghost" aria-label={`${t(label)}: ${t("templates.middle")}`} onClick={() => onChange(spotOf({ lat, lon }), name)}>{t("templates.middle")}</button>
    </div>
  );
}

/** Pauses it, lets it go on, or removes it. */
function Word({ what, shown, onDone, onClose }: { what: Exclude<What, "change">; shown: TemplateView; onDone: (done: TemplateView) => void; onClose: () => void }): JSX.Element {
  const [known, setKnown] = useState(shown);
  const path = `${PATH}/${known.id}`;
  return (
    <ChangeForm<TemplateView> title={`templates.${what}`} go={`edit.${what}`} suggestions={what === "remove" ? ["reason.over"] : []} isDanger={what === "remove"} path={path} known={known} saying={saying}
      change={(reason) => ({
        ...(what === "remove" ? { method: "DELETE" as const, path: `${path}?reason=${encodeURIComponent(reason)}` } : { method: "POST" as const, path: `${path}/actions`, body: { [what]: { reason } } }),
        version: known.version,
      })}
      onReload={setKnown} onDone={onDone} onClose={onClose} />
  );
}
