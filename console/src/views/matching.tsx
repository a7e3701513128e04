// How a driver was looked for: who was weighed at what cost, who did not fit and why, who was asked and what they said.

import type { JSX } from "preact";
import type { Eta } from "@outrider/client";
import { useApp, useFetched, usePolled } from "../app.js";
import { stageOf, type Colour } from "../status.js";
import { ActorLink, Empty, Loading, Refusal } from "../ui.js";
import { around, metres, span, t, timeOfDay, word } from "../words.js";
import type { CostPart, Fate, Verdict } from "../words/named.js";
import type { JobView } from "./job.js";

/** Of the parts of the cost, those that are nothing may be left out. `low_s` and `high_s` tell how sure it is when the driver would be there. */
export type Weighed = { driver: string; fate: Fate; distance_m: number; cost_ms: number; low_s?: number; high_s?: number } & Partial<Record<`${CostPart}_ms`, number>>;

/** What a cost is made of, in the order in which it is drawn, with the colour of each. */
const PARTS: Record<CostPart, Colour> = {
  travel: "busy", busy: "ride", idle: "available", rating: "resting", level: "delivery", refusal: "rescue", excess: "offered", fairness: "partly", turn: "bad",
};

/** The parts of a cost that are something, in milliseconds. */
export function partsOf(weighed: Weighed): { part: CostPart; ms: number }[] {
  return (Object.keys(PARTS) as CostPart[]).map((part) => ({ part, ms: weighed[`${part}_ms`] ?? 0 })).filter(({ ms }) => ms > 0);
}

/** When a driver would be there. */
function etaOf({ travel_ms = 0, busy_ms = 0, low_s = 0, high_s = 0 }: Weighed): Eta {
  return { s: (travel_ms + busy_ms) / 1000, low_s, high_s };
}

interface Seen {
  from: number;
  at: number;
  n: number;
  round: number;
  radius_m: number;
  verdict: Verdict;
  n_weighed: number;
  weighed: Weighed[];
  n_unfit: Record<string, number>;
  unfit: { driver: string; why: string }[];
}

interface Offered {
  id: string;
  driver: string;
  eta_s: number;
  distance_m: number | null;
  cost_ms: number | null;
  asked: boolean;
  forced: boolean;
  made_at: number;
  seen_at: number | null;
  ended_at: number | null;
  outcome: string | null;
  refused: string | null;
}

export interface MatchTrace {
  offers: Offered[];
  rounds: Seen[];
  silent?: string[];
}

/** The path of a job's trace. */
export function traceOf(view: { kind: "order" | "rescue"; id: string }): string {
  return `/v1/${view.kind}s/${view.id}/match-trace`;
}

export function Matching({ view, onOpen }: { view: JobView; onOpen: (id: string) => void }): JSX.Element {
  const isLooking = stageOf(view.kind, view.status) === "searching";
  // While it is looked for somebody, each round tells something new.
  const polled = usePolled<MatchTrace>(isLooking ? traceOf(view) : null, 2000);
  const fetched = useFetched<MatchTrace>(isLooking ? null : traceOf(view), view.version);
  const answer = isLooking ? polled : fetched;
  if (answer === null) return <Loading rows={8} />;
  if ("refused" in answer) return <Refusal refused={answer.refused} />;
  const { offers, rounds, silent } = answer.ok;
  const latest = rounds.at(-1);
  return (
    <>
      {silent && silent.length > 0 ? <p class="soft">{t("matching.silent", { nodes: silent.join(", ") })}</p> : null}
      {latest ? <Round seen={latest} onOpen={onOpen} /> : <Empty>{t("matching.no_rounds")}</Empty>}
      {rounds.length > 1 ? (
        <>
          <h3>{t("matching.rounds")}</h3>
          <ol class="rounds">
            {rounds.slice(0, -1).reverse().map((seen) => (
              <li key={`${seen.from}.${seen.at}`}>
                <time>{timeOfDay(seen.at)}</time><span>{word("verdict", seen.verdict)}</span>
                <span class="soft">{t("matching.round_facts", { n: seen.n, weighed: seen.n_weighed, far: metres(seen.radius_m) })}</span>
              </li>
            ))}
          </ol>
        </>
      ) : null}
      <h3>{t("matching.offers")}</h3>
      {offers.length === 0 ? <Empty>{t("matching.no_offers")}</Empty> : (
        <ol class="offered">
          {[...offers].reverse().map((offer) => <OfferedLine key={offer.id} offer={offer} onOpen={onOpen} />)}
        </ol>
      )}
    </>
  );
}

