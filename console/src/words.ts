// What the console says, in the language of whoever reads it. English is always there; what another one says is loaded where it is spoken.

import type { Eta } from "@outrider/client";
import { en } from "./words/en.js";
import type { Named, OpenGroup } from "./words/named.js";
import { spoken } from "./status.js";

export type Key = keyof typeof en;
export type Words = Record<Key, string>;
export type Language = "en" | "fr" | "rw";

const CATALOGUES: Record<Language, () => Promise<Words>> = {
  en: () => Promise.resolve(en),
  fr: async () => (await import("./words/fr.js")).fr,
  rw: async () => (await import("./words/rw.js")).rw,
};
export const LANGUAGES: Record<Language, string> = { en: "English", fr: "Français", rw: "Kinyarwanda" };
const KEY = "outrider.language";
/** Nobody looks at an empty page for longer, only to read it in another language. */
const PATIENCE_MS = 6_000;
/** What is said instead of a moment that no calendar has. */
const NO_MOMENT = "–";

/** In which groups a state's names are looked for, by the field that they are of. Elsewhere the same name may mean something else. */
const NAMED_BY: Readonly<Record<string, readonly (keyof Named)[]>> = {
  status: ["status", "case", "offer", "run", "member"], kind: ["kind", "incident"], vehicle: ["kind"], what: ["errand"],
  fulfilment: ["fulfilment"], policy: ["policy"], priority: ["priority"], issue: ["issue"], outcome: ["offer"],
};

let [language, words]: [Language, Words] = ["en", en];
let missing: Language | null = null;
/** To make a format takes longer than to use it hundreds of times. */
let clock: { language: Language; format: Intl.DateTimeFormat } | null = null;

export function currentLanguage(): Language {
  return language;
}

/** The language that was wanted when the page began, and whose words could not be had; or null. */
export function missingLanguage(): Language | null {
  return missing;
}

/** The words of a language, for somebody else to read. */
export function wordsIn(of: Language): Promise<Words> {
  return soon(CATALOGUES[of]());
}

/** Fetches the words of whoever reads. If they cannot be had, it is said in English, and `missingLanguage` names what was wanted. */
export async function startWords(catalogues = CATALOGUES): Promise<void> {
  const wanted = preferred();
  try {
    [words, language, missing] = [await soon(catalogues[wanted]()), wanted, null];
  } catch {
    missing = wanted;
  }
  document.documentElement.lang = language;
}

/** Speaks another one from the next load on, which it begins; resolves to false if its words cannot be had, and all stays as it is. */
export async function speak(next: Language): Promise<boolean> {
  try {
    await soon(CATALOGUES[next]());
  } catch {
    return false;
  }
  localStorage.setItem(KEY, next);
  location.reload();
  return true;
}

/** The words for a key, with `{name}` replaced by what `values` says. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  return words[key].replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
}

/** Of a word the node uses: what the catalogue has under `group.word`, or the word itself, of a newer node. */
export function word(group: keyof Named | OpenGroup, name: string): string {
  return known(`${group}.${name}`) ?? spoken(name);
}

/** What happened. An event that ends a job is called by the status it leads to. */
export function happened(event: string): string {
  return known(`event.${event}`) ?? word("status", event);
}

/** What the platform says of why, in one word; whatever else a reason is, somebody wrote it. */
const REASON_CODES: readonly string[] = [
  "rider_asked", "road_blocked", "wrong_address", "breakdown", "unsafe", "staff_decision", "towed", "fixed_on_scene", "stranded",
];

/** Why, as people wrote it; what the platform says in one word is said in the reader's language. */
export function because(reason: string): string {
  return (REASON_CODES.includes(reason) ? known(`reason.${reason}`) : null) ?? reason;
}

/** What a field of a state says by a name of the node's, in words; null if these say nothing more than the name, or nobody knows. */
export function meaning(field: string, name: string): string | null {
  for (const group of Object.hasOwn(NAMED_BY, field) ? NAMED_BY[field]! : []) {
    const says = known(`${group}.${name}`);
    if (says !== null) return says.toLowerCase() === name.replaceAll("_", " ") ? null : says;
  }
  return null;
}

