// What a dispatcher looks at all day: what waits, where it is, and what to do about it.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { go, useApp } from "../app.js";
import { Later } from "../later.js";
import { MapView } from "../map/map.js";
import { isDispatched, kindOf } from "../status.js";
import { IconButton, Tabs, useKeys } from "../ui.js";
import { t } from "../words.js";
import { Queue } from "./queue.js";

type Side = "queue" | "drivers" | "city" | "activity";
const SIDES: readonly Side[] = ["queue", "drivers", "city", "activity"];

export function Dispatch({ id, isShown }: { id: string | null; isShown: boolean }): JSX.Element {
  const app = useApp();
  const [side, setSide] = useState<Side>("queue");
  const [n, setN] = useState(0);
  const kind = id === null ? null : kindOf(id);
  const isDetailed = isDispatched(id);

  const show = (next: string): void => {
    go("dispatch", next);
    const at = app.marks?.where(next);
    if (at) app.camera.flyTo(at[0], at[1], Math.max(app.camera.zoom, 0.18));
  };
  useKeys((event) => {
    if (event.key === "Escape" && id !== null) go("dispatch");
    if (event.key === "f" && id !== null && kindOf(id) === "driver") app.followed.set(app.followed.get() === id ? null : id);
  }, isShown);

  return (
    <div class={`dispatch ${isDetailed ? "is-detailed" : ""}`} hidden={!isShown}>
      <section class="side" aria-label={t("side")}>
        <Tabs label={t("side")} current={side} onChoose={setSide} names={SIDES.map((name) => ({ name, label: t(`side.${name}`), count: name === "queue" && n > 0 ? n : undefined }))} />
        <Queue selected={id} isShown={side === "queue"} isListening={isShown} onOpen={show} onCount={setN} />
        {side === "drivers" ? <Later>{({ Drivers }) => <Drivers selected={id} onOpen={show} />}</Later> : null}
        {side === "city" ? <Later>{({ City }) => <City />}</Later> : null}
        {side === "activity" ? <Later>{({ Activity }) => <Activity onOpen={show} />}</Later> : null}
      </section>
      <MapView selected={id} onPick={(next) => go("dispatch", next)} />
      {isDetailed && id !== null ? (
        <section class="details" id="details" aria-label={t("details")}>
          <IconButton icon="close" class="details-close" label={t("close")} onClick={() => go("dispatch")} />
          <Later>
            {({ DriverDetails, IncidentDetails, JobDetails }) => (
              kind === "driver" ? <DriverDetails key={id} id={id} isListening={isShown} onOpen={show} />
                : kind === "incident" ? <IncidentDetails key={id} id={id} onOpen={show} />
                : <JobDetails key={id} id={id} isListening={isShown} onOpen={show} />
            )}
          </Later>
        </section>
      ) : null}
    </div>
  );
}
