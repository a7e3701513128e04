// What is always there: where we are, whether it is true, who calls for help, what came of what was asked.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { go, useApp, useHeard, useRoute, useTick, useValue, type View } from "./app.js";
import { Later } from "./later.js";
import type { Asked, Live, Trust } from "./live.js";
import { Search } from "./search.js";
import { SignIn } from "./sign_in.js";
import { Sos, who } from "./sos.js";
import { isDispatched } from "./status.js";
import { choice, choose, type Choice } from "./theme.js";
import { Dialog, Icon, IconButton, Refusal, described, said, useKeys, type IconName } from "./ui.js";
import { Dispatch } from "./views/dispatch.js";
import { LANGUAGES, currentLanguage, missingLanguage, speak, t, timeOfDay, type Key, type Language } from "./words.js";

interface Place {
  view: View;
  icon: IconName;
  label: Key;
  key: string;
  /** Says who is led there; without it, everybody. */
  isFor?: (live: Live) => boolean;
}

const VIEWS: readonly Place[] = [
  { view: "dispatch", icon: "map", label: "nav.dispatch", key: "1" },
  { view: "actors", icon: "actor", label: "nav.actors", key: "2" },
  { view: "cluster", icon: "cluster", label: "nav.cluster", key: "3" },
  { view: "rules", icon: "rules", label: "nav.rules", key: "4", isFor: (live) => live.isAdmin },
  { view: "templates", icon: "templates", label: "nav.templates", key: "5", isFor: (live) => live.isEverywhere },
];

export function Shell(): JSX.Element {
  const { live, token } = useApp();
  const { view, id } = useRoute();
  const [isHelpOpen, setHelpOpen] = useState(false);
  useHeard((again) => live.on("trust", again));
  useHeard((again) => {
    token.onwanted = again;
    return () => {};
  });
  const isOld = live.trust === "stale" || live.trust === "reconnecting" || live.trust === "closed";

  useEffect(() => {
    // Two tokens were not believed: another one is needed. A demo that has begun anew gives one.
    if (live.trust !== "refused") return;
    token.renew();
    live.connect();
  }, [live.trust]);

  const views = VIEWS.filter(({ isFor }) => isFor === undefined || isFor(live));
  /** Whom one looks at goes along to where everybody is looked at, and to the map if there is something to see of it there. */
  const lead = (to: View): void => go(to, to === "actors" || to === "dispatch" && isDispatched(id) ? id : null);
  useKeys((event) => {
    if (event.key === "?") setHelpOpen(true);
    const chosen = views.find(({ key }) => key === event.key);
    if (chosen) lead(chosen.view);
  });

  return (
    <div class={`shell ${isOld ? "is-old" : ""}`} data-view={view}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>{t("skip")}</a>
      <Sos />
      <header class="bar">
        <Brand />
        <Search />
        <div class="bar-end">
          <Clock />
          <Badge />
          <Settings onHelp={() => setHelpOpen(true)} />
        </div>
      </header>
      <nav class="rail" aria-label={t("nav")}>
        {views.map(({ view: it, icon, label, key }) => (
          <a key={it} href={`#/${it}`} title={`${t(label)} (${key})`} {...(it === view ? { "aria-current": "page" as const } : {})}
            onClick={(event) => { event.preventDefault(); lead(it); }}>
            <Icon name={icon} /><span>{t(label)}</span>
          </a>
        ))}
      </nav>
      <main id="main" class="main" tabIndex={-1}>
        <Dispatch id={view === "dispatch" ? id : null} isShown={view === "dispatch"} />
        {view === "actors" ? <Later>{({ Actors }) => <Actors id={id} />}</Later> : null}
        {view === "cluster" ? <Later>{({ Cluster }) => <Cluster />}</Later> : null}
        {view === "rules" ? <Later>{({ Rules }) => <Rules id={id} />}</Later> : null}
        {view === "templates" ? <Later>{({ Templates }) => <Templates id={id} />}</Later> : null}
      </main>
      <Old />
      <Toasts />
      {token.isWanted ? <SignIn reason={live.reason} /> : null}
      {isHelpOpen ? <Help views={views} onClose={() => setHelpOpen(false)} /> : null}
      <Announcer trust={live.trust} />
    </div>
  );
}

function Brand(): JSX.Element {
  const app = useApp();
  useHeard((again) => {
    void app.arrived.then(again);
    return () => {};
  });
  const { city } = app;
  return (
    <div class="brand">
      <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 2.500 20.500 21 12 16.600 3.500 21Z" /></svg>
      <h1>Outrider</h1>
      {city?.name ? <span class="city">{city.name}</span> : null}
    </div>
  );
}

function Clock(): JSX.Element {
  const { live } = useApp();
  useTick(1000);
  const now = live.client.serverNow;
  return <time class="clock" dateTime={new Date(now).toISOString()}>{timeOfDay(now)}</time>;
}

