// What the parts of the console share, and how they hear of changes.

import { createContext } from "preact";
import { useContext, useEffect, useReducer, useState } from "preact/hooks";
import type { Refused, Topic } from "@outrider/client";
import type { Live, Told } from "./live.js";
import type { Basemap } from "./map/basemap.js";
import type { Camera, Projection } from "./map/camera.js";
import type { BasemapSource, City } from "./map/ground.js";
import type { Layer } from "./map/hexes.js";
import type { Filter, Marks } from "./map/marks.js";
import { latestOf, type Answer, type Latest, type Rest } from "./rest.js";
import type { Token } from "./token.js";

export interface App {
  live: Live;
  rest: Rest;
  token: Token;
  /** The city as the node draws it; null if nobody has, and until it has arrived. */
  city: City | null;
  /** The real streets the node has to show; null if it has none, and until that is known. */
  streetSource: BasemapSource | null;
  projection: Projection;
  /** Done when both are here, or known not to come. */
  arrived: Promise<void>;
  camera: Camera;
  /** The map's marks, once it is there. */
  marks: Marks | null;
  /** The real streets below the marks, while they are drawn. */
  basemap: Basemap | null;
  /** What is shown and old, by the path it is asked for at: since when, and why there is nothing newer. */
  missed: Value<ReadonlyMap<string, Missed>>;
  /** Whom the map keeps in its middle. */
  followed: Value<string | null>;
  /** What the map shows of zones. */
  layer: Value<Layer>;
  /** What is left out of the map and, of other regions, of the queue. */
  filter: Value<Filter>;
}

export interface Missed {
  since: number;
  why: Refused;
}

export const AppContext = createContext<App>(null!);

export function useApp(): App {
  return useContext(AppContext);
}

/** Something that changes and says so. */
export class Value<T> {
  readonly #listeners = new Set<() => void>();

  constructor(private it: T) {}

  get(): T {
    return this.it;
  }

  set(next: T): void {
    if (next === this.it) return;
    this.it = next;
    for (const listener of [...this.#listeners]) listener();
  }

  on(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export function useValue<T>(value: Value<T>): T {
  useHeard((again) => value.on(again), [value]);
  return value.get();
}

/** Draws anew whenever `listen` hears something; `listen` returns what ends it. */
export function useHeard(listen: (again: () => void) => () => void, of: unknown[] = []): void {
  const [, again] = useReducer((n: number, _: void) => n + 1, 0);
  useEffect(() => {
    const end = listen(() => again());
    // What has changed between drawing and listening was not heard.
    again();
    return end;
  }, of);
}

/** Draws anew every so many milliseconds. */
export function useTick(everyMs: number): void {
  useHeard((again) => {
    const timer = setInterval(again, everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
}

/** Follows a topic as long as this is shown; null while nothing has come of it, or without one. */
export function useFollowed<T>(topic: Topic | null): { view: T } | { refused: Refused } | null {
  const { live } = useApp();
  const key = topic === null ? null : JSON.stringify(topic);
  const [told, setTold] = useState<{ key: string; told: Told } | null>(null);
  useEffect(() => {
    if (topic === null || key === null) return undefined;
    return live.follow(topic, (it) => setTold({ key, told: it }));
  }, [key]);
  return told !== null && told.key === key ? (told.told as { view: T } | { refused: Refused }) : null;
}

/** What a request answered: asked when `path` is another and when `of` changes, the last answer shown meanwhile. */
export function useFetched<T>(path: string | null, of: unknown = null): Answer<T> | null {
  const { rest } = useApp();
  const [answered, setAnswered] = useState<{ path: string; answer: Answer<T> } | null>(null);
  useEffect(() => {
    if (path === null) return undefined;
    let isWanted = true;
    void rest.get<T>(path).then((answer) => isWanted && setAnswered({ path, answer }));
    return () => {
      isWanted = false;
    };
  }, [path, of]);
  return answered !== null && answered.path === path ? answered.answer : null;
}

/**
 * The same, again and again as long as this is shown and the page is looked at, and whenever `of` changes. A good answer stays until there
 * is another, however often there is none; since when it is old, the page then says (`App.missed`).
 */
export function usePolled<T>(path: string | null, everyMs: number, of: unknown = null): Answer<T> | null {
  const { missed, rest } = useApp();
  const [told, setTold] = useState<{ path: string; latest: Latest<T> } | null>(null);
  useEffect(() => {
    if (path === null) return undefined;
    let [isWanted, isAsked] = [true, false];
    const look = async (): Promise<void> => {
      // A node that is silent for longer than this waits is told of, too: it has to be heard out.
      if (isAsked) return;
      isAsked = true;
      const answer = await rest.get<T>(path);
      isAsked = false;
      if (isWanted) setTold((before) => ({ path, latest: latestOf(before?.path === path ? before.latest : null, answer, Date.now()) }));
    };
    void look();
    const lookIfSeen = (): void => void (document.hidden || look());
    const timer = setInterval(lookIfSeen, everyMs);
    // Nothing was asked while nobody looked: whoever comes back must not take for new what is there.
    document.addEventListener("visibilitychange", lookIfSeen);
    return () => {
      isWanted = false;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", lookIfSeen);
    };
  }, [path, everyMs, of]);
  const latest = told?.path === path ? told.latest : null;
  const why = latest?.missed ?? null;
  useEffect(() => {
    if (path === null || latest === null || why === null) return undefined;
    missed.set(new Map(missed.get()).set(path, { since: latest.at, why }));
    return () => {
      const others = new Map(missed.get());
      others.delete(path);
      missed.set(others);
    };
  }, [path, why]);
  return latest?.answer ?? null;
}

// ── Where in the console we are: #/dispatch/order-…, #/actors/driver-…, #/cluster, #/rules/rule-…, #/templates/template-… ──

export type View = "dispatch" | "actors" | "cluster" | "rules" | "templates";
const VIEWS: readonly View[] = ["dispatch", "actors", "cluster", "rules", "templates"];

export interface Route {
  view: View;
  id: string | null;
}

export function routeOf(hash: string): Route {
  const [view, id] = decodeURIComponent(hash.replace(/^#\/?/, "")).split("/");
  if (VIEWS.includes(view as View)) return { view: view as View, id: id || null };
  // As the page before the console wrote it: only an id.
  return { view: "dispatch", id: view || null };
}

export function go(view: View, id: string | null = null): void {
  const hash = `#/${view}${id ? `/${id}` : ""}`;
  if (location.hash === hash) return;
  history.pushState(null, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export function useRoute(): Route {
  useHeard((again) => {
    addEventListener("hashchange", again);
    addEventListener("popstate", again);
    return () => {
      removeEventListener("hashchange", again);
      removeEventListener("popstate", again);
    };
  });
  return routeOf(location.hash);
}
