// Somebody calls for help: said loudly, on every view, until somebody sees to it.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { IncidentView, Principal } from "@outrider/client";
import { go, useApp, useHeard, useTick } from "./app.js";
import { jobId } from "./board.js";
import { clockFace } from "./jobs.js";
import { short } from "./status.js";
import { Icon } from "./ui.js";
import { t, word } from "./words.js";

const TITLE = "Outrider";
/** Two tones, again and again, until nobody calls. */
const SIREN = { lowHz: 660, highHz: 880, everyMs: 2600 };

export function Sos(): JSX.Element | null {
  const { live } = useApp();
  const [isMuted, setMuted] = useState(false);
  useHeard((again) => live.on("incidents", again));
  useHeard((again) => live.on("trust", again));
  const calling = [...live.calling].sort((a, b) => Number(a.mock) - Number(b.mock) || b.escalations - a.escalations || a.opened_at - b.opened_at);
  const isLoud = calling.some((it) => !it.mock);

  useEffect(() => {
    if (calling.length === 0) {
      document.title = TITLE;
      setMuted(false);
      return undefined;
    }
    let isOdd = false;
    const flash = setInterval(() => {
      isOdd = !isOdd;
      document.title = isOdd ? `⚠ ${t("sos.title")} (${calling.length})` : TITLE;
    }, 900);
    return () => clearInterval(flash);
  }, [calling.length]);
  useEffect(() => (isLoud && !isMuted ? sound() : undefined), [isLoud, isMuted]);

  if (calling.length === 0) return null;
  return (
    <section class="sos" role="alert" aria-label={t("sos.title")}>
      <ul>{calling.map((incident) => <Call key={incident.id} incident={incident} />)}</ul>
      <div class="sos-end">
        {calling.length > 3 ? <span>{t("sos.calls", { n: calling.length })}</span> : null}
        {isLoud ? <button type="button" class="sos-mute" aria-pressed={isMuted} onClick={() => setMuted(!isMuted)}>{t(isMuted ? "sos.unmute" : "sos.mute")}</button> : null}
      </div>
    </section>
  );
}

function Call({ incident }: { incident: IncidentView }): JSX.Element {
  const { live } = useApp();
  useTick(1000);
  const isAsked = live.underWay(incident.id).length > 0;
  return (
    <li class={incident.mock ? "is-mock" : ""}>
      <span class="sos-icon"><Icon name="siren" /></span>
      <div class="sos-text">
        <strong>{incident.mock ? t("sos.drill") : word("incident", incident.kind)}{incident.escalations > 0 ? ` · ${t("sos.escalated", { n: incident.escalations })}` : ""}</strong>
        <span>{t("sos.by", { who: who(incident.raised_by) })} · <time aria-live="off">{clockFace(live.client.serverNow - incident.opened_at)}</time></span>
      </div>
      <button type="button" class="sos-ack" disabled={isAsked} onClick={() => void live.heed(incident)}>{t(isAsked ? "sos.acking" : "act.ack")}</button>
      {incident.job ? <button type="button" onClick={() => go("dispatch", jobId(incident.job!))}>{t("sos.show_job")}</button> : null}
      <button type="button" onClick={() => go("dispatch", incident.id)}>{t("sos.open")}</button>
    </li>
  );
}

/** `driver 3f2a1b`. */
export function who(principal: Principal): string {
  if (typeof principal === "string") return word("kind", principal);
  const [role, id] = Object.entries(principal)[0]!;
  return `${word("kind", role)} ${short(id)}`;
}

/** Sounds until the returned function is called. Browsers let a page be heard only once it has been touched. */
function sound(): () => void {
  let audio: AudioContext | null = null;
  const cry = (): void => {
    audio ??= new AudioContext();
    if (audio.state === "suspended") void audio.resume().catch(() => {});
    const tone = audio.createOscillator();
    const loudness = audio.createGain();
    const now = audio.currentTime;
    tone.type = "triangle";
    for (let i = 0; i < 4; i += 1) tone.frequency.setValueAtTime(i % 2 === 0 ? SIREN.highHz : SIREN.lowHz, now + i * 0.22);
    loudness.gain.setValueAtTime(0.0001, now);
    loudness.gain.exponentialRampToValueAtTime(0.22, now + 0.03);
    loudness.gain.setValueAtTime(0.22, now + 0.8);
    loudness.gain.exponentialRampToValueAtTime(0.0001, now + 0.9);
    tone.connect(loudness).connect(audio.destination);
    tone.start(now);
    tone.stop(now + 0.92);
  };
  const isHeard = (): boolean => navigator.userActivation?.hasBeenActive ?? true;
  if (isHeard()) cry();
  const timer = setInterval(() => isHeard() && cry(), SIREN.everyMs);
  return () => {
    clearInterval(timer);
    void audio?.close();
  };
}
