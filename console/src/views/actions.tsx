// What a dispatcher may do to an order or a rescue. The node judges; what it refuses is said in its words, and what may
// be overruled can be, with a reason.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { JobId, Priority, Refused, WhyNot, Wish } from "@outrider/client";
import { useApp, useFetched, useHeard } from "../app.js";
import { jobId } from "../board.js";
import { isAboard, isAwaited, short, stageOf } from "../status.js";
import { Texts } from "../texts.js";
import { Dialog, Glyph, Refusal, described, useKeys } from "../ui.js";
import { metres, span, t, word, type Key } from "../words.js";
import type { JobView } from "./job.js";
import { traceOf, type MatchTrace } from "./matching.js";
import { Others } from "./others.js";

/** May a dispatcher overrule that this speaks against a driver? As protocol/PROTOCOL.md has it. */
const MAY_BE_OVERRULED: Record<WhyNot, boolean> = {
  on_break: true, leaving: true, no_position: true, has_offer: true, no_room: true, not_the_one: true, vehicle: true, capacity: true, skill: true, excluded: true,
  destination: true, too_far: true, outranked: true, taken: true, held: true, too_many_drivers: true, zone_paused: true, other_fleet: true, other_fleet_first: true,
  ramp: true, lift_gate: true, tie_downs: true, outside_shift: true,
  blocked: false, off_duty: false, unreachable: false, has_it: false, changing_jobs: false, pair_blocked: false, same_person: false,
  cold_chain: false, certificate: false, gender: false, permit: false, hours: false,
};
const PRIORITIES: readonly Priority[] = ["low", "normal", "high", "urgent"];
const CANDIDATES_MAX = 40;

type Action = "assign" | "reassign" | "handover" | "unassign" | "hold" | "resume" | "priority" | "fleet" | "message" | "cancel" | "block";
type Open = Exclude<Action, "resume">;
/** To whom no driver came yet, instead of one that is on the way, or what one has on board. */
type Giving = "assign" | "reassign" | "handover";

/** What a wish does to a job, order and rescue alike. */
type Done = { [key: string]: object };

export function wishOf(view: { kind: "order" | "rescue"; id: string }, action: Done): Wish {
  return { [view.kind]: { id: view.id, action } } as unknown as Wish;
}

export function possible(view: JobView): Action[] {
  const stage = stageOf(view.kind, view.status);
  if (stage === "completed" || stage === "cancelled") return [];
  const isLooking = stage === "searching" && view.status !== "scheduled" && view.status !== "awaiting_payment";
  const actions: Action[] = [];
  if (isLooking) actions.push("assign", view.held ? "resume" : "hold", "priority", "fleet");
  if (isAwaited(view.kind, view.status)) actions.push("reassign", "unassign");
  if (view.sort === "delivery" && isAboard(view.status)) actions.push("handover");
  actions.push("message");
  if (stage !== "no_driver") actions.push("cancel");
  if (view.driver !== null || view.offers.length > 0) actions.push("block");
  return actions;
}

const KEYS: Record<string, readonly Action[]> = { a: ["assign", "reassign", "handover"], h: ["hold", "resume"], p: ["priority"], m: ["message"], x: ["cancel"] };