function known(key: string): string | null {
  return Object.hasOwn(en, key) ? words[key as Key] : null;
}

export function number(value: number, digits = 0): string {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

export function percent(share: number): string {
  return new Intl.NumberFormat(language, { style: "percent" }).format(share);
}

/** `14:03:27` in the viewer's time zone, as their language writes it, and without halves of a day. */
export function timeOfDay(at: number): string {
  if (clock?.language !== language) clock = { language, format: new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }) };
  return dated(clock.format, at);
}

/** `3 Dec 2026` in the viewer's time zone, as their language writes it. */
export function dayOf(at: number): string {
  return dated(new Intl.DateTimeFormat(language, { dateStyle: "medium" }), at);
}

/** `30 Nov 2026, 06:00` in the viewer's time zone. */
export function moment(at: number): string {
  return dated(new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" }), at);
}

/** `Mon, 30 Nov, 06:00 – 14:00` in the viewer's time zone. */
export function period(from: number, until: number): string {
  const format = new Intl.DateTimeFormat(language, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  return isMoment(from) && isMoment(until) ? format.formatRange(from, until) : NO_MOMENT;
}

/** `Mon, 30 Nov 2026`: of a day of the calendar, such as `2026-11-30`, wherever it is. */
export function calendarDay(day: string): string {
  return dated(new Intl.DateTimeFormat(language, { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" }), Date.parse(day));
}

/** `Mon`: what the `nth` day of a week is called, from Monday, the 0th, on. */
export function weekdayOf(nth: number): string {
  // The first of January 2024 was a Monday.
  return new Intl.DateTimeFormat(language, { weekday: "short", timeZone: "UTC" }).format(Date.UTC(2024, 0, 1 + nth));
}

/** An amount in the smallest unit of its currency, as people write it. */
export function money({ amount, currency }: { amount: number; currency: string }): string {
  const format = new Intl.NumberFormat(language, { style: "currency", currency });
  return format.format(amount / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
}

/** `4 s`, `3 min 20 s`, `2 h 5 min`. */
export function span(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1000));
  const [h, min] = [Math.floor(s / 3600), Math.floor((s % 3600) / 60)];
  const units = [[t("unit.h", { n: h }), h > 0], [t("unit.min", { n: min }), min > 0 || h > 0], [t("unit.s", { n: s % 60 }), h === 0 && (min === 0 || s % 60 > 0)]] as const;
  return units.filter(([, isSaid]) => isSaid).map(([unit]) => unit).join(" ");
}

/** `4 min (3–6)`: how much of what is expected is left after so long, and between what it is eight times in ten. */
export function around(eta: Eta, passedMs: number): string {
  const [n, low, high] = [eta.s, eta.low_s, eta.high_s].map((s) => Math.max(0, Math.round((s - passedMs / 1000) / 60))) as [number, number, number];
  return low === high ? t("unit.min", { n: Math.max(1, n) }) : t("eta.range", { n: Math.max(1, n), low, high });
}

/** `340 m`, `2.1 km`. */
export function metres(m: number): string {
  return m < 950 ? `${Math.round(m / 10) * 10} m` : `${number(m / 1000, 1)} km`;
}

/** A moment as a format has it, or that it is none: of those beyond all calendars formats throw. */
function dated(format: Intl.DateTimeFormat, at: number): string {
  return isMoment(at) ? format.format(at) : NO_MOMENT;
}

function isMoment(at: number): boolean {
  return !Number.isNaN(new Date(at).getTime());
}

/** The same, unless it takes too long. */
function soon(catalogue: Promise<Words>): Promise<Words> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("it takes too long")), PATIENCE_MS);
    catalogue.then(resolve, reject).finally(() => clearTimeout(late));
  });
}

function preferred(): Language {
  const kept = localStorage.getItem(KEY);
  if (kept !== null && Object.hasOwn(CATALOGUES, kept)) return kept as Language;
  const spokenHere = navigator.languages.map((it) => it.slice(0, 2)).find((it) => Object.hasOwn(CATALOGUES, it));
  return (spokenHere as Language | undefined) ?? "en";
}
