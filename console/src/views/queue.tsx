// Orders and rescues by urgency, each with the clock that runs for it. Thousands of rows: only those in view are there.

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useApp, useHeard, usePolled, useTick, useValue } from "../app.js";
import type { Board } from "../board.js";
import { OPEN_INCIDENTS, unresolved, type IncidentPage } from "../incidents.js";
import { byUrgency, clockFace, jobOf, type Job } from "../jobs.js";
import { Later } from "../later.js";
import { isInRegion } from "../map/marks.js";
import { short } from "../status.js";
import { Empty, Glyph, Icon, Loading, described, useKeys } from "../ui.js";
import { span, t, word, type Key } from "../words.js";
import { useOthers } from "./others.js";

/** As in the style sheet. */
const ROW_PX = 56;
const SPARE_ROWS = 4;

const INCIDENTS_MS = 10_000;

type JobPile = "open" | "waiting" | "late" | "rescues";
type Pile = JobPile | "incidents";
const PILES: readonly JobPile[] = ["open", "waiting", "late", "rescues"];

const isIn: Record<JobPile, (job: Job) => boolean> = {
  open: (job) => job.phase !== "over",
  waiting: (job) => job.phase === "waiting",
  late: (job) => job.heat === "late" || job.heat === "soon",
  rescues: (job) => job.mark.sort === "rescue" && job.phase !== "over",
};

interface Props {
  selected: string | null;
  isShown: boolean;
  /** Are keys for it? */
  isListening: boolean;
  onOpen: (id: string) => void;
  /** Told how many are late or soon will be. */
  onCount: (n: number) => void;
}

export function Queue({ selected, isShown, isListening, onOpen, onCount }: Props): JSX.Element | null {
  const { live, filter: filtered } = useApp();
  const { board } = live;
  const filter = useValue(filtered);
  const [pile, setPile] = useState<Pile>("open");
  const [text, setText] = useState("");
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const list = useRef<HTMLDivElement>(null);
  useTick(1000);
  useHeard((again) => live.on("asked", again));
  useHeard((again) => live.on("incidents", again));
  // What somebody waits for is shown when it is there, and not with the next second.
  useHeard((again) => onKnown(board, again), [board]);
  const second = Math.floor(live.client.serverNow / 1000);

  const { jobs, elsewhere } = useMemo(() => {
    const now = live.client.serverNow;
    const [here, there]: [Job[], Job[]] = [[], []];
    for (const mark of board.marks.values()) if (mark.kind !== "driver") (isInRegion(filter, mark.at) ? here : there).push(jobOf(mark, now));
    return { jobs: here.sort(byUrgency), elsewhere: there };
  }, [second, board.isKnown, filter.region]);
  const counts = useMemo(() => PILES.map((it) => jobs.filter(isIn[it]).length), [jobs]);
  const words = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const rows = pile === "incidents" ? [] : jobs.filter((job) => isIn[pile](job) && (words.length === 0 || matches(job, words)));
  const nElsewhere = pile === "incidents" ? 0 : elsewhere.filter(isIn[pile]).length;
  // What calls, and what has been done about any, changes what the node lists.
  const told = [...[...live.incidents.values()].map(({ id, version }) => `${id} ${version}`), ...live.asked.filter(({ wish, state }) => "incident" in (wish as object) && state === "done").map(({ id }) => id)];
  const listed = usePolled<IncidentPage>(live.principal === null ? null : OPEN_INCIDENTS, INCIDENTS_MS, told.join());
  const incidents = unresolved(listed && "ok" in listed ? listed.ok.items.map(({ body }) => body) : [], live.incidents.values());
  const ids = pile === "incidents" ? incidents.map(({ id }) => id) : rows.map(({ mark }) => mark.id);
  useEffect(() => onCount(counts[PILES.indexOf("late")]!), [counts]);

  useEffect(() => {
    if (!list.current) return undefined;
    const box = list.current;
    const observer = new ResizeObserver(() => setHeight(box.clientHeight));
    observer.observe(box);
    return () => observer.disconnect();
  }, [isShown]);

  const at = selected === null ? -1 : ids.indexOf(selected);
  const reveal = (row: number): void => {
    const box = list.current;
    if (!box) return;
    if (row * ROW_PX < box.scrollTop) box.scrollTop = row * ROW_PX;
    else if ((row + 1) * ROW_PX > box.scrollTop + box.clientHeight) box.scrollTop = (row + 1) * ROW_PX - box.clientHeight;
  };
  const move = (step: number): void => {
    if (ids.length === 0) return;
    const next = at < 0 ? 0 : Math.min(ids.length - 1, Math.max(0, at + step));
    if (pile === "incidents") document.getElementById(`row-${ids[next]}`)?.scrollIntoView({ block: "nearest" });
    else reveal(next);
    onOpen(ids[next]!);
  };
  useKeys((event) => {
    const isInList = list.current?.contains(document.activeElement) === true;
    const step = event.key === "j" || isInList && event.key === "ArrowDown" ? 1 : event.key === "k" || isInList && event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    move(step);
  }, isListening);

  if (!isShown) return null;
  const first = Math.max(0, Math.floor(top / ROW_PX) - SPARE_ROWS);
  const last = Math.min(rows.length, Math.ceil((top + height) / ROW_PX) + SPARE_ROWS);
  return (
    <div class="queue">
      <div class="queue-head">
        <input type="search" class="field" placeholder={t("queue.search")} aria-label={t("queue.search")} value={text} onInput={(event) => setText(event.currentTarget.value)} />
        <div class="chips" role="group" aria-label={t("queue.piles")}>
          {PILES.map((it, i) => (
            <button key={it} type="button" aria-pressed={it === pile} onClick={() => setPile(it)}>{t(`queue.${it}`)}<span class="count">{counts[i]}</span></button>
          ))}
          <button type="button" aria-pressed={pile === "incidents"} class={incidents.length > 0 ? "has-incidents" : ""} onClick={() => setPile("incidents")}>{t("queue.incidents")}<span class="count">{incidents.length}</span></button>
        </div>
        {filter.region && pile !== "incidents" ? (
          <p class="queue-hidden" role="status">{t("queue.hidden", { region: filter.region.name, n: nElsewhere })} <button type="button" class="link" onClick={() => filtered.set({ ...filter, region: null })}>{t("queue.show_all")}</button></p>
        ) : null}
      </div>
      {pile === "incidents" ? <Later>{({ Incidents }) => <Incidents answer={listed} incidents={incidents} selected={selected} onOpen={onOpen} />}</Later> : null}
      {pile === "incidents" ? null : !board.isKnown ? <Loading rows={9} /> : rows.length === 0 ? <Empty>{t(words.length > 0 ? "queue.no_match" : `queue.empty.${pile}` as Key)}</Empty> : null}
      <div ref={list} class="rows" role="listbox" tabIndex={rows.length > 0 ? 0 : -1} aria-label={t("queue.list")} onScroll={(event) => setTop(event.currentTarget.scrollTop)}
        hidden={rows.length === 0} {...(at >= first && at < last ? { "aria-activedescendant": `row-${selected}` } : {})}>
        <div class="rows-all" style={{ height: `${rows.length * ROW_PX}px` }}>
          {rows.slice(first, last).map((job, i) => (
            <Row key={job.mark.id} job={job} top={(first + i) * ROW_PX} isSelected={job.mark.id === selected} onOpen={onOpen} />
          ))}
        </div>
      </div>
    </div>
  );
}

