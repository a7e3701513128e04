// The way of a job on the map: to where somebody waits, and on to where it ends.

import { useEffect, useRef, useState } from "preact/hooks";
import type { OrderView, Place, RescueView } from "@outrider/client";
import { useApp, type App } from "../app.js";
import { lengthOf, streetsOf, type XY } from "../map/streets.js";
import { isAwaited, stageOf, type Sort } from "../status.js";
import { jobView, type JobView } from "./job.js";

/** A driver moves: the way to the pickup is another one a little later. */
const DRAWN_MS = 4000;

/** Draws the ways of jobs as long as they are looked at. */
export function useWays(views: readonly JobView[]): void {
  const app = useApp();
  const open = views.filter(({ kind, status }) => ["searching", "active"].includes(stageOf(kind, status)));
  const key = open.map((view) => `${view.id} ${view.stopsDone} ${view.driver} ${isAwaited(view.kind, view.status)}`).join();
  const latest = useRef(open);
  latest.current = open;
  useEffect(() => {
    if (key === "") return undefined;
    const draw = (): void => app.marks?.route(latest.current.flatMap((view) => legsOf(app, view)));
    draw();
    const timer = setInterval(draw, DRAWN_MS);
    return () => {
      clearInterval(timer);
      app.marks?.route([]);
    };
  }, [key]);
}

/**
 * What a driver does, as the node told of it when it last got further. It is asked for and not followed: others see who has a job open, and
 * this is only its driver.
 */
export function useJobsOf(ids: readonly string[]): readonly JobView[] {
  const { live: { board }, rest } = useApp();
  const [views, setViews] = useState<readonly JobView[]>([]);
  const key = ids.map((id) => `${id} ${board.job(id)?.status ?? ""}`).join();
  useEffect(() => {
    let isWanted = true;
    void Promise.all(ids.map((id) => rest.get<OrderView | RescueView>(`/v1/${id.startsWith("rescue-") ? "rescues" : "orders"}/${id}`)))
      .then((answers) => isWanted && setViews(answers.flatMap((it) => ("ok" in it ? [jobView(it.ok)] : []))));
    return () => {
      isWanted = false;
    };
  }, [key]);
  return views.filter(({ id }) => ids.includes(id));
}

function legsOf(app: App, view: JobView): { points: XY[]; sort: Sort; isAhead: boolean }[] {
  const streets = streetsOf(app.city, app.projection);
  const way = (a: XY, b: XY): XY[] => streets?.way(a, b) ?? [a, b];
  const xy = ({ at }: Place): XY => [app.projection.x(at.lon), app.projection.y(at.lat)];
  const stops = view.stops.map(xy);
  const driver = view.driver ? app.marks?.where(view.driver) ?? null : null;
  const isDriven = stageOf(view.kind, view.status) === "active";
  const legs: { points: XY[]; sort: Sort; isAhead: boolean }[] = [];
  const isToPickup = view.kind === "rescue" || !isDriven || isAwaited(view.kind, view.status);
  const next = isToPickup ? view.pickup : Math.min(view.stopsDone, stops.length - 1);
  if (driver && isDriven) legs.push({ points: way(driver, stops[next]!), sort: view.sort, isAhead: false });
  for (let i = next; i + 1 < stops.length; i += 1) legs.push({ points: way(stops[i]!, stops[i + 1]!), sort: view.sort, isAhead: driver !== null && isDriven });
  return legs.filter(({ points }) => lengthOf(points) > 1);
}
