// All drivers there are, by what they mean to do: also those whom no map shows, for they are off duty.

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import type { VehicleKind } from "@outrider/client";
import { useApp, usePolled, useTick } from "../app.js";
import { DRIVER, short } from "../status.js";
import { Empty, Glyph, Loading, Refusal, described } from "../ui.js";
import { because, number, span, t, word } from "../words.js";
import type { DutyStatus } from "../words/named.js";

/** Who is on duty comes and goes; where the others are is looked at less often. */
const LOOK_MS = 5000;
const LOOK_SELDOM_MS = 20_000;
/** How many a page has, as the node allows. */
const LISTED_MAX = 100;
/** A rating of nobody who was ever rated, in hundredths of a star. */
const UNRATED = 500;

/** One as lists have it. */
interface Listed {
  id: string;
  status: DutyStatus;
  /** Since when it works, or has not; 0 if it never did. */
  at: number;
  body: { vehicle: VehicleKind | null; blocked: string | null; fleet: string | null; rating: number };
}

/** What is listed together, by the name of the first of them. */
const PILES: readonly (readonly DutyStatus[])[] = [["on_duty", "leaving"], ["on_break"], ["unreachable"], ["blocked"], ["offline"]];

export function Drivers({ selected, onOpen }: { selected: string | null; onOpen: (id: string) => void }): JSX.Element {
  const { live } = useApp();
  const [pile, setPile] = useState(PILES[0]!);
  // After which driver a page begins; the first one after none.
  const [before, setBefore] = useState<string | null>(null);
  // What they do just now, and for how long, is of the moment.
  useTick(1000);
  const from = before === null ? "" : `&before=${encodeURIComponent(before)}`;
  const answer = usePolled<{ items: Listed[]; next: string | null }>(live.principal === null ? null : `/v1/drivers?status=${pile.join()}&limit=${LISTED_MAX}${from}`, pile === PILES[0] ? LOOK_MS : LOOK_SELDOM_MS);
  const page = answer !== null && "ok" in answer ? answer.ok : null;
  // What leads on stays, whatever it leads to: who pressed it by a key would lose the place.
  const isPaged = useRef(false);
  isPaged.current ||= page?.next != null;
  const choose = (other: (typeof PILES)[number]): void => {
    isPaged.current = false;
    setPile(other);
    setBefore(null);
  };
  return (
    <div class="roster">
      <div class="chips" role="group" aria-label={t("queue.piles")}>
        {PILES.map((it) => <button key={it[0]} type="button" aria-pressed={it === pile} onClick={() => choose(it)}>{word("status", it[0]!)}</button>)}
      </div>
      <div class="listed" key={`${pile[0]} ${before}`}>
        {answer === null ? <Loading rows={8} /> : "refused" in answer ? <Refusal refused={answer.refused} /> : answer.ok.items.length === 0 && answer.ok.next === null ? <Empty>{t("drivers.empty")}</Empty> : null}
        <ul aria-label={t("drivers.list")}>
          {page?.items.map((it) => <Row key={it.id} driver={it} isSelected={it.id === selected} onOpen={onOpen} />)}
        </ul>
      </div>
      {isPaged.current ? (
        <p class="roster-pages">
          <button type="button" class="link" aria-disabled={before === null} onClick={() => setBefore(null)}>{t("drivers.first")}</button>
          <button type="button" class="link" aria-disabled={page?.next == null} onClick={() => page?.next && setBefore(page.next)}>{t("more")}</button>
        </p>
      ) : null}
    </div>
  );
}

function Row({ driver, isSelected, onOpen }: { driver: Listed; isSelected: boolean; onOpen: (id: string) => void }): JSX.Element {
  const { live } = useApp();
  const { id, status, at, body } = driver;
  const mark = live.board.driver(id);
  // Who is in view does something just now; of the others it is not known here what.
  const means = status === "on_duty" || status === "leaving" ? null : DRIVER[status];
  const { title, colour, shape } = mark ? described(id, mark) : { ...described(id, undefined), ...means };
  const facts = [
    word("status", mark?.status ?? status), body.blocked ? because(body.blocked) : null, body.vehicle ? word("kind", body.vehicle) : null,
    body.fleet ? `${t("act.fleet")} ${short(body.fleet)}` : null, body.rating === UNRATED ? null : `★ ${number(body.rating / 100, 1)}`,
  ];
  return (
    <li>
      <button type="button" id={`row-${id}`} title={id} {...(isSelected ? { "aria-current": "true" as const } : {})} onClick={() => onOpen(id)}>
        <Glyph shape={shape} colour={colour} />
        <span class="row-title">{title}{status === "leaving" ? <span class="row-tag">{word("status", status)}</span> : null}{mark?.isTired ? <span class="row-tag" title={t("driver.tired_says")}>{t("driver.tired")}</span> : null}{mark?.isDoubted ? <span class="row-tag p-high" title={t("driver.doubted_says")}>{t("driver.doubted")}</span> : null}</span>
        <span class="row-status">{facts.filter((it) => it !== null).join(" · ")}</span>
        {at > 0 ? <span class="clock-pill h-none" title={t("drivers.since")}>{span(live.client.serverNow - at)}</span> : null}
      </button>
    </li>
  );
}
