// The console in order: theme and words, the token, the connection, the city, the page.

import { render } from "preact";
import { AppContext, Value, type App, type Missed } from "./app.js";
import { Live } from "./live.js";
import { Camera, Projection } from "./map/camera.js";
import { fetchViews } from "./later.js";
import type { BasemapSource, City } from "./map/ground.js";
import type { Layer } from "./map/hexes.js";
import { EVERYTHING } from "./map/marks.js";
import { NOWHERE } from "./map/viewport.js";
import { remember } from "./past.js";
import { Rest, at } from "./rest.js";
import { Shell } from "./shell.js";
import "./style.css";
import { startTheme } from "./theme.js";
import { Token } from "./token.js";
import { startWords } from "./words.js";

const KIGALI = { lat: -1.9441, lon: 30.0619 };

startTheme();
const worded = startWords();
const token = new Token();
const bearer = (): Promise<string> => token.get();
const live = new Live(at("/v1/ws").replace(/^http/, "ws"), bearer);
const rest = new Rest(bearer);
const app: App = {
  live, rest, token,
  city: null,
  streetSource: null,
  projection: new Projection(KIGALI),
  arrived: Promise.all([told<City>("/city.json"), told<BasemapSource>("/console/basemap.json")]).then(([city, source]) => {
    app.city = city;
    app.streetSource = source;
    const center = city?.center ?? (source && "archive" in source ? source.archive.center : null);
    if (center) app.projection = new Projection(center);
  }),
  camera: new Camera(),
  marks: null,
  basemap: null,
  missed: new Value<ReadonlyMap<string, Missed>>(new Map()),
  followed: new Value<string | null>(null),
  layer: new Value<Layer>("none"),
  filter: new Value(EVERYTHING),
};
remember(live.board);
// For tests, and for whoever opens the browser's tools.
Object.assign(globalThis, { outrider: app });
live.look(NOWHERE);
live.connect();
// Once there is something to look at, the rest comes. Whoever wants some of it and finds that it did not come is told so.
const end = live.board.on("counters", () => {
  end();
  fetchViews().catch(() => {});
});
void worded.then(() => render(<AppContext.Provider value={app}><Shell /></AppContext.Provider>, document.getElementById("console")!));

/** What the node tells of itself to anybody; null if it has nothing to tell. */
async function told<T>(path: string): Promise<T | null> {
  try {
    const answer = await fetch(at(path));
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