function Round({ seen, onOpen }: { seen: Seen; onOpen: (id: string) => void }): JSX.Element {
  const { live: { board } } = useApp();
  const most = Math.max(1, ...seen.weighed.map((it) => it.cost_ms));
  const drawn = new Set(seen.weighed.flatMap((it) => partsOf(it).map(({ part }) => part)));
  return (
    <section class="round">
      <header>
        <strong class={`verdict v-${seen.verdict}`}>{word("verdict", seen.verdict)}</strong>
        <span class="soft">{timeOfDay(seen.at)} · {t("matching.radius", { far: metres(seen.radius_m) })}{seen.n > 1 ? ` · ${t("matching.same", { n: seen.n })}` : ""}</span>
      </header>
      {seen.weighed.length > 0 ? (
        <table class="weighed">
          <caption>{t("matching.weighed", { n: seen.n_weighed })}</caption>
          <thead><tr><th scope="col">{t("matching.driver")}</th><th scope="col">{t("matching.cost")}</th><th scope="col">{t("matching.fate")}</th></tr></thead>
          <tbody>
            {seen.weighed.map((it) => (
              <tr key={it.driver} class={`f-${it.fate}`}>
                <td><ActorLink id={it.driver} mark={board.driver(it.driver)} onOpen={onOpen} /><span class="soft">{metres(it.distance_m)}{it.high_s ? ` · ${around(etaOf(it), 0)}` : ""}</span></td>
                <td><Cost of={it} most={most} /></td>
                <td>{word("fate", it.fate)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      ) : null}
      {drawn.size > 0 ? (
        <ul class="parts" aria-label={t("matching.parts")}>
          {(Object.keys(PARTS) as CostPart[]).filter((part) => drawn.has(part)).map((part) => <li key={part}><span class={`swatch b-${PARTS[part]}`} aria-hidden="true" />{word("cost", part)}</li>)}
        </ul>
      ) : null}
      {Object.keys(seen.n_unfit).length > 0 ? (
        <>
          <h3>{t("matching.unfit")}</h3>
          <ul class="tags">{Object.entries(seen.n_unfit).map(([why, n]) => <li key={why}>{word("why", why)} <strong>{n}</strong></li>)}</ul>
        </>
      ) : null}
    </section>
  );
}

/** What a driver would have cost, and of what that is made up: drawn, and in words for whoever points at it or hears it. */
function Cost({ of, most }: { of: Weighed; most: number }): JSX.Element {
  const parts = partsOf(of);
  const says = parts.map(({ part, ms }) => `${word("cost", part)} ${span(ms)}`).join(" + ");
  return (
    <div title={says}>
      <span class="cost" aria-hidden="true">
        {parts.map(({ part, ms }) => <span key={part} class={`b-${PARTS[part]}`} style={{ flexGrow: ms / most }} />)}
        <span style={{ flexGrow: Math.max(0, 1 - of.cost_ms / most) }} />
      </span>
      {span(of.cost_ms)}<span class="unseen">: {says}</span>
    </div>
  );
}

function OfferedLine({ offer, onOpen }: { offer: Offered; onOpen: (id: string) => void }): JSX.Element {
  const { live: { board } } = useApp();
  const took = offer.ended_at === null ? null : offer.ended_at - offer.made_at;
  return (
    <li>
      <time>{timeOfDay(offer.made_at)}</time>
      <div>
        <ActorLink id={offer.driver} mark={board.driver(offer.driver)} onOpen={onOpen} />
        <span class={`outcome o-${offer.outcome ?? "open"}`}>{offer.outcome === null ? t("matching.open") : word("offer", offer.outcome)}{took === null ? "" : ` · ${span(took)}`}</span>
        <span class="soft">
          {[
            t("matching.eta", { span: span(offer.eta_s * 1000) }), offer.distance_m === null ? null : metres(offer.distance_m),
            offer.forced ? t("matching.forced") : offer.asked ? null : t("matching.told"), offer.refused,
          ].filter(Boolean).join(" · ")}
        </span>
      </div>
    </li>
  );
}
