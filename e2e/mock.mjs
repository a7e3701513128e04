// A node that is not one: serves the console, and speaks its side of the protocol for a made-up city of any
// size, so that they can be worked on, and the console's map measured, without building anything. What is asked over
// HTTP, and commands, it refuses.
//
//   node mock.mjs [--port 7070] [--drivers 400] [--jobs 40] [--city FILE] [--no-city] [--no-demo]

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";

const CONSOLE = fileURLToPath(new URL("../console/dist/", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const GOOD_TOKEN = "a-good-token";
const CENTER = { lat: -1.9441, lon: 30.0619 };
const M_PER_LAT = 111_195;
const M_PER_LON = M_PER_LAT * Math.cos((CENTER.lat * Math.PI) / 180);
const ISSUES = ["flat_tyre", "battery_dead", "out_of_fuel", "accident", "locked_out"];

/** Starts it; resolves to {url, cancel, cut, close}. */
export async function startMock({ port = 0, drivers = 400, jobs = 40, hasCity = true, isDemo = true, seed = 7, drawn = null } = {}) {
  const random = mulberry(seed);
  const city = drawn ? readCity(drawn) : makeCity(random);
  const world = makeWorld(city, drivers, jobs, random);
  const server = createServer((request, response) => serve(request, response, { city, hasCity, isDemo }));
  const sockets = new WebSocketServer({ server, path: "/v1/ws", maxPayload: 65_536, handleProtocols: (offered) => offered.has("outrider.v1.json") && "outrider.v1.json" });
  sockets.on("connection", (socket) => session(socket, world));
  const timer = setInterval(() => world.step(0.5), 500);
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    // Its orders change by themselves, and often.
    cancel: () => true,
    cut: () => sockets.clients.forEach((socket) => socket.terminate()),
    close: () => {
      clearInterval(timer);
      sockets.clients.forEach((socket) => socket.terminate());
      server.close();
    },
  };
}

async function serve(request, response, { city, hasCity, isDemo }) {
  const path = new URL(request.url, "http://node").pathname;
  const send = (status, type, body) => response.writeHead(status, { "content-type": type, "content-security-policy": CSP, "x-content-type-options": "nosniff" }).end(body);
  if (path === "/city.json" && hasCity) return send(200, "application/json", JSON.stringify(city.json));
  // It has no real streets.
  if (path === "/console/basemap.json") return send(200, "application/json", "null");
  if (path === "/demo/token" && isDemo) return send(200, "application/json", JSON.stringify({ token: GOOD_TOKEN }));
  if (!path.startsWith("/console/")) return response.writeHead(307, { location: "/console/" }).end();
  const file = normalize(path === "/console/" ? "/index.html" : path.slice("/console".length));
  try {
    send(200, TYPES[extname(file)] ?? "application/octet-stream", await readFile(join(CONSOLE, file)));
  } catch {
    send(404, "text/plain", "no such thing\n");
  }
}

function session(socket, world) {
  const send = (frame) => socket.readyState === socket.OPEN && socket.send(JSON.stringify(frame));
  const topics = new Map();
  let isKnown = false;
  send({ hello: { session: `session-${world.hex()}`, server_time: Date.now(), heartbeat_ms: 15_000, frame_bytes_max: 65_536, frames_per_s: 50 } });
  socket.on("message", (data) => {
    const frame = JSON.parse(data);
    if (frame.identify) {
      isKnown = frame.identify.token === GOOD_TOKEN;
      if (isKnown) return send({ welcome: { principal: "dispatcher", expires_at: Date.now() + 3_600_000 } });
      send({ goodbye: { refused: { code: "unauthenticated", message: "the token is not valid" } } });
      return socket.close(4401);
    }
    if (!isKnown) return socket.close(4401);
    if (frame.heartbeat) return send({ heartbeat: { server_time: Date.now() } });
    if (frame.subscribe === "board" || frame.subscribe?.viewport) {
      const viewport = frame.subscribe.viewport ?? null;
      // One that takes the place of another is told what is new in it and what is there no more.
      const was = topics.get("view");
      const view = was?.view ?? world.view();
      was?.end();
      view.full(viewport, !was).forEach((board) => send({ board }));
      topics.set("view", Object.assign(world.onboard((board) => send({ board: view.diff(board) })), { view, key: JSON.stringify(frame.subscribe) }));
      topics.get("view").end = topics.get("view");
    } else if (frame.subscribe?.actor) {
      const id = frame.subscribe.actor;
      const actor = world.actor(id, []);
      if (!actor) return send({ unsubscribed: { topic: { actor: id }, refused: { code: "not_found", message: `no such ${id.split("-")[0]}` } } });
      send({ actor });
      topics.set(id, world.onactor(id, (view) => send({ actor: view })));
    } else if (frame.unsubscribe?.actor) {
      topics.get(frame.unsubscribe.actor)?.();
    } else if (topics.get("view")?.key === JSON.stringify(frame.unsubscribe)) {
      topics.get("view").end();
      topics.delete("view");
    }
  });
  socket.on("close", () => topics.forEach((end) => end()));
}

/** Streets: a bent grid with ring roads, a river and a few parks. */
function makeCity(random) {
  const n = 34;
  const pitch = 12_000 / (n - 1);
  const bend = (x, y) => [x + 420 * Math.sin(y / 2300) + 160 * Math.sin(x / 900 + y / 1300), y + 380 * Math.sin(x / 2100 + 1) + 130 * Math.cos(y / 700)];
  const nodes = [];
  for (let j = 0; j < n; j += 1) {
    for (let i = 0; i < n; i += 1) {
      const [x, y] = bend(i * pitch - 6000, j * pitch - 6000);
      nodes.push({ x: x + (random() - 0.5) * pitch * 0.3, y: y + (random() - 0.5) * pitch * 0.3, next: [] });
    }
  }
  const names = ["Avenue de la Paix", "Lake Road", "Boulevard Umuganda", "Airport Road", "Mill Street", "Hill Avenue", "Station Road", "Market Street", "North Ring", "South Ring"];
  const roads = [];
  const lonLat = ({ x, y }) => [CENTER.lon + x / M_PER_LON, CENTER.lat + y / M_PER_LAT];
  const link = (a, b) => (nodes[a].next.push(b), nodes[b].next.push(a));
  for (const isRow of [true, false]) {
    for (let j = 0; j < n; j += 1) {
      const at = (i) => (isRow ? j * n + i : i * n + j);
      const sort = j % 11 === 5 ? "arterial" : j % 4 === 1 ? "collector" : "street";
      let run = [at(0)];
      const end = () => {
        if (run.length > 1) roads.push({ class: sort, ...(sort === "arterial" ? { name: names[(j + (isRow ? 0 : 5)) % names.length] } : {}), line: run.map((it) => lonLat(nodes[it])) });
      };
      for (let i = 1; i < n; i += 1) {
        if (sort === "street" && random() < 0.18) {
          end();
          run = [at(i)];
          continue;
        }
        link(at(i - 1), at(i));
        run.push(at(i));
      }
      end();
    }
  }
  const blob = (x, y, r) => Array.from({ length: 24 }, (_, i) => {
    const angle = (i / 24) * 2 * Math.PI;
    const far = r * (0.8 + 0.25 * Math.sin(angle * 3 + x) + 0.1 * random());
    return lonLat({ x: x + far * Math.cos(angle), y: y + far * Math.sin(angle) });
  });
  const bank = (side) => Array.from({ length: 40 }, (_, i) => {
    const x = -7000 + i * 360;
    return lonLat({ x, y: -2600 + 700 * Math.sin(x / 1900) + side * (110 + 30 * Math.sin(x / 500)) });
  });
  const json = {
    name: "Kigali", center: CENTER,
    bounds: { south: CENTER.lat - 6000 / M_PER_LAT, north: CENTER.lat + 6000 / M_PER_LAT, west: CENTER.lon - 6000 / M_PER_LON, east: CENTER.lon + 6000 / M_PER_LON },
    roads, water: [[...bank(1), ...bank(-1).reverse()]], parks: [blob(-2600, 2500, 620), blob(3300, -300, 480), blob(900, 4300, 700), blob(-3800, -4200, 520)],
    places: [["Nyarugenge", -1700, 500], ["Kacyiru", 900, 2200], ["Remera", 3400, 1400], ["Kimironko", 4300, 3300], ["Gikondo", 700, -3500], ["Nyamirambo", -3400, -1300], ["Gisozi", -1400, 4400], ["Kicukiro", 3300, -4000]].map(([name, x, y]) => ({ name, at: lonLat({ x, y }) })),
  };
  return { json, nodes };
}

/** The streets of a city that somebody has drawn. */
function readCity(json) {
  const nodes = [];
  const known = new Map();
  const node = ([lon, lat]) => {
    const key = `${lon},${lat}`;
    if (!known.has(key)) known.set(key, nodes.push({ x: (lon - CENTER.lon) * M_PER_LON, y: (lat - CENTER.lat) * M_PER_LAT, next: [] }) - 1);
    return known.get(key);
  };
  for (const { line } of json.roads) {
    for (let i = 1; i < line.length; i += 1) {
      const [a, b] = [node(line[i - 1]), node(line[i])];
      nodes[a].next.push(b);
      nodes[b].next.push(a);
    }
  }
  return { json, nodes };
}

/** Drivers that wander, and jobs that live their life. */
function makeWorld(city, nDrivers, nJobs, random) {
  const digits = (n) => Array.from({ length: n }, () => Math.floor(random() * 16).toString(16)).join("");
  /** A UUIDv7 of `agoMs` ago. */
  const hex = (agoMs = 0) => `${Math.round(Date.now() - agoMs).toString(16).padStart(12, "0")}7${digits(3)}8${digits(15)}`;
  const pick = (list) => list[Math.floor(random() * list.length)];
  const point = ({ x, y }) => ({ lat: CENTER.lat + y / M_PER_LAT, lon: CENTER.lon + x / M_PER_LON });
  const boardListeners = new Set();
  const actorListeners = new Map();
  const drivers = [];
  const jobs = new Map();
  const ended = { rides: {}, deliveries: {}, rescues: {} };
  const versions = new Map();
  let [seq, changed, gone, happenings] = [0, new Set(), [], []];

  for (let i = 0; i < nDrivers; i += 1) {
    const node = Math.floor(random() * city.nodes.length);
    drivers.push({ id: `driver-${hex()}`, from: node, to: node, along: 0, far: 1, x: city.nodes[node].x, y: city.nodes[node].y, status: random() < 0.04 ? "on_break" : random() < 0.02 ? "unreachable" : "available", job: null, pause: random() * 2, goal: null });
  }

  const happen = (id, what) => {
    happenings.push({ at: Date.now(), actor: id, what });
    versions.set(id, (versions.get(id) ?? 0) + 1);
    changed.add(id);
    actorListeners.get(id)?.forEach((tell) => tell(actor(id, [what])));
  };
  const become = (job, status, what = status) => {
    job.status = status;
    job.since = Date.now();
    happen(job.id, what);
  };

  const LIFE = { assigned: "en_route_pickup", en_route_pickup: "at_pickup", at_pickup: "on", on: "end" };
  const RESCUE_LIFE = { accepted: "en_route", en_route: "on_scene", on_scene: "assisting", assisting: "end" };

  function place(agoMs = 0) {
    const sort = random() < 0.62 ? "ride" : random() < 0.85 ? "delivery" : "rescue";
    const node = city.nodes[Math.floor(random() * city.nodes.length)];
    const job = { sort, id: `${sort === "rescue" ? "rescue" : "order"}-${hex(agoMs)}`, pickup: node, dropoff: pick(city.nodes), status: "searching", driver: null, issue: pick(ISSUES), rider: `rider-${hex()}`, priority: random() < 0.04 ? "urgent" : random() < 0.08 ? "high" : "normal", asked: Math.round(Date.now() - agoMs) };
    jobs.set(job.id, job);
    become(job, "searching", sort === "rescue" ? "requested" : "placed");
  }

  function end(job, status) {
    become(job, status);
    const column = { ride: "rides", delivery: "deliveries", rescue: "rescues" }[job.sort];
    ended[column][status] = (ended[column][status] ?? 0) + 1;
    if (job.driver) {
      job.driver.status = "available";
      job.driver.job = null;
      job.driver.goal = null;
      happen(job.driver.id, "job_ended");
    }
    job.endedAt = Date.now();
  }

  function live(job) {
    if (job.endedAt) {
      if (Date.now() - job.endedAt > 8000) {
        jobs.delete(job.id);
        gone.push(job.id);
      }
      return;
    }
    if (job.status === "searching") {
      if (random() < 0.012) return end(job, random() < 0.6 ? "cancelled_by_rider" : job.sort === "rescue" ? "no_driver" : "no_driver_found");
      if (random() > 0.16) return;
      // The nearest of some: in a city of thousands nobody looks at all of them.
      const some = nDrivers <= 500 ? drivers : Array.from({ length: 60 }, () => pick(drivers));
      const free = some.filter((it) => it.status === "available").map((it) => [apart(it, job.pickup), it]).sort((a, b) => a[0] - b[0])[0]?.[1];
      if (!free) return;
      if (random() < 0.5) {
        free.status = "offered";
        happen(free.id, "offer_reserved");
        setTimeout(() => free.status === "offered" && ((free.status = "available"), happen(free.id, "offer_declined")), 1500);
        return happen(job.id, "offer_made");
      }
      job.driver = free;
      free.status = job.sort === "delivery" && random() < 0.5 ? "partly_busy" : "busy";
      free.job = job;
      free.goal = job.pickup;
      happen(free.id, "job_committed");
      return become(job, job.sort === "rescue" ? "accepted" : "assigned");
    }
    const age = Date.now() - job.since;
    if (age < 2500 + random() * 6000) return;
    if (job.sort === "rescue") {
      const next = RESCUE_LIFE[job.status];
      return next === "end" ? end(job, "completed") : become(job, next);
    }
    const next = LIFE[job.status] ?? "end";
    if (next === "on") {
      job.driver.goal = job.dropoff;
      return become(job, job.sort === "ride" ? "in_progress" : "in_transit", job.sort === "ride" ? "started" : "picked_up");
    }
    if (next === "end") {
      if (age < 9000) return;
      return end(job, job.sort === "ride" ? "completed" : "delivered");
    }
    become(job, next);
  }

  /** Each driver is heard of every second or two, and has then moved along the street. */
  function drive(driver, dt) {
    if (driver.status === "on_break" || driver.status === "unreachable") return;
    driver.pause -= dt;
    driver.along += dt * (driver.job ? 95 : 45);
    while (driver.along >= driver.far) {
      driver.along -= driver.far;
      const here = city.nodes[driver.to];
      const ways = here.next.filter((it) => it !== driver.from);
      const options = ways.length > 0 ? ways : here.next;
      const goal = driver.goal;
      const next = goal && random() < 0.85
        ? options.reduce((best, it) => (apart(city.nodes[it], goal) < apart(city.nodes[best], goal) ? it : best), options[0])
        : pick(options);
      driver.from = driver.to;
      driver.to = next ?? driver.to;
      driver.far = Math.max(30, apart(city.nodes[driver.from], city.nodes[driver.to]));
    }
    if (driver.pause > 0) return;
    driver.pause = 1 + random();
    const [a, b, k] = [city.nodes[driver.from], city.nodes[driver.to], driver.along / driver.far];
    driver.x = a.x + (b.x - a.x) * k;
    driver.y = a.y + (b.y - a.y) * k;
    changed.add(driver.id);
  }

  const byId = new Map(drivers.map((it) => [it.id, it]));
  const ref = (job) => ({ [job.sort === "rescue" ? "rescue" : "order"]: job.id });
  const urgency = ({ priority, asked }) => ({ ...(priority === "normal" ? {} : { priority }), since: asked, due: asked + 60 * 60_000 });
  function mark(id) {
    const driver = byId.get(id);
    if (driver) return { driver: { id, at: point(driver), status: driver.status, jobs: driver.job ? [ref(driver.job)] : [], vehicle: "moto" } };
    const job = jobs.get(id);
    if (!job) return null;
    if (job.sort === "rescue") return { rescue: { id, issue: job.issue, status: job.status, at: point(job.pickup), driver: job.driver?.id ?? null, ...urgency(job) } };
    return { order: { id, kind: job.sort, status: job.status, pickup: point(job.pickup), dropoff: point(job.dropoff), driver: job.driver?.id ?? null, ...urgency(job) } };
  }

  function actor(id, events) {
    const [driver, job] = [byId.get(id), jobs.get(id)];
    if (!driver && !job) return null;
    const base = { actor: id, version: versions.get(id) ?? 1, shard: Number.parseInt(id.slice(-3), 16) % 1024, events };
    if (driver) {
      return { ...base, deadline: driver.status === "offered" ? Date.now() + 15_000 : null, state: {
        duty: driver.status === "on_break" ? "on_break" : "on", link: { up: { since: Date.now() - 90_000 } },
        vehicle: { kind: "moto", capacity_g: 20_000, skills: ["jump_start"] },
        slots: [driver.job ? { on_job: { job: ref(driver.job), since: driver.job.since } } : "free"], leases: [], rating: 4.87 } };
    }
    return { ...base, deadline: job.status === "searching" ? (job.since ?? Date.now()) + 60_000 : null, state: {
      kind: job.sort, status: job.status, rider: job.rider, driver: job.driver?.id ?? null,
      stops: [{ at: point(job.pickup), label: "<img src=x onerror=alert(1)>" }, { at: point(job.dropoff), label: null }],
      fare: { total: { amount: 184_000, currency: "RWF" }, lines: [{ name: "base", amount: 50_000 }, { name: "distance", amount: 134_000 }] },
      policy: "batch_optimal", round: versions.get(id) ?? 1, changed_at: job.since, offers: {} } };
  }

  function counters() {
    const counts = { drivers: {}, rides: { ...ended.rides }, deliveries: { ...ended.deliveries }, rescues: { ...ended.rescues } };
    for (const { status } of drivers) counts.drivers[status] = (counts.drivers[status] ?? 0) + 1;
    for (const job of jobs.values()) {
      if (job.endedAt) continue;
      const column = counts[{ ride: "rides", delivery: "deliveries", rescue: "rescues" }[job.sort]];
      column[job.status] = (column[job.status] ?? 0) + 1;
    }
    return counts;
  }

  const frame = (marks, extra) => ({ seq, full: false, server_time: Date.now(), marks, gone: [], counters: counters(), happenings: [], ...extra });
  const chunks = (marks) => Array.from({ length: Math.max(1, Math.ceil(marks.length / 200)) }, (_, i) => marks.slice(i * 200, (i + 1) * 200));

  for (let i = 0; i < nJobs; i += 1) place(random() * 240_000);
  return {
    hex,
    actor,
    step(dt) {
      drivers.forEach((driver) => drive(driver, dt));
      jobs.forEach((job) => live(job));
      if (random() < 0.8) place();
      if (random() < 0.3) place();
      // Of many jobs, as many come as end.
      if (nJobs > 40) for (let open = [...jobs.values()].filter((it) => !it.endedAt).length; open < nJobs; open += 1) place();
      const marks = [...changed].map(mark).filter((it) => it !== null);
      const parts = chunks(marks).map((part, i) => {
        seq += 1;
        return frame(part, i === 0 ? { gone, happenings: happenings.slice(-20) } : {});
      });
      [changed, gone, happenings] = [new Set(), [], []];
      boardListeners.forEach((tell) => parts.forEach((part) => tell(part)));
    },
    /** What one viewer is shown: all jobs, and the drivers of a part of the map, or all of them. */
    view() {
      let [viewport, shown, n] = [null, new Set(), 0];
      const isWanted = (it) => {
        const at = it.driver?.at;
        if (!at || viewport === null) return true;
        const [lat, lon] = [at.lat * 1e6, at.lon * 1e6];
        return lat >= viewport.south && lat <= viewport.north && lon >= viewport.west && lon <= viewport.east;
      };
      const idOf = (it) => Object.values(it)[0].id;
      return {
        full(next, isNew) {
          viewport = next;
          n += 1;
          const marks = [...byId.keys(), ...jobs.keys()].map(mark).filter(isWanted);
          const ids = new Set(marks.map(idOf));
          const left = [...shown].filter((id) => !ids.has(id));
          shown = ids;
          const parts = chunks(marks).map((part, i) => frame(part, { seq: n, full: isNew && i === 0, attending: [] }));
          for (let i = 0; i < left.length; i += 1000) parts.push(frame([], { seq: n, gone: left.slice(i, i + 1000) }));
          return parts;
        },
        diff(board) {
          n += 1;
          const marks = board.marks.filter(isWanted);
          const left = board.marks.filter((it) => !isWanted(it)).map(idOf).concat(board.gone).filter((id) => shown.delete(id));
          marks.forEach((it) => shown.add(idOf(it)));
          return { ...board, seq: n, marks, gone: left };
        },
      };
    },
    onboard: (tell) => (boardListeners.add(tell), () => boardListeners.delete(tell)),
    onactor(id, tell) {
      if (!actorListeners.has(id)) actorListeners.set(id, new Set());
      actorListeners.get(id).add(tell);
      return () => actorListeners.get(id)?.delete(tell);
    },
  };
}

function apart(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

/** A small seeded generator, so that the same city comes again. */
function mulberry(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name, otherwise) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? otherwise : Number(process.argv[at + 1]);
  };
  const file = process.argv[process.argv.indexOf("--city") + 1];
  const drawn = process.argv.includes("--city") ? JSON.parse(await readFile(file, "utf8")) : null;
  const mock = await startMock({ drawn, port: option("port", 7070), drivers: option("drivers", 400), jobs: option("jobs", 40), hasCity: !process.argv.includes("--no-city"), isDemo: !process.argv.includes("--no-demo") });
  console.log(mock.url);
}
