// The counters: how much is asked for, how it goes, and what the drivers are doing.

import type { JSX } from "preact";
import { useApp, useHeard } from "../app.js";
import { COLUMNS } from "../board.js";
import { DRIVER, ON_DUTY, STAGES, WORKING } from "../status.js";
import { Glyph, Spark } from "../ui.js";
import { number, percent, t, word } from "../words.js";

export function City(): JSX.Element {
  const { live: { board } } = useApp();
  useHeard((again) => board.on("counters", again));
  const rates = board.rates();
  const fulfilled = board.fulfilled();
  const stages = COLUMNS.map((column) => board.stages(column));
  const { drivers } = board.counters;
  const count = (statuses: readonly string[]): number => statuses.reduce((sum, it) => sum + (drivers[it] ?? 0), 0);
  const onDuty = count(ON_DUTY);
  const rate = rates.at(-1);
  return (
    <div class="city-panel">
      <section class="card">
        <div class="figures">
          <div class="figure"><h3>{t("city.rate")}</h3><p><strong id="rate">{rate ? number(rate.rate) : "–"}</strong></p></div>
          <div class="figure"><h3>{t("city.fulfilled")}</h3><p><strong id="fulfilled">{fulfilled === null ? "–" : percent(fulfilled)}</strong></p></div>
        </div>
        <Spark values={rates.map((it) => it.rate)} most={10} label={t("city.rate.label")} />
      </section>
      <section class="card">
        <h3>{t("city.jobs")}</h3>
        <table class="jobs">
          <thead><tr><td />{COLUMNS.map((column) => <th key={column} scope="col">{t(`city.${column}`)}</th>)}</tr></thead>
          <tbody>
            {STAGES.map((stage) => (
              <tr key={stage} class={`s-${stage}`}>
                <th scope="row">{t(`stage.${stage}`)}</th>
                {stages.map((counts, i) => <td key={COLUMNS[i]} class={counts[stage] === 0 ? "is-zero" : ""}>{number(counts[stage])}</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <section class="card">
        <div class="card-head"><h3>{t("city.drivers")}</h3><p class="soft"><strong id="on-duty">{number(onDuty)}</strong> {t("city.on_duty")} · <strong>{onDuty > 0 ? percent(count(WORKING) / onDuty) : "–"}</strong> {t("city.working")}</p></div>
        <div class="stack" aria-hidden="true">
          {Object.entries(DRIVER).filter(([status]) => ON_DUTY.includes(status)).map(([status, { colour }]) => (
            <span key={status} class={`b-${colour}`} style={{ flexGrow: drivers[status] ?? 0 }} />
          ))}
        </div>
        <ul class="legend legend-plain">
          {Object.entries(DRIVER).filter(([status]) => (drivers[status] ?? 0) > 0).map(([status, { colour, shape }]) => (
            <li key={status}><Glyph shape={shape} colour={colour} /><span class="name">{word("status", status)}</span><span class="count">{number(drivers[status] ?? 0)}</span></li>
          ))}
        </ul>
      </section>
    </div>
  );
}