/** Whether what is shown is true now; never silently stale. */
function Badge(): JSX.Element {
  const { live, token } = useApp();
  useTick(500);
  const { silentMs, roundTripMs, retryInMs } = live.client;
  const trust = token.isWanted ? "refused" : live.trust;
  const text: Record<Trust, () => string> = {
    connecting: () => t("trust.connecting"),
    live: () => (roundTripMs === null ? t("trust.live") : t("trust.live.ms", { ms: roundTripMs < 10 ? roundTripMs.toFixed(1) : Math.round(roundTripMs) })),
    stale: () => t("trust.stale", { s: Math.round(silentMs / 1000) }),
    reconnecting: () => (retryInMs > 0 ? t("trust.reconnecting.in", { s: Math.ceil(retryInMs / 1000) }) : t("trust.reconnecting")),
    refused: () => t("trust.refused"),
    closed: () => t("trust.closed"),
  };
  return (
    <button id="badge" type="button" class="badge" data-state={trust} title={trust === "reconnecting" ? t("trust.retry") : t(`trust.said.${trust}`)} onClick={() => (trust === "closed" ? live.connect() : live.client.retryNow())}>
      <span class="dot" aria-hidden="true" /><span class="badge-text">{text[trust]()}</span>
    </button>
  );
}

/** What of the page is old although the node is there: since when, and what it says instead. */
function Old(): JSX.Element | null {
  const missed = [...useValue(useApp().missed).values()];
  const oldest = missed.sort((a, b) => a.since - b.since)[0];
  return oldest ? <p class="old" role="status">{t("old", { at: timeOfDay(oldest.since), why: said(oldest.why) })}</p> : null;
}

/** Tells those who cannot see the badge. */
function Announcer({ trust }: { trust: Trust }): JSX.Element {
  return <p class="unseen" role="status" aria-live="polite">{t(`trust.said.${trust}`)}</p>;
}

const NEXT: Record<Choice, Choice> = { auto: "dark", dark: "light", light: "auto" };
const THEME_ICON: Record<Choice, IconName> = { auto: "auto", dark: "moon", light: "sun" };

function Settings({ onHelp }: { onHelp: () => void }): JSX.Element {
  const { live, token } = useApp();
  const [theme, setTheme] = useState(choice());
  const [missing, setMissing] = useState(() => ({ language: missingLanguage() }));
  const turn = (): void => {
    choose(NEXT[theme]);
    setTheme(NEXT[theme]);
  };
  const turnTo = (language: Language): void => void speak(language).then((isSpoken) => isSpoken || setMissing({ language }));
  return (
    <div class="settings">
      <IconButton icon={THEME_ICON[theme]} label={t(`theme.${theme}`)} onClick={turn} />
      <label class="language">
        <span class="unseen">{t("language")}</span>
        <select value={currentLanguage()} onChange={(event) => turnTo(event.currentTarget.value as Language)}>
          {Object.entries(LANGUAGES).map(([code, name]) => <option key={code} value={code} aria-label={name}>{code.toUpperCase()}</option>)}
        </select>
      </label>
      {missing.language ? (
        <p class="language-missing" role="alert">
          {t("language.missing", { language: LANGUAGES[missing.language] })}<IconButton icon="close" label={t("close")} onClick={() => setMissing({ language: null })} />
        </p>
      ) : null}
      <IconButton icon="keys" label={t("help.title")} class="only-wide" onClick={onHelp} />
      {live.principal && live.regions.length > 0 ? <span class="city only-wide" title={live.regions.join("\n")}>{t("scope", { who: who(live.principal), n: live.regions.length })}</span> : null}
      {live.principal ? (
        <IconButton icon="out" label={t("sign_out", { who: who(live.principal) })} onClick={() => { token.forget(); location.reload(); }} />
      ) : null}
    </div>
  );
}

/** What came of what was asked: a refusal stays until it is read. */
function Toasts(): JSX.Element {
  const { live } = useApp();
  useHeard((again) => live.on("asked", again));
  return (
    <ol class="toasts" aria-live="polite">
      {live.asked.map((asked) => <Toast key={asked.id} asked={asked} />)}
    </ol>
  );
}

function Toast({ asked }: { asked: Asked }): JSX.Element {
  const { live } = useApp();
  const { title } = described(asked.actor, live.board.marks.get(asked.actor));
  const isWaiting = asked.state === "asked" && live.trust !== "live";
  return (
    <li class={`toast is-${asked.state}`}>
      <div class="toast-head">
        <span class="toast-mark" aria-hidden="true" />
        <strong>{t(asked.what as Key)}</strong>
        <span class="soft">{title}</span>
        {asked.state === "asked" ? null : <IconButton icon="close" label={t("close")} onClick={() => live.dismiss(asked.id)} />}
      </div>
      {isWaiting ? <p class="soft">{t("asked.waiting")}</p> : null}
      {asked.state === "refused" && asked.refused ? <Refusal refused={asked.refused} /> : null}
    </li>
  );
}

const KEYS: readonly [string, Key][] = [
  ["/", "keys.search"], ["j k ↑ ↓", "keys.move"], ["Enter", "keys.open"], ["Esc", "keys.close"],
  ["a", "keys.assign"], ["h", "keys.hold"], ["p", "keys.priority"], ["m", "keys.message"], ["x", "keys.cancel"], ["f", "keys.follow"],
  ["+ − 0", "keys.zoom"], ["?", "keys.help"],
];

function Help({ views, onClose }: { views: readonly Place[]; onClose: () => void }): JSX.Element {
  const rows: (readonly [keys: string, says: string])[] = [
    [views.map(({ key }) => key).join(" "), views.map(({ label }) => t(label)).join(", ")], ...KEYS.map(([keys, says]) => [keys, t(says)] as const),
  ];
  return (
    <Dialog title={t("help.title")} onClose={onClose}>
      <dl class="keys">
        {rows.map(([keys, says]) => (
          <div key={keys}><dt>{keys.split(" ").map((key) => <kbd key={key}>{key}</kbd>)}</dt><dd>{says}</dd></div>
        ))}
      </dl>
    </Dialog>
  );
}
