// What happened, newest first; each line leads to whom it happened.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useApp, useHeard } from "../app.js";
import { KEPT_MAX, linesOf, type Line } from "../past.js";
import { kindOf } from "../status.js";
import { Empty, Glyph, described } from "../ui.js";
import { happened, t, timeOfDay } from "../words.js";

const LINES_MAX = 80;
const PILES = ["jobs", "rescues", "drivers", "all"] as const;
type Pile = (typeof PILES)[number];
const isIn: Record<Pile, (id: string) => boolean> = {
  jobs: (id) => ["order", "rescue"].includes(String(kindOf(id))),
  rescues: (id) => ["rescue", "incident"].includes(String(kindOf(id))),
  drivers: (id) => kindOf(id) === "driver",
  all: () => true,
};
const GOOD = /complet|delivered|resolved/;
const BAD = /cancel|fail|no_driver|no_show|reject|lost|declin|at_risk|breach|incident|forced|overdue|locked|wrong|stuck|abandon|suspend|^stranded/;

export function Activity({ onOpen }: { onOpen: (id: string) => void }): JSX.Element {
  const { live: { board } } = useApp();
  useHeard((again) => board.on("happenings", again));
  const kept = linesOf(board);
  const [pile, setPile] = useState<Pile>("jobs");
  // Whoever is reading does not want the lines to run away.
  const [frozen, setFrozen] = useState<readonly Line[] | null>(null);
  const all = (frozen ?? kept).filter(({ actor }) => isIn[pile](actor));
  const lines = all.slice(0, LINES_MAX);
  return (
    <div class="activity">
      <div class="chips" role="group" aria-label={t("activity.piles")}>
        {PILES.map((it) => <button key={it} type="button" aria-pressed={it === pile} onClick={() => setPile(it)}>{t(`activity.${it}`)}</button>)}
      </div>
      {lines.length === 0 ? <Empty>{t("activity.empty")}</Empty> : null}
      <ol class="ticker" id="ticker" aria-label={t("activity.label")} onPointerEnter={() => setFrozen(kept)} onPointerLeave={() => setFrozen(null)}
        onFocusIn={() => setFrozen(kept)} onFocusOut={() => setFrozen(null)}>
        {lines.map(({ n, at, actor, what, times }) => {
          const mark = board.marks.get(actor);
          const { title, colour, shape } = described(actor, mark);
          const tone = GOOD.test(what) ? "good" : BAD.test(what) ? "bad" : "plain";
          return (
            <li key={n}>
              <button type="button" title={actor} onClick={() => onOpen(actor)}>
                <Glyph shape={shape} colour={mark?.kind === "driver" ? "away" : colour} />
                <span class={`what t-${tone}`}>{happened(what)}{times > 1 ? <span class="count">×{times}</span> : null}</span><span class="whom">{title}</span>
                <time dateTime={new Date(at).toISOString()}>{timeOfDay(at)}</time>
              </button>
            </li>
          );
        })}
        {all.length > lines.length || kept.length === KEPT_MAX ? <li class="ticker-end">{t("activity.first", { n: lines.length })}</li> : null}
      </ol>
    </div>
  );
}