export function Actions({ view, isListening }: { view: JobView; isListening: boolean }): JSX.Element | null {
  const { live } = useApp();
  const [open, setOpen] = useState<Open | null>(null);
  const actions = possible(view);
  const start = (action: Action): void => {
    if (action === "resume") void live.ask(view.id, "act.resume", wishOf(view, { resume: { reason: "" } }));
    else setOpen(action);
  };
  useKeys((event) => {
    const action = KEYS[event.key]?.find((it) => actions.includes(it));
    if (!action) return;
    event.preventDefault();
    start(action);
  }, isListening);
  if (actions.length === 0) return null;
  const close = (): void => setOpen(null);
  return (
    <div class="actions" role="group" aria-label={t("act")}>
      {actions.filter((it) => it !== "fleet").map((action, i) => (
        <button key={action} type="button" class={i === 0 && action !== "cancel" ? "primary" : action === "cancel" ? "ghost danger" : "ghost"} onClick={() => start(action)}>{t(`act.${action}`)}</button>
      ))}
      {actions.includes("fleet") ? <More><button type="button" class="ghost" onClick={() => start("fleet")}>{t("act.fleet")}</button></More> : null}
      {open === "assign" || open === "reassign" || open === "handover" ? <Assign view={view} how={open} onClose={close} /> : null}
      {open === "unassign" ? <Reason title="act.unassign" go="act.unassign" suggestions={["reason.driver_late", "reason.wrong_driver", "reason.rider_asked"]} isDanger job={view.id} onClose={close}
        onGive={(reason) => void live.ask(view.id, "act.unassign", wishOf(view, { unassign: { reason } }))} /> : null}
      {open === "hold" ? <Reason title="act.hold" go="act.hold" says="act.hold.says" suggestions={["reason.rider_not_ready", "reason.checking", "reason.weather"]} job={view.id} onClose={close}
        onGive={(reason) => void live.ask(view.id, "act.hold", wishOf(view, { hold: { reason } }))} /> : null}
      {open === "priority" ? <SetPriority view={view} onClose={close} /> : null}
      {open === "fleet" ? <SetFleet job={view.id} fleet={view.fleet} says="act.fleet.says" onClose={close} wish={(given) => wishOf(view, { set_fleet: given })} /> : null}
      {open === "message" ? <Write to={[view.rider, ...(view.driver ? [view.driver] : [])]} job={view.kind === "rescue" ? { rescue: view.id } : { order: view.id }} onClose={close} /> : null}
      {open === "cancel" ? <Cancel view={view} onClose={close} /> : null}
      {open === "block" ? <Block view={view} onClose={close} /> : null}
    </div>
  );
}

/** What few want, once somebody asks for it. */
export function More({ children }: { children: ComponentChildren }): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button type="button" class="ghost" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>{t("more")}</button>
      {isOpen ? children : null}
    </>
  );
}

/** Asks why, in the dispatcher's words or some that are at hand; or, under another `label`, what to say: it `isSent` to somebody then. */
export function Reason({ title, go, says, label = "act.reason", suggestions, isSent = false, job, isDanger = false, children, onGive, onClose }: {
  title: Key; go: Key; says?: Key; label?: Key; suggestions: Key[]; isSent?: boolean; job?: string | undefined; isDanger?: boolean; children?: JSX.Element | null;
  onGive: (reason: string) => void; onClose: () => void;
}): JSX.Element {
  const [reason, setReason] = useState("");
  const isMissing = reason.trim() === "";
  const give = (event: SubmitEvent): void => {
    event.preventDefault();
    if (isMissing) return;
    onGive(reason.trim());
    onClose();
  };
  return (
    <Dialog title={t(title)} onClose={onClose}>
      <form class="form" onSubmit={give}>
        {job ? <Others job={job} /> : null}
        {says ? <p class="soft">{t(says)}</p> : null}
        {children}
        <label for="reason">{t(label)}</label>
        <input id="reason" class="field" value={reason} maxLength={200} required autofocus onInput={(event) => setReason(event.currentTarget.value)} />
        {isSent ? <Texts keys={suggestions} onChoose={setReason} /> : <div class="chips">{suggestions.map((it) => <button key={it} type="button" onClick={() => setReason(t(it))}>{t(it)}</button>)}</div>}
        <div class="form-end"><button type="button" class="ghost" onClick={onClose}>{t("act.not")}</button><button type="submit" class={isDanger ? "primary danger" : "primary"} disabled={isMissing}>{t(go)}</button></div>
      </form>
    </Dialog>
  );
}

