// The page in order: city, board, map, panels, then the node.

import { Badge } from "./badge.js";
import { Board } from "./board.js";
import { Camera, Projection } from "./camera.js";
import { byId, say } from "./dom.js";
import { Ground } from "./ground.js";
import { Inspector } from "./inspector.js";
import { MapView } from "./map.js";
import { Overview } from "./overview.js";
import { Search } from "./search.js";
import { SignIn } from "./sign_in.js";
import { Socket } from "./socket.js";
import { kindOf } from "./status.js";
import { Ticker } from "./ticker.js";
import { Vehicles } from "./vehicles.js";

const KIGALI = { lat: -1.9441, lon: 30.0619 };
let hasFramed = false;

const city = await cityMap();
const projection = new Projection(city?.center ?? KIGALI);
const camera = new Camera();
const board = new Board();
const socket = new Socket(new URL("v1/ws", location.href.replace(/^http/, "ws")));

const ground = new Ground(byId("ground"), camera, projection, city);
const vehicles = startVehicles();
const map = new MapView(camera, vehicles, board);
const inspector = new Inspector(socket, board, map);
const overview = new Overview(board, (status, isHidden) => vehicles.setHidden(status, isHidden));
const ticker = new Ticker(board, inspect);
const search = new Search(board, inspect);
const badge = new Badge(socket);
const signIn = new SignIn();
// For tests, and for whoever opens the console.
window.outrider = { board, camera, projection, vehicles, socket, inspector, overview, ticker, search, badge };

if (city) {
  say(byId("city"), city.name ?? "");
  const { south, west, north, east } = city.bounds;
  camera.setBounds({ west: projection.x(west), east: projection.x(east), south: projection.y(south), north: projection.y(north) });
}
map.addEventListener("pick", ({ detail: { id } }) => (id ? inspect(id) : inspector.close()));
inspector.addEventListener("open", () => {
  vehicles.select(inspector.id);
  if (map.following && map.following !== inspector.id) map.follow(null);
  history.replaceState(null, "", `#${inspector.id}`);
  showTab("inspector");
});
inspector.addEventListener("close", () => {
  vehicles.select(null);
  map.follow(null);
  history.replaceState(null, "", location.pathname + location.search);
  showTab("overview");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.target.closest?.("dialog")) inspector.close();
});
addEventListener("hashchange", openFromHash);
matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => {
  ground.recolour();
  vehicles.recolour();
});
for (const tab of document.querySelectorAll(".tabs button")) {
  tab.addEventListener("click", () => showTab(tab.dataset.tab));
}

socket.addEventListener("frame", ({ detail: frame }) => {
  if (frame.welcome) {
    // Where it goes on, the board is still followed.
    if (!frame.welcome.resumed) socket.send({ subscribe: "board" });
    if (inspector.id) inspector.subscribe();
    else openFromHash();
  }
  if (frame.board) {
    board.apply(frame.board);
    // A city nobody has drawn is where its first mark is.
    if (!city && board.isKnown) frameMarks();
    notify("");
  }
  if (frame.unsubscribed?.topic === "board") notify(`The node does not show the map: ${frame.unsubscribed.refused.message}.`);
});
board.addEventListener("gap", () => {
  socket.send({ unsubscribe: "board" });
  socket.send({ subscribe: "board" });
});
socket.addEventListener("state", async () => {
  if (socket.state !== "refused") return;
  const reason = socket.reason ? `The node refused this token: ${socket.reason}.` : "The node refused this token.";
  socket.open(await signIn.ask(reason));
});
notify("Waiting for the node…");
socket.open(await signIn.token());

function inspect(id) {
  inspector.open(id);
}

function openFromHash() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (kindOf(id)) inspector.open(id);
}

function showTab(name) {
  document.body.dataset.tab = name;
  for (const tab of document.querySelectorAll(".tabs button")) {
    if (tab.dataset.tab === name) tab.setAttribute("aria-current", "true");
    else tab.removeAttribute("aria-current");
  }
}

function notify(text) {
  const notice = byId("notice");
  say(notice, text);
  notice.hidden = text === "";
}

function startVehicles() {
  try {
    return new Vehicles(byId("marks"), camera, projection, board);
  } catch (error) {
    notify(`The map cannot be drawn: ${error.message}.`);
    throw error;
  }
}

function frameMarks() {
  if (hasFramed || board.marks.size === 0) return;
  hasFramed = true;
  const points = [...board.marks.values()].map((mark) => mark.at ?? mark.pickup);
  const [xs, ys] = [points.map(({ lon }) => projection.x(lon)), points.map(({ lat }) => projection.y(lat))];
  const margin = 1500;
  camera.setBounds({ west: least(xs) - margin, east: most(xs) + margin, south: least(ys) - margin, north: most(ys) + margin });
}

function least(values) {
  return values.reduce((a, b) => Math.min(a, b));
}

function most(values) {
  return values.reduce((a, b) => Math.max(a, b));
}

async function cityMap() {
  try {
    const answer = await fetch("city.json");
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