function Row({ job, top, isSelected, onOpen }: { job: Job; top: number; isSelected: boolean; onOpen: (id: string) => void }): JSX.Element {
  const { live } = useApp();
  const { mark } = job;
  const { title, status, colour, shape } = described(mark.id, mark);
  const asked = live.underWay(mark.id).at(-1);
  const others = useOthers(mark.id);
  const what = mark.issue ? word("issue", mark.issue) : mark.driver ? t("queue.with", { driver: short(mark.driver) }) : "";
  return (
    <div id={`row-${mark.id}`} class={`row h-${job.heat}`} role="option" aria-selected={isSelected} style={{ transform: `translateY(${top}px)` }} onClick={() => onOpen(mark.id)}>
      <Glyph shape={shape} colour={colour} />
      <span class="row-title">{title}{mark.priority === "normal" ? null : <span class={`row-tag p-${mark.priority}`}>{word("priority", mark.priority)}</span>}{mark.isHeld ? <span class="row-tag">{t("job.held")}</span> : null}{mark.driver && live.board.driver(mark.driver)?.isDoubted ? <span class="row-tag p-high" title={t("driver.doubted_says")}>{t("driver.doubted")}</span> : null}{others ? <span class="row-others" title={t("job.others", { who: others })}><Icon name="eye" /><span class="unseen">{t("job.others", { who: others })}</span></span> : null}</span>
      <span class="row-status">{asked ? <em class="asked">{t(asked.what as Key)}…</em> : status}{what ? ` · ${what}` : ""}</span>
      <JobClock job={job} />
    </div>
  );
}

/** How long it has waited, and how that compares with what was meant. */
export function JobClock({ job }: { job: Job }): JSX.Element | null {
  const { live } = useApp();
  const now = live.client.serverNow;
  const { since, due, heat } = job;
  if (since === null || job.phase === "over") return null;
  if (since > now) return <span class="clock-pill h-none">{t("actors.in", { span: span(since - now) })}</span>;
  const share = due === null ? 0 : Math.min(1, (now - since) / (due - since));
  const title = due === null ? t("clock.since", { span: span(now - since) })
    : now < due ? t("clock.left", { span: span(due - now) }) : t("clock.over", { span: span(now - due) });
  return (
    <span class={`clock-pill h-${heat}`} title={title}>
      <svg viewBox="0 0 14 14" aria-hidden="true"><circle cx="7" cy="7" r="5.5" pathLength="1" /><circle class="done" cx="7" cy="7" r="5.5" pathLength="1" style={{ strokeDasharray: `${share} 1` }} /></svg>
      <span>{clockFace(now - since)}</span><span class="unseen">{title}</span>
    </span>
  );
}

/** Calls `again` whenever it has become known what is on the board, or is not any more; returns what ends it. */
function onKnown(board: Board, again: () => void): () => void {
  let { isKnown } = board;
  const judge = (): void => {
    if (board.isKnown === isKnown) return;
    ({ isKnown } = board);
    again();
  };
  const ends = [board.on("counters", judge), board.on("gap", judge)];
  return () => ends.forEach((end) => end());
}

function matches({ mark }: Job, words: string[]): boolean {
  const { title, status } = described(mark.id, mark);
  const said = [mark.priority === "normal" ? "" : word("priority", mark.priority), mark.isHeld ? t("job.held") : "", mark.issue ? word("issue", mark.issue) : ""];
  const hay = [mark.id, mark.sort, mark.status, mark.issue ?? "", mark.driver ?? "", title, status, ...said].join(" ").toLowerCase();
  return words.every((it) => hay.includes(it));
}