function Cancel({ view, onClose }: { view: JobView; onClose: () => void }): JSX.Element {
  const { live } = useApp();
  const [isUnsafe, setUnsafe] = useState(false);
  return (
    <Reason title="act.cancel.title" go="act.cancel" suggestions={["reason.rider_asked", "reason.duplicate", "reason.no_driver_near", "reason.wrong_address"]} isDanger job={view.id} onClose={onClose}
      onGive={(reason) => void live.ask(view.id, "act.cancel", wishOf(view, isUnsafe ? { cancel_safety: { reason } } : { cancel: { reason } }))}>
      <label class="check"><input type="checkbox" checked={isUnsafe} onChange={(event) => setUnsafe(event.currentTarget.checked)} /><span>{t("act.cancel.safety")}</span></label>
    </Reason>
  );
}

function SetPriority({ view, onClose }: { view: JobView; onClose: () => void }): JSX.Element {
  const { live } = useApp();
  const [priority, setPriority] = useState<Priority>(view.priority === "normal" ? "high" : "normal");
  return (
    <Reason title="act.priority" go="act.priority.go" says="act.priority.says" suggestions={["reason.waited_long", "reason.medical", "reason.appointment"]} job={view.id} onClose={onClose}
      onGive={(reason) => void live.ask(view.id, "act.priority", wishOf(view, { set_priority: { priority, reason } }))}>
      <div class="segments" role="radiogroup" aria-label={t("act.priority")}>
        {PRIORITIES.map((it) => <label key={it}><input type="radio" name="priority" checked={it === priority} onChange={() => setPriority(it)} /><span>{word("priority", it)}</span></label>)}
      </div>
    </Reason>
  );
}

function Block({ view, onClose }: { view: JobView; onClose: () => void }): JSX.Element {
  const { live } = useApp();
  const drivers = [...new Set([...(view.driver ? [view.driver] : []), ...view.offers.map((it) => it.driver)])];
  const [driver, setDriver] = useState(drivers[0]!);
  return (
    <Reason title="act.block" go="act.block.go" says="act.block.says" suggestions={["reason.complaint", "reason.dispute"]} isDanger onClose={onClose}
      onGive={(reason) => void live.ask(view.rider, "act.block", { rider: { id: view.rider, action: { block: { driver, reason } } } })}>
      <div class="segments" role="radiogroup" aria-label={t("job.driver")}>
        {drivers.map((it) => <label key={it}><input type="radio" name="driver" checked={it === driver} onChange={() => setDriver(it)} /><span>{t("title.driver", { id: short(it) })}</span></label>)}
      </div>
    </Reason>
  );
}

/** Keeps a job to the drivers of a partner, or says whose driver somebody is; or frees it. */
export function SetFleet({ job, fleet: known, says, wish, onClose }: {
  job: string; fleet: string | null; says: Key; wish: (given: { fleet?: string; reason: string }) => Wish; onClose: () => void;
}): JSX.Element {
  const { live } = useApp();
  const [fleet, setFleet] = useState(known ?? "");
  const isId = /^partner-[0-9a-f]{32}$/.test(fleet.trim());
  return (
    <Reason title="act.fleet" go="act.fleet.go" says={says} suggestions={["reason.contract", "reason.hired", "reason.over"]} job={job} onClose={onClose}
      onGive={(reason) => void live.ask(job, "act.fleet", wish({ reason, ...(isId ? { fleet: fleet.trim() } : {}) }))}>
      <>
        <label for="fleet">{t("act.fleet.whose")}</label>
        <input id="fleet" class="field" placeholder="partner-0192f3c8…" spellcheck={false} autocomplete="off" pattern="\s*(partner-[0-9a-f]{32})?\s*" value={fleet} onInput={(event) => setFleet(event.currentTarget.value)} />
      </>
    </Reason>
  );
}

