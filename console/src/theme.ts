// Dark or light, and the style sheet's colours for what is painted and not styled.

const KEY = "outrider.theme";
const prefersLight = matchMedia("(prefers-color-scheme: light)");

export type Choice = "auto" | "dark" | "light";

/** Emits `change` when what is painted must be painted anew. */
export const themed = new EventTarget();

export function choice(): Choice {
  const kept = localStorage.getItem(KEY);
  return kept === "dark" || kept === "light" ? kept : "auto";
}

export function choose(next: Choice): void {
  if (next === "auto") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, next);
  dress();
}

/** Puts the theme on the page, now and when the system's changes. */
export function startTheme(): void {
  prefersLight.addEventListener("change", dress);
  dress();
}

function dress(): void {
  const chosen = choice();
  document.documentElement.dataset.theme = chosen === "auto" ? (prefersLight.matches ? "light" : "dark") : chosen;
  themed.dispatchEvent(new Event("change"));
}

const INKS = {
  mapGround: "--map-ground", mapWater: "--map-water", mapPark: "--map-park", mapStreet: "--map-street", mapCollector: "--map-collector",
  mapArterial: "--map-arterial", mapCasing: "--map-casing", mapLabel: "--map-label", mapPlace: "--map-place", mapHalo: "--map-halo",
  mapGrid: "--map-grid", mapEdge: "--map-edge", panel: "--panel", line: "--line", text: "--text",
} as const;

export type Ink = Record<keyof typeof INKS, string>;

/** The colours of the ground, as the style sheet has them now. */
export function ink(): Ink {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(Object.entries(INKS).map(([name, property]) => [name, style.getPropertyValue(property).trim()])) as Ink;
}

/** One of the named colours of marks, `#rrggbb`. */
export function colourOf(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--c-${name}`).trim();
}
