// The zone that is looked at: what is counted in it, and whether anybody is looked for there.

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useApp } from "../app.js";
import type { Demand, Zone } from "../map/hexes.js";
import { NEIGHBOURHOOD } from "../map/zones.js";
import type { Answer } from "../rest.js";
import { Texts } from "../texts.js";
import { IconButton, Loading, Refusal, Spark } from "../ui.js";
import { number, t, timeOfDay } from "../words.js";

/** For how long a zone is paused, where that is said. */
const MINUTES = [15, 60, 240] as const;
/** Why a zone goes on, where nobody says: written into its history, and so the same whatever the dispatcher reads. */
const RESUMED = "over";

/** The zone of a place: what is counted in it, and what may be done about it. */
export function ZoneCard({ here, counted, onClose }: { here: Answer<Zone[]> | null; counted: Demand | null; onClose: () => void }): JSX.Element {
  const card = useRef<HTMLElement>(null);
  useEffect(() => {
    // Who has asked for it by its button goes on in it; who has clicked on the map goes on there.
    if (document.activeElement?.closest(".filters")) card.current!.focus();
  }, []);
  const pressed = (event: KeyboardEvent): void => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    onClose();
    document.getElementById("map")?.focus({ preventScroll: true });
  };
  return (
    <section ref={card} class="zone-card" aria-label={t("zones.card")} tabIndex={-1} onKeyDown={pressed} onPointerDown={(event) => event.stopPropagation()} onWheel={(event) => event.stopPropagation()}>
      <header><h3>{t("zones.card")}</h3><IconButton icon="close" label={t("close")} onClick={onClose} /></header>
      {here === null ? <Loading rows={3} /> : "refused" in here ? <Refusal refused={here.refused} /> : (
        <>
          {counted ? <Counted it={counted} /> : null}
          <Pausing zones={here.ok} />
        </>
      )}
    </section>
  );
}

function Counted({ it }: { it: Demand }): JSX.Element {
  const surges = [...it.changes.map(({ from_percent: percent }) => percent), it.surge_percent];
  const last = it.changes.at(-1);
  return (
    <>
      <dl class="zone-figures">
        <div><dt>{t("zones.waiting")}</dt><dd>{number(it.n_waiting)}</dd></div>
        <div><dt>{t("zones.free")}</dt><dd>{number(it.n_free)}</dd></div>
        <div><dt>{t("zones.per_hour")}</dt><dd>{number(it.per_hour)} → {number(it.per_hour_soon)}</dd></div>
        <div class="is-wide"><dt>{t("zones.ratio")}</dt><dd>{number(it.ratio, 1)}</dd></div>
        {it.n_refused ? <div><dt>{t("zones.refused")}</dt><dd>{number(it.n_refused)}</dd></div> : null}
        <div><dt>{t("zones.surge")}</dt><dd>×{number(it.surge_percent / 100, 2)}</dd></div>
      </dl>
      {it.set_until ? <p class="soft">{t("zones.surge_set", { at: timeOfDay(it.set_until) })}</p> : last ? <p class="soft">{t("zones.surge_since", { at: timeOfDay(last.at) })}</p> : null}
      {surges.length > 1 ? <Spark values={surges} label={t("zones.surge")} most={150} /> : null}
    </>
  );
}

/** Pauses the zone, or one of those around it, or lets those go on that are. */
function Pausing({ zones }: { zones: readonly Zone[] }): JSX.Element {
  const { live } = useApp();
  const paused = zones.filter((it) => it.paused);
  const [id, setId] = useState(zones.find((it) => it.resolution === NEIGHBOURHOOD)?.id ?? zones[0]?.id ?? "");
  const [reason, setReason] = useState("");
  const [minutes, setMinutes] = useState<number | null>(MINUTES[1]);
  const pause = (event: SubmitEvent): void => {
    event.preventDefault();
    const until = minutes === null ? {} : { until: Math.round(live.client.serverNow) + minutes * 60_000 };
    void live.ask(id, "act.pause_zone", { zone: { id, action: { pause: { reason: reason.trim(), ...until } } } });
  };
  const resume = (zone: string): void => {
    void live.ask(zone, "act.resume_zone", { zone: { id: zone, action: { resume: { reason: reason.trim() || RESUMED } } } });
  };
  return (
    <form class="form" onSubmit={pause}>
      {paused.map((it) => (
        <p key={it.id} class="zone-paused">
          <span><strong>{t("zones.paused", { size: sizeOf(it.resolution) })}</strong> {it.paused!.reason}{it.paused!.until ? ` · ${t("zones.until", { at: timeOfDay(it.paused!.until) })}` : ""}</span>
          <button type="button" class="ghost" onClick={() => resume(it.id)}>{t("act.resume_zone")}</button>
        </p>
      ))}
      <label for="zone-size">{t("zones.size")}</label>
      <select id="zone-size" class="field" value={id} onChange={(event) => setId(event.currentTarget.value)}>
        {zones.map((it) => <option key={it.id} value={it.id}>{sizeOf(it.resolution)}</option>)}
      </select>
      <label for="zone-reason">{t("zones.reason")}</label>
      <input id="zone-reason" class="field" maxLength={200} value={reason} onInput={(event) => setReason(event.currentTarget.value)} />
      <Texts keys={["reason.flood", "reason.event", "reason.unsafe"]} onChoose={setReason} />
      <div class="segments" role="radiogroup" aria-label={t("zones.how_long")}>
        {[...MINUTES, null].map((it) => (
          <label key={String(it)}><input type="radio" name="minutes" checked={it === minutes} onChange={() => setMinutes(it)} /><span>{it === null ? t("zones.until_resumed") : it < 60 ? t("unit.min", { n: it }) : t("unit.h", { n: it / 60 })}</span></label>
        ))}
      </div>
      <div class="form-end"><button type="submit" class="primary danger" disabled={reason.trim() === ""}>{t("act.pause_zone")}</button></div>
    </form>
  );
}

/** About how large a cell of this resolution is. */
export function sizeOf(resolution: number): string {
  const km2: Record<number, number> = { 4: 1770, 5: 253, 6: 36, 7: 5.2, 8: 0.74, 9: 0.11 };
  return t("zones.km2", { n: number(km2[resolution] ?? 0, 2) });
}