/** Vouches for a skill of a driver's, for good or until the end of a day. */
export function Grant({ driver, ungranted, onClose }: { driver: string; ungranted: string[]; onClose: () => void }): JSX.Element {
  const { live } = useApp();
  const [skill, setSkill] = useState(ungranted[0] ?? "");
  const [day, setDay] = useState("");
  const give = (reason: string): void => {
    const until = day === "" ? {} : { until: new Date(`${day}T23:59:59`).getTime() };
    void live.ask(driver, "act.grant", { driver: { id: driver, action: { grant_skill: { skill: skill.trim(), reason, ...until } } } });
  };
  return (
    <Reason title="act.grant" go="act.grant.go" says="act.grant.says" suggestions={["reason.papers_seen"]} onClose={onClose} onGive={give}>
      <>
        <label for="skill">{t("act.grant.skill")}</label>
        <input id="skill" class="field" placeholder="certificate.hazmat" spellcheck={false} autocomplete="off" required maxLength={64} value={skill} onInput={(event) => setSkill(event.currentTarget.value)} />
        <label for="until">{t("act.grant.until")}</label>
        <input id="until" class="field" type="date" value={day} onInput={(event) => setDay(event.currentTarget.value)} />
      </>
    </Reason>
  );
}

/** Writes to somebody's device. */
export function Write({ to, job, onClose }: { to: string[]; job?: JobId; onClose: () => void }): JSX.Element {
  const { live } = useApp();
  const [whom, setWhom] = useState(to[0]!);
  const isDriver = whom.startsWith("driver-");
  const write = (text: string): void => {
    const message = { text, ...(job ? { job } : {}) };
    void live.ask(whom, "act.message", isDriver ? { driver: { id: whom, action: { message } } } : { rider: { id: whom, action: { message } } });
  };
  return (
    <Reason title="act.message" go="act.message.go" label="act.message.text" says="act.message.says" isSent job={job ? jobId(job) : undefined} onClose={onClose} onGive={write}
      suggestions={isDriver ? ["message.where", "message.call_rider", "message.wait"] : ["message.coming", "message.driver_late", "message.go_to_pickup"]}>
      <div class="segments" role="radiogroup" aria-label={t("act.message.to")}>
        {to.map((it) => <label key={it}><input type="radio" name="whom" checked={it === whom} onChange={() => setWhom(it)} /><span>{described(it, undefined).title}</span></label>)}
      </div>
    </Reason>
  );
}

interface Candidate {
  id: string;
  status: string;
  far: number;
  costMs: number | null;
}

