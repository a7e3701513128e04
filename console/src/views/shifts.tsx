// The shifts of a driver: when it is to work, whether it came, and until when it may work outside of them.

import type { JSX } from "preact";
import { useReducer, useState } from "preact/hooks";
import type { Shift } from "@outrider/client";
import { useApp, usePolled } from "../app.js";
import { localOf, momentOf } from "../fields.js";
import { Loading, Pill, Refusal } from "../ui.js";
import { moment, number, period, t, word } from "../words.js";
import type { Turnout } from "../words/named.js";
import { Reason } from "./actions.js";
import { ChangeForm, Field, ZonesHere, latestOf } from "./editing.js";

const [HOUR_MS, DAY_MS] = [3_600_000, 86_400_000];
/** What of a driver's shifts is shown unless all are asked for. */
const WEEK_MS = 7 * DAY_MS;
const LOOK_MS = 30_000;
/** As `actors/src/driver/rota.rs` has it: how many are known at once, how long one lasts, how far ahead it begins, and how long ago it may have. */
const SHIFTS_MAX = 64;
const LASTS_MAX_MS = DAY_MS;
const AHEAD_MAX_MS = 60 * DAY_MS;
const BEHIND_MAX_MS = 600_000;
/** For how long a driver may work outside of them, where that is said; the node allows a day. */
const HOURS = [1, 2, 4, 8, 12] as const;
const TONE: Record<Turnout, string> = { awaited: "offered", came: "good", missed: "bad", excused: "away" };

export interface ShiftView extends Shift {
  turnout: Turnout;
}

export interface ShiftsView {
  version: number;
  demanded: boolean;
  works_until?: number;
  shifts: ShiftView[];
  off_shift?: { until: number; reason: string };
  n_shift_no_shows: number;
}

/** `told` is what the driver's own view says of its shifts: once that is otherwise, they are looked at again. */
export function Shifts({ id, told }: { id: string; told: string }): JSX.Element {
  const { live } = useApp();
  const [turn, again] = useReducer((n: number, _: void) => n + 1, 0);
  const [open, setOpen] = useState<"add" | "allow" | "revoke" | { taken: ShiftView } | null>(null);
  const [isWhole, setWhole] = useState(false);
  const [changed, setChanged] = useState<ShiftsView | null>(null);
  const answer = usePolled<ShiftsView>(`/v1/drivers/${id}/shifts`, LOOK_MS, `${told}.${turn}`);
  if (answer === null) return <Loading rows={3} />;
  if ("refused" in answer) return <section class="shifts"><h3>{t("shifts")}</h3><Refusal refused={answer.refused} /></section>;
  const view = latestOf(answer.ok, changed);
  const soon = view.shifts.filter(({ start }) => start < live.client.serverNow + WEEK_MS);
  const nLater = view.shifts.length - soon.length;
  const close = (): void => setOpen(null);
  const done = (it: ShiftsView): void => {
    setChanged(it);
    again();
  };
  return (
    <section class="shifts" aria-label={t("shifts")}>
      <h3>{t("shifts")}</h3>
      {soon.length === 0 ? <p class="soft">{t(view.demanded ? "shifts.none_demanded" : "shifts.none")}</p> : null}
      <ul>
        {(isWhole ? view.shifts : soon).map((shift) => (
          <li key={shift.start}>
            <span>{period(shift.start, shift.end)}{shift.zone ? <span class="soft" title={shift.zone}> · {t("title.zone", { id: cellOf(shift.zone) })}</span> : null}</span>
            <Pill tone={TONE[shift.turnout] ?? "away"}>{word("turnout", shift.turnout)}</Pill>
            <button type="button" class="ghost" aria-label={t("shifts.remove.one", { at: period(shift.start, shift.end) })} onClick={() => setOpen({ taken: shift })}>{t("edit.remove")}</button>
          </li>
        ))}
      </ul>
      {nLater > 0 ? <p><button type="button" class="link" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>{t(isWhole ? "shifts.week" : "shifts.later", { n: nLater })}</button></p> : null}
      <dl class="facts">
        <dt>{t("shifts.no_shows")}</dt><dd>{number(view.n_shift_no_shows)}</dd>
        {view.demanded && view.works_until !== undefined ? <><dt>{t("shifts.works_until")}</dt><dd>{moment(view.works_until)}</dd></> : null}
        {view.off_shift ? (
          <>
            <dt>{t("shifts.outside")}</dt>
            <dd>{t("zones.until", { at: moment(view.off_shift.until) })} <span class="soft">{view.off_shift.reason}</span><button type="button" class="ghost" onClick={() => setOpen("revoke")}>{t("act.revoke")}</button></dd>
          </>
        ) : null}
      </dl>
      <div class="said-actions">
        <button type="button" class="ghost" disabled={view.shifts.length >= SHIFTS_MAX} onClick={() => setOpen("add")}>{t("shifts.add")}</button>
        <button type="button" class="ghost" onClick={() => setOpen("allow")}>{t("act.allow_off_shift")}</button>
      </div>
      {open === "add" ? <ShiftsForm id={id} view={view} taken={null} onDone={done} onClose={close} /> : null}
      {open !== null && typeof open === "object" ? <ShiftsForm id={id} view={view} taken={open.taken} onDone={done} onClose={close} /> : null}
      {open === "allow" ? <Allow id={id} onDone={() => again()} onClose={close} /> : null}
      {open === "revoke" ? <Reason title="act.revoke_off_shift" go="act.revoke" says="act.revoke_off_shift.says" suggestions={["reason.over"]} isDanger onClose={close}
        onGive={(reason) => void live.ask(id, "act.revoke_off_shift", { driver: { id, action: { revoke_off_shift: { reason } } } }).then(() => again())} /> : null}
    </section>
  );
}