/** Chooses a driver: those who are near, what the last round made of them, and, where the node says no, why. */
function Assign({ view, how, onClose }: { view: JobView; how: Giving; onClose: () => void }): JSX.Element {
  const app = useApp();
  const { live } = app;
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState<string | null>(null);
  const [reason, setReason] = useState("");
  const [refused, setRefused] = useState<Refused | null>(null);
  const [isAsking, setAsking] = useState(false);
  const trace = useFetched<MatchTrace>(traceOf(view));
  const weighed = trace && "ok" in trace ? trace.ok.rounds.at(-1)?.weighed ?? [] : [];
  const isAnother = how !== "assign";
  // What is on board is where its driver is.
  const pickup = view.stops[view.pickup]!.at;
  const at = how === "handover" && view.driver ? live.board.driver(view.driver)?.at ?? pickup : pickup;
  useEffect(() => {
    // Who drives there is known only where somebody looks.
    const [x, y] = [app.projection.x(at.lon), app.projection.y(at.lat)];
    const [px, py] = [app.camera.screenX(x), app.camera.screenY(y)];
    if (px < 0 || py < 0 || px > app.camera.width || py > app.camera.height) app.camera.flyTo(x, y);
  }, []);
  useHeard((again) => live.board.on("marks", again));

  const candidates = useMemo(() => {
    const all: Candidate[] = [];
    for (const mark of live.board.marks.values()) {
      if (mark.kind !== "driver" || mark.id === view.driver || ["offline", "blocked"].includes(mark.status)) continue;
      all.push({ id: mark.id, status: mark.status, far: app.projection.apart(mark.at, at), costMs: weighed.find((it) => it.driver === mark.id)?.cost_ms ?? null });
    }
    const rank = ({ status }: Candidate): number => (status === "available" ? 0 : status === "partly_busy" || status === "offered" ? 1 : 2);
    return all.sort((a, b) => rank(a) - rank(b) || a.far - b.far);
  }, [weighed.length, live.board.marks.size]);
  const asked = text.trim().toLowerCase();
  const rows = candidates.filter(({ id, status }) => asked === "" || `${id} ${status} ${word("status", status)}`.toLowerCase().includes(asked)).slice(0, CANDIDATES_MAX);

  // Of all of them one is reached by Tab; the arrow keys lead to the others.
  const reached = rows.some(({ id }) => id === chosen) ? chosen : null;

  const mayBeForced = refused?.code === "not_eligible" && (refused.why ?? []).every((why) => MAY_BE_OVERRULED[why] ?? false);
  const isReasonDue = isAnother || refused !== null;
  const assign = async (isForced: boolean): Promise<void> => {
    if (chosen === null) return;
    setAsking(true);
    const given = { driver: chosen, force: isForced, reason: reason.trim() };
    const done = await live.ask(view.id, isForced ? "act.force" : `act.${how}`, wishOf(view, { [how]: given }));
    setAsking(false);
    if (done) return onClose();
    const answer = live.asked.findLast((it) => it.actor === view.id);
    setRefused(answer?.refused ?? null);
    // It is said here, and need not be said twice.
    if (answer) live.dismiss(answer.id);
  };
  return (
    <Dialog title={t(`act.${how}.title`)} class="assign" onClose={onClose}>
      <form class="form" onSubmit={(event) => { event.preventDefault(); void assign(false); }}>
        <Others job={view.id} />
        <input type="search" class="field" autofocus placeholder={t("act.assign.search")} aria-label={t("act.assign.search")} value={text} onInput={(event) => setText(event.currentTarget.value)} />
        <ul class="candidates" role="listbox" aria-label={t("act.assign.list")} onKeyDown={moveAmongOptions}>
          {rows.map(({ id, status, far, costMs }, i) => {
            const look = described(id, live.board.driver(id));
            return (
              <li key={id} role="presentation">
                <button type="button" role="option" aria-selected={id === chosen} tabIndex={id === reached || reached === null && i === 0 ? 0 : -1} onClick={() => { setChosen(id); setRefused(null); }} onDblClick={() => void assign(false)}>
                  <Glyph shape={look.shape} colour={look.colour} /><span class="name">{look.title}{live.board.driver(id)?.isDoubted ? <span class="row-tag p-high" title={t("driver.doubted_says")}>{t("driver.doubted")}</span> : null}{live.board.driver(id)?.isTired ? <span class="row-tag p-high" title={t("driver.tired_says")}>{t("driver.tired")}</span> : null}</span><span class="soft">{word("status", status)}</span>
                  <span class="soft">{costMs === null ? "" : t("act.assign.cost", { span: span(costMs) })}</span><span class="far">{metres(far)}</span>
                </button>
              </li>
            );
          })}
          {rows.length === 0 ? <li class="empty">{t("act.assign.none")}</li> : null}
        </ul>
        {refused ? <Refusal refused={refused} /> : null}
        {refused?.code === "not_eligible" && !mayBeForced ? <p class="soft">{t("act.force.not")}</p> : null}
        {isReasonDue ? (
          <>
            <label for="reason">{t("act.reason")}</label>
            <input id="reason" class="field" value={reason} maxLength={200} onInput={(event) => setReason(event.currentTarget.value)} />
          </>
        ) : null}
        <div class="form-end">
          <button type="button" class="ghost" onClick={onClose}>{t("act.not")}</button>
          {mayBeForced ? <button type="button" class="primary danger" disabled={isAsking || reason.trim() === ""} onClick={() => void assign(true)}>{t("act.force")}</button> : null}
          {mayBeForced ? null : <button type="submit" class="primary" disabled={chosen === null || isAsking || isAnother && reason.trim() === ""}>{t(`act.${how}`)}</button>}
        </div>
      </form>
    </Dialog>
  );
}

/** Leads the keyboard from one option of a list to the next. */
function moveAmongOptions(event: KeyboardEvent): void {
  const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
  if (step === 0) return;
  event.preventDefault();
  const options = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>('[role="option"]')];
  options[options.indexOf(document.activeElement as HTMLElement) + step]?.focus();
}