/** The digits of a zone that tell it from others. */
function cellOf(zone: string): string {
  return zone.replace(/^zone-0*/, "").replace(/f+$/, "");
}

/** Those that are not over, as they are said anew; without `taken`. */
export function standing({ shifts }: ShiftsView, taken: Shift | null, now: number): Shift[] {
  const stand = shifts.filter(({ start, end }) => end > now && start !== taken?.start);
  return stand.map(({ start, end, zone }) => ({ start, end, ...(zone ? { zone } : {}) }));
}

/** When it is to work, and where, for whoever was not first. */
function saying({ shifts }: ShiftsView): object {
  return Object.fromEntries(shifts.map(({ start, end, zone }) => [period(start, end), zone ? cellOf(zone) : t("shifts.anywhere")]));
}

/** Gives it one shift more, or takes one away: all of them are said at once. */
function ShiftsForm({ id, view, taken, onDone, onClose }: { id: string; view: ShiftsView; taken: ShiftView | null; onDone: (done: ShiftsView) => void; onClose: () => void }): JSX.Element {
  const { live } = useApp();
  const [known, setKnown] = useState(view);
  const [start, setStart] = useState("");
  const [end, setEnd] = useState("");
  const [zone, setZone] = useState("");
  const path = `/v1/drivers/${id}/shifts`;
  const now = live.client.serverNow;
  const [from, until] = [momentOf(start), momentOf(end)];
  const isGone = taken !== null && !known.shifts.some((it) => it.start === taken.start);
  const given: Shift[] = from === null || until === null ? [] : [{ start: from, end: until, ...(zone.trim() === "" ? {} : { zone: zone.trim() }) }];
  return (
    <ChangeForm<ShiftsView> title={taken ? "shifts.remove" : "shifts.add"} go={taken ? "edit.remove" : "edit.save"} isDanger={taken !== null} isReady={taken === null ? given.length > 0 : !isGone}
      path={path} known={known} saying={saying} onReload={setKnown} onDone={onDone} onClose={onClose}
      change={(reason) => ({ method: "PUT", path, version: known.version, body: { shifts: [...standing(known, taken, now), ...(taken ? [] : given)], reason } })}>
      {isGone ? <p role="status">{t("shifts.gone")}</p> : null}
      {taken ? <p>{period(taken.start, taken.end)}</p> : (
        <>
          <div class="form-grid">
            <Field id="shift-start" label={t("field.from")} type="datetime-local" required autofocus min={localOf(now - BEHIND_MAX_MS / 2)} max={localOf(now + AHEAD_MAX_MS)} value={start} onInput={setStart} />
            <Field id="shift-end" label={t("field.until")} type="datetime-local" required min={start} max={from === null ? "" : localOf(from + LASTS_MAX_MS)} value={end} onInput={setEnd} />
          </div>
          <Field id="shift-zone" label={t("shifts.zone")} value={zone} onInput={setZone} required={live.regions.length > 0} placeholder="zone-0000000000000000087…" title={t("edit.id", { kind: "zone" })} pattern="\s*(zone-[0-9a-f]{32})?\s*" />
          <ZonesHere onChoose={setZone} />
        </>
      )}
    </ChangeForm>
  );
}

/** Lets it work for some hours in none of its shifts. */
function Allow({ id, onDone, onClose }: { id: string; onDone: () => void; onClose: () => void }): JSX.Element {
  const { live } = useApp();
  const [hours, setHours] = useState<number>(HOURS[1]);
  const allow = (reason: string): void => {
    const until = Math.round(live.client.serverNow) + hours * HOUR_MS;
    void live.ask(id, "act.allow_off_shift", { driver: { id, action: { allow_off_shift: { until, reason } } } }).then(onDone);
  };
  return (
    <Reason title="act.allow_off_shift" go="act.allow_off_shift" says="act.allow_off_shift.says" suggestions={["reason.weather", "reason.event"]} onClose={onClose} onGive={allow}>
      <div class="segments" role="radiogroup" aria-label={t("zones.how_long")}>
        {HOURS.map((it) => <label key={it}><input type="radio" name="hours" checked={it === hours} onChange={() => setHours(it)} /><span>{t("unit.h", { n: it })}</span></label>)}
      </div>
    </Reason>
  );
}
