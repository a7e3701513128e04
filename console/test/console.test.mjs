// What the console makes of what the node says, without a browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { createExpression, featureFilter, latest, validateStyleMin } from "@maplibre/maplibre-gl-style-spec";
import { startModules } from "./stage.mjs";

let modules;
let Board;
let jobs;
let load;
let metrics;
let status;
let Streets;
let viewport;
let hexes;
let marks;

before(async () => {
  // What modules read as they are loaded.
  // (Node 20 has no navigator.)
  globalThis.navigator ??= { languages: ["en"] };
  globalThis.localStorage = { getItem: () => null, setItem: () => {} };
  globalThis.matchMedia = () => ({ matches: false, addEventListener: () => {} });
  modules = await startModules();
  ({ Board } = await modules.load("/src/board.ts"));
  jobs = await modules.load("/src/jobs.ts");
  load = await modules.load("/src/load.ts");
  metrics = await modules.load("/src/metrics.ts");
  status = await modules.load("/src/status.ts");
  ({ Streets } = await modules.load("/src/map/streets.ts"));
  viewport = await modules.load("/src/map/viewport.ts");
  hexes = await modules.load("/src/map/hexes.ts");
  marks = await modules.load("/src/map/marks.ts");
});

after(() => modules.close());

const driver = (id, is = "available") => ({ driver: { id, at: { lat: 0, lon: 0 }, status: is, jobs: [] } });
const frame = (seq, marks, more = {}) => ({
  seq, full: false, server_time: 1000 * seq, marks, gone: [], happenings: [],
  counters: { drivers: {}, rides: {}, deliveries: {}, rescues: {} }, ...more,
});

function known() {
  const board = new Board();
  board.apply(frame(7, [driver("driver-1")], { full: true }));
  return board;
}

test("a full board in several frames is one board", () => {
  const board = known();
  board.apply(frame(7, [driver("driver-2")]));
  assert.deepEqual([...board.marks.keys()], ["driver-1", "driver-2"]);
});

test("a driver whose device is not believed is marked, and no other", () => {
  const board = known();
  const [{ driver: it }] = [driver("driver-2")];
  board.apply(frame(8, [{ driver: { ...it, doubted: true } }]));
  assert.deepEqual(["driver-1", "driver-2"].map((id) => board.driver(id).isDoubted), [false, true]);
});

test("a driver that has worked for long is marked, and no other", () => {
  const board = known();
  const [{ driver: it }] = [driver("driver-2")];
  board.apply(frame(8, [{ driver: { ...it, tired: true } }]));
  assert.deepEqual(["driver-1", "driver-2"].map((id) => board.driver(id).isTired), [false, true]);
});

test("a diff changes and removes", () => {
  const board = known();
  board.apply(frame(8, [driver("driver-2", "busy")], { gone: ["driver-1"] }));
  assert.deepEqual([...board.marks.values()].map((it) => [it.id, it.status]), [["driver-2", "busy"]]);
});

test("a gap asks for everything again, once, and until then nothing is believed", () => {
  const board = known();
  let gaps = 0;
  board.on("gap", () => (gaps += 1));
  board.apply(frame(9, [driver("driver-9")]));
  assert.equal(gaps, 1);
  assert.equal(board.isKnown, false);
  assert.ok(!board.marks.has("driver-9"));
  board.apply(frame(10, []));
  assert.equal(gaps, 1, "the answer to the first is on its way");
  board.apply(frame(10, [driver("driver-3")], { full: true }));
  assert.deepEqual([...board.marks.keys()], ["driver-3"]);
});

test("what a newer node puts on the board is left out", () => {
  const board = known();
  board.apply(frame(8, [{ drone: { id: "drone-1" } }]));
  assert.deepEqual([...board.marks.keys()], ["driver-1"]);
});

test("who has which job open is kept until it is said anew, and nobody is told of themselves", () => {
  const board = known();
  const open = { job: { order: "order-1" }, session: "session-1", by: "dispatcher" };
  board.apply(frame(8, [], { attending: [open], left_out: 3 }));
  board.apply(frame(9, []));
  assert.deepEqual(board.attending.get("order-1"), [open]);
  assert.equal(board.leftOut, 0);
  board.apply(frame(10, [], { attending: [] }));
  assert.equal(board.attending.get("order-1"), undefined);
});

test("another part of the map is asked for when what is seen leaves it, or is much less", () => {
  const box = (south, west, north, east) => ({ south, west, north, east });
  const asked = box(0, 0, 100, 100);
  assert.ok(viewport.stillDoes(asked, box(10, 10, 60, 60), box(0, 0, 80, 80)), "a small drag");
  assert.ok(!viewport.stillDoes(asked, box(60, 60, 110, 110), box(40, 40, 130, 130)), "it sees what it has not asked for");
  assert.ok(!viewport.stillDoes(asked, box(50, 50, 60, 60), box(45, 45, 65, 65)), "it has zoomed in");
});

test("a place is in an outline or not", () => {
  const outline = [[0, 0], [0, 4], [4, 4], [4, 0]].map(([lat, lon]) => ({ lat, lon }));
  assert.ok(hexes.isWithin(outline, { lat: 1, lon: 3 }));
  assert.ok(!hexes.isWithin(outline, { lat: 5, lon: 3 }));
  assert.ok(!hexes.isWithin([], { lat: 1, lon: 1 }));
});

test("a zone's label says what its colour does: how many wait, or soon will, for each who is free", () => {
  const zone = (more) => ({ ratio: 0, surge_percent: 100, n_waiting: 0, n_free: 0, ...more });
  const { blended, freePlace, heatOf, labelOf } = hexes;
  const soon = zone({ n_free: 4, ratio: 2.44 });
  assert.equal(labelOf("demand", soon), "2.4", "nobody waits now, and drivers are scarce all the same");
  assert.ok(heatOf("demand", soon) > 0.8);
  assert.equal(labelOf("demand", zone({ n_free: 3 })), "0");
  assert.equal(labelOf("demand", zone({})), "");
  assert.equal(labelOf("surge", zone({ surge_percent: 150 })), "×1.5");
  assert.equal(labelOf("surge", zone({ n_free: 3 })), "");
  const heats = [0, 0.25, 0.5, 0.75, 1].map((heat) => blended("#0000ff", "#ff0000", heat));
  assert.deepEqual(heats, ["#0000ff", "#4000bf", "#800080", "#bf0040", "#ff0000"], "without a leap");
  const name = [80, 90, 120, 110];
  assert.deepEqual(freePlace([[100, 100], [100, 140]], 30, [name]), [100, 140], "beside a district's name");
  assert.deepEqual(freePlace([[100, 100]], 30, [name]), [100, 100], "nowhere else");
});

test("what is hidden is hidden by status, vehicle, sort, progress and region", () => {
  const region = { id: "zone-1", name: "1", outline: [[0, 0], [0, 4], [4, 4], [4, 0]].map(([lat, lon]) => ({ lat, lon })) };
  const mark = { kind: "driver", id: "driver-1", status: "busy", vehicle: "moto", at: { lat: 1, lon: 1 }, jobs: [] };
  const order = { kind: "order", sort: "ride", id: "order-1", status: "searching", at: { lat: 1, lon: 1 } };
  const { EVERYTHING, isDriverHidden, isJobHidden } = marks;
  assert.ok(!isDriverHidden(EVERYTHING, mark) && !isJobHidden(EVERYTHING, order));
  assert.ok(isDriverHidden({ ...EVERYTHING, hiddenVehicles: new Set(["moto"]) }, mark));
  assert.ok(isJobHidden({ ...EVERYTHING, hiddenProgress: new Set(["waiting"]) }, order));
  assert.ok(!isJobHidden({ ...EVERYTHING, hiddenProgress: new Set(["underway"]) }, order));
  const far = [["searching", true], ["searching", false], ["scheduled", true], ["at_pickup", false], ["completed", false], ["cancelled_by_rider", false], ["no_driver_found", false]];
  const progress = far.map(([status, isHeld]) => marks.progressOf({ ...order, status, isHeld }));
  assert.deepEqual(progress, ["held", "waiting", "scheduled", "underway", "completed", "cancelled", "no_driver"]);
  assert.ok(!isJobHidden({ ...EVERYTHING, region }, order));
  assert.ok(isDriverHidden({ ...EVERYTHING, region }, { ...mark, at: { lat: 9, lon: 9 } }));
});

test("requests a minute follow the counters", () => {
  const board = new Board();
  for (let s = 0; s <= 30; s += 1) {
    board.apply(frame(s, [], { full: s === 0, counters: { drivers: {}, rides: { searching: 2 * s }, deliveries: {}, rescues: {} } }));
  }
  assert.equal(Math.round(board.rates().at(-1).rate), 120);
});

test("stages cover what the node says, and what it will say one day ends badly", () => {
  assert.equal(status.stageOf("order", "en_route_pickup"), "active");
  assert.equal(status.stageOf("rescue", "escalated"), "searching");
  assert.equal(status.stageOf("order", "cancelled_by_rider"), "cancelled");
  assert.equal(status.stageOf("order", "constructor"), "cancelled");
});

test("only whole ids are ids, and a UUIDv7 says when it was minted", () => {
  const id = `order-${(1_764_300_000_000).toString(16).padStart(12, "0")}7000800000000000aaaa`;
  assert.equal(status.kindOf(id), "order");
  assert.equal(status.kindOf("order-1"), null);
  assert.equal(status.mintedAt(id), 1_764_300_000_000);
  assert.equal(status.mintedAt(`rider-${"4".repeat(32)}`), null);
});

const NOW = 1_764_300_000_000;
const job = (sort, is, agoMs, urgency = {}) => {
  const hex = `${(NOW - agoMs).toString(16).padStart(12, "0")}7000800000000000${String(agoMs % 10_000).padStart(4, "0")}`;
  const mark = { kind: sort === "rescue" ? "rescue" : "order", sort, id: `${sort === "rescue" ? "rescue" : "order"}-${hex}`, status: is, at: { lat: 0, lon: 0 }, dropoff: null, driver: null, issue: null, priority: "normal", isHeld: false, since: null, due: null, ...urgency };
  return jobs.jobOf(mark, NOW);
};

test("a clock runs while somebody waits, warns, and is late: of a target of its own, and of what was promised", () => {
  assert.equal(job("ride", "searching", 10_000).heat, "fine");
  assert.equal(job("ride", "searching", 130_000).heat, "soon");
  assert.equal(job("ride", "searching", 181_000).heat, "late");
  assert.equal(job("ride", "in_progress", 3_600_000).heat, "none");
  assert.equal(job("ride", "scheduled", 3_600_000).heat, "none");
  const promised = (leftMs) => ({ since: NOW - 1000, due: NOW + leftMs });
  assert.equal(job("rescue", "requested", 1000, promised(200)).heat, "soon");
  assert.equal(job("rescue", "en_route", 1000, promised(-1)).heat, "late");
  assert.equal(job("ride", "in_progress", 1000, promised(60_000)).heat, "fine");
  assert.equal(job("ride", "searching", 1000, { due: NOW + 10 ** 7 }).due, NOW - 1000 + jobs.TARGET.ride.found, "the first of both");
  assert.equal(job("ride", "searching", 181_000, { isHeld: true }).heat, "none", "nobody is asked");
  assert.equal(job("ride", "searching", 10 ** 9, { since: NOW - 5000 }).since, NOW - 5000, "an id may be older than what it names");
});

test("the queue begins with what is late, then rescues, then what is due soonest", () => {
  const all = [
    job("ride", "completed", 1), job("ride", "in_progress", 2), job("delivery", "searching", 3), job("ride", "searching", 20_004),
    job("rescue", "requested", 5), job("ride", "searching", 200_006),
  ];
  const order = all.sort(jobs.byUrgency).map(({ mark }) => [mark.sort, mark.status]);
  assert.deepEqual(order, [
    ["ride", "searching"], ["rescue", "requested"], ["ride", "searching"], ["delivery", "searching"], ["ride", "in_progress"], ["ride", "completed"],
  ]);
  const urgent = [job("ride", "searching", 20_004), job("ride", "searching", 7, { priority: "urgent" })].sort(jobs.byUrgency);
  assert.equal(urgent[0].mark.priority, "urgent");
});

test("what a board says of urgency is known, and what an older node leaves out is as usual", () => {
  const board = new Board();
  const order = { id: "order-1", kind: "ride", status: "searching", pickup: { lat: 0, lon: 0 }, dropoff: { lat: 0, lon: 0 }, driver: null };
  board.apply(frame(1, [{ order }, { order: { ...order, id: "order-2", priority: "high", held: true, since: 5, due: 9 } }], { full: true }));
  const told = (id) => (({ priority, isHeld, since, due }) => [priority, isHeld, since, due])(board.job(id));
  assert.deepEqual(told("order-1"), ["normal", false, null, null]);
  assert.deepEqual(told("order-2"), ["high", true, 5, 9]);
});

test("a clock's face is short", () => {
  assert.deepEqual([0, 61_000, 3_725_000].map(jobs.clockFace), ["0:00", "1:01", "1:02:05"]);
});

test("quantiles are of what was measured between two looks", () => {
  const look = (fast, slow) => metrics.parseMetrics([
    "# HELP it_seconds how long", `it_seconds_bucket{le="0.01"} ${fast}`, `it_seconds_bucket{le="0.1"} ${fast + slow}`, `it_seconds_bucket{le="+Inf"} ${fast + slow}`,
    'asked_total{kind="order",outcome="a \\"yes\\""} 3', 'asked_total{kind="rider"} 4', "rubbish",
  ].join("\n"));
  const [before, now] = [look(100, 0), look(100, 10)];
  assert.equal(Math.round(metrics.quantileMs(null, now, "it_seconds", 0.5)), 6);
  assert.equal(Math.round(metrics.quantileMs(before, now, "it_seconds", 0.5)), 55);
  assert.equal(metrics.quantileMs(now, now, "it_seconds", 0.5), null);
  assert.equal(metrics.total(now, "asked_total"), 7);
  assert.equal(metrics.total(now, "asked_total", { kind: "rider" }), 4);
  assert.equal(metrics.total(now, "nothing"), null);
});

test("a way follows the streets, and is straight where there are none", () => {
  const projection = { x: (lon) => lon * 1000, y: (lat) => lat * 1000 };
  const city = { roads: [{ class: "street", line: [[0, 0], [0, 1], [1, 1]] }, { class: "street", line: [[5, 5], [6, 5]] }] };
  const streets = new Streets(city, projection);
  assert.deepEqual(streets.way([10, 0], [1000, 990]), [[10, 0], [0, 0], [0, 1000], [1000, 1000], [1000, 990]]);
  assert.deepEqual(streets.way([0, 0], [90_000, 0]), [[0, 0], [90_000, 0]], "far from any");
  assert.deepEqual(streets.way([0, 0], [5000, 5000]), [[0, 0], [5000, 5000]], "nothing leads there");
});

test("the map is the one that tiles are made for, and a metre at its origin is one", async () => {
  const { Camera, Projection } = await modules.load("/src/map/camera.ts");
  const projection = new Projection({ lat: 40.7872, lon: -73.9646 });
  const camera = new Camera();
  camera.resize(1366, 768);
  Object.assign(camera, { x: 1200, y: -800, zoom: 0.2 });
  // Where a map of tiles has the same place, that looks at the same: the world is 512 * 2^zoom pixels wide, and its north is up.
  const zoom = projection.tileZoom(camera.zoom);
  const world = ({ lat, lon }) => [lon / 360 + 0.5, 0.5 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / (2 * Math.PI)].map((it) => it * 512 * 2 ** zoom);
  const center = world({ lat: projection.lat(camera.y), lon: projection.lon(camera.x) });
  for (const place of [{ lat: 40.7012, lon: -74.0179 }, { lat: 40.8732, lon: -73.9112 }, { lat: -33.9, lon: 18.4 }]) {
    const [x, y] = [projection.x(place.lon), projection.y(place.lat)];
    const theirs = world(place);
    assert.ok(Math.abs(camera.screenX(x) - (theirs[0] - center[0] + 683)) < 0.01, "as far to the east");
    assert.ok(Math.abs(camera.screenY(y) - (theirs[1] - center[1] + 384)) < 0.01, "as far to the north");
    assert.ok(Math.abs(projection.lat(y) - place.lat) < 1e-9 && Math.abs(projection.lon(x) - place.lon) < 1e-9, "and back");
  }
  const north = projection.apart(projection.origin, { ...projection.origin, lat: projection.lat(100) });
  assert.ok(Math.abs(north - 100) < 0.01, `100 m are ${north}`);
});

test("real streets are drawn in a style that is one, of what an archive has", async () => {
  const { styleOf } = await modules.load("/src/map/street_style.ts");
  const { ROADS: classes } = await modules.load("/src/map/ground.ts");
  const names = ["mapGround", "mapWater", "mapPark", "mapStreet", "mapCollector", "mapArterial", "mapCasing", "mapLabel", "mapPlace", "mapHalo", "mapGrid"];
  const ink = Object.fromEntries(names.map((name, i) => [name, `#00000${i.toString(16)}`]));
  const drawn = (layers) => styleOf({ tiles: { type: "vector", tiles: ["pmtiles://here/{z}/{x}/{y}"] }, layers, zoomAt: (pxPerM) => Math.log2(pxPerM * 78_000), classes }, ink);
  for (const layers of [null, new Set(["roads"]), new Set(["earth", "landuse", "water", "buildings", "roads", "places"])]) {
    const style = drawn(layers);
    assert.deepEqual(validateStyleMin(style).map(({ message }) => message), []);
    assert.ok(!("glyphs" in style || "sprite" in style), "nobody is asked for anything else");
  }
  const only = drawn(new Set(["roads"]));
  assert.ok(only.layers.every((it) => it.type === "background" || it["source-layer"] === "roads"));
  assert.equal(only.layers[0].paint["background-color"], ink.mapGround);
  assert.equal(drawn(new Set(["earth"])).layers[0].paint["background-color"], ink.mapWater, "around the land is water");

  // Which layers draw a road, and how wide, where a metre is a pixel and a half.
  const zoom = Math.log2(1.5 * 78_000);
  const lines = only.layers.filter(({ type }) => type === "line").map((it) => ({ ...it, takes: featureFilter(it.filter, `${it.id}.filter`).filter }));
  const drawnBy = (properties) => lines.filter(({ takes }) => takes({ zoom }, { type: 2, properties })).map(({ id }) => id);
  assert.deepEqual(drawnBy({ kind: "minor_road", kind_detail: "residential" }), ["street"]);
  assert.deepEqual(drawnBy({ kind: "major_road", kind_detail: "secondary" }), ["collector"]);
  assert.deepEqual(drawnBy({ kind: "major_road", kind_detail: "primary" }), ["arterial-casing", "arterial"]);
  assert.deepEqual(drawnBy({ kind: "highway" }), ["arterial-casing", "arterial"]);
  assert.deepEqual(drawnBy({ kind: "rail", kind_detail: "subway" }), []);
  assert.deepEqual(drawnBy({}), ["street"], "of other archives at least that it is a road");
  const widthOf = (id) => createExpression(lines.find((it) => it.id === id).paint["line-width"], `${id}.paint.line-width`, latest.paint_line["line-width"]).value.evaluate({ zoom });
  assert.equal(Math.round(widthOf("street") * 1000), 7500);
  assert.equal(Math.round(widthOf("arterial") * 1000), 22_500);
  assert.equal(Math.round(widthOf("arterial-casing") * 1000), 24_500);
});

test("what changed of a state is named by its path", async () => {
  const { changesBetween } = await modules.load("/src/tree.tsx");
  const before = { a: 1, b: { c: [1, 2] }, d: null };
  assert.deepEqual([...changesBetween(before, { a: 1, b: { c: [1, 3, 4] }, d: { e: 1 } })], ["/b/c/1", "/b/c/2", "/d"]);
});

test("what was asked is shown as if it were so, and what is not known to come of it is not", async () => {
  globalThis.sessionStorage = { getItem: () => null, setItem: () => {} };
  const { expected } = await modules.load("/src/views/job.tsx");
  const view = { held: false, priority: "normal", fleet: null, status: "searching", driver: null, eta: { at: 5 } };
  const asked = (action) => ({ wish: { order: { id: "order-1", action } } });
  assert.deepEqual(expected(view, [asked({ hold: { reason: "x" } }), asked({ set_priority: { priority: "high", reason: "x" } })]), { ...view, held: true, priority: "high" });
  assert.equal(expected(view, [asked({ hold: { reason: "x" } }), asked({ resume: {} })]).held, false);
  assert.equal(expected(view, [asked({ cancel: { reason: "x" } })]).status, "cancelled_by_admin");
  const given = { ...view, driver: "driver-1", status: "assigned", offers: [], eta: null };
  const order = { ...view, kind: "order", offers: [{ id: "offer-1" }] };
  assert.deepEqual(expected(order, [asked({ assign: { driver: "driver-1", force: true } })]), { ...given, kind: "order" });
  assert.deepEqual(expected({ ...order, driver: "driver-2" }, [asked({ reassign: { driver: "driver-1" } })]), { ...given, kind: "order" });
  assert.equal(expected({ ...order, kind: "rescue" }, [asked({ assign: { driver: "driver-1" } })]).status, "accepted");
  assert.deepEqual(expected({ ...given, status: "at_pickup" }, [asked({ unassign: { reason: "x" } })]), { ...given, driver: null, status: "searching" });
  const { possible } = await modules.load("/src/views/actions.tsx");
  const aboard = { ...order, sort: "delivery", status: "in_transit", driver: "driver-2" };
  assert.deepEqual(possible(aboard), ["handover", "message", "cancel", "block"]);
  assert.deepEqual(possible({ ...aboard, sort: "ride", status: "in_progress" }), ["message", "cancel", "block"], "nobody is handed over");
  const taken = { ...aboard, driver: "driver-1", status: "picked_up", offers: [], eta: null };
  assert.deepEqual(expected(aboard, [asked({ handover: { driver: "driver-1" } })]), taken);
  assert.deepEqual(expected(view, [asked({ message: { text: "x" } })]), view, "nothing is known to come of it");
});

test("so is what was asked of a driver", async () => {
  const { expectedDriver } = await modules.load("/src/views/driver.tsx");
  const view = { status: "available", blocked: null, fleet: null };
  const asked = (action) => ({ wish: { driver: { id: "driver-1", action } } });
  const suspended = expectedDriver(view, [asked({ suspend: { reason: "papers", reassign: false } })]);
  assert.deepEqual(suspended, { ...view, status: "blocked", blocked: "papers" });
  assert.deepEqual(expectedDriver(suspended, [asked({ reinstate: {} })]), { ...view, status: "offline" });
  assert.equal(expectedDriver(view, [asked({ set_fleet: { fleet: "partner-1", reason: "x" } })]).fleet, "partner-1");
  const granted = expectedDriver({ ...view, ungranted: ["cold_chain", "permit.x"] }, [asked({ grant_skill: { skill: "cold_chain", reason: "x" } })]);
  assert.deepEqual([granted.grants, granted.ungranted], [[{ skill: "cold_chain", until: null }], ["permit.x"]]);
  assert.deepEqual(expectedDriver(granted, [asked({ revoke_skill: { skill: "cold_chain", reason: "x" } })]).grants, []);
});

test("of a driver's rest nothing is said once it is over, nor off duty that it need not", async () => {
  const { restOf } = await modules.load("/src/views/driver.tsx");
  const resting = { must: true, until: 5000 };
  assert.equal(restOf({ status: "offline", rest: resting }, 4999), resting);
  assert.equal(restOf({ status: "offline", rest: resting }, 5000), null);
  const ending = { must: true };
  assert.equal(restOf({ status: "on_break", rest: ending }, 5000), ending, "it has a job yet");
  const told = { must: false, at: 4000 };
  assert.equal(restOf({ status: "available", rest: told }, 5000), told);
  assert.equal(restOf({ status: "offline", rest: { must: false } }, 5000), null);
  assert.equal(restOf({ status: "available" }, 5000), null);
});

test("of incidents those that call come first, as they are known last, and what was asked is shown as if it were so", async () => {
  const { unresolved } = await modules.load("/src/incidents.ts");
  const { expectedIncident } = await modules.load("/src/views/incident.tsx");
  const incident = (id, more) => ({ id, version: 1, mock: false, calling: false, status: "acked", escalations: 0, opened_at: 5, ...more });
  const listed = [incident("a"), incident("b", { opened_at: 3 }), incident("c", { status: "open", calling: true }), incident("d", { status: "resolved" }), incident("e", { mock: true, calling: true })];
  const found = unresolved(listed, [incident("b", { version: 2, calling: true, escalations: 1 }), incident("c", { version: 0, calling: false })]);
  assert.deepEqual(found.map(({ id, calling }) => [id, calling]), [["b", true], ["c", true], ["a", false], ["e", true]]);
  const asked = (action) => ({ wish: { incident: { id: "c", action } } });
  assert.deepEqual(expectedIncident(listed[2], [asked({ ack: {} })]), { ...listed[2], calling: false, status: "acked" });
  assert.deepEqual(expectedIncident(listed[0], [asked({ check: { item: "caller_safe", answer: false } }), asked({ check: { item: "caller_safe", answer: true } })]).checklist, [{ item: "caller_safe", answer: true }]);
  assert.equal(expectedIncident(listed[0], [asked({ resolve: { resolution: "false" } })]).status, "false");
  assert.deepEqual(expectedIncident(listed[0], [{ wish: { order: { id: "order-1", action: { hold: {} } } } }]), listed[0]);
});

/** A console's connection to a node that the test plays, and that answers heartbeats; time passes when the test says so. */
async function connected(t) {
  const { Live } = await modules.load("/src/live.ts");
  const sockets = [];
  const heartbeat = { heartbeat: { server_time: 1_800_000_000_000 } };
  const kept = globalThis.WebSocket;
  globalThis.addEventListener ??= () => {};
  globalThis.WebSocket = class {
    readyState = 0;
    said = [];

    constructor() {
      sockets.push(this);
    }

    send(text) {
      this.said.push(JSON.parse(text));
      if ("heartbeat" in this.said.at(-1)) this.hears(heartbeat);
    }

    hears(frame) {
      this.onmessage({ data: JSON.stringify(frame) });
    }

    close() {}
  };
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_800_000_000_000 });
  const pass = async (ms) => {
    for (let left = ms; left >= 0; left -= 250) {
      await new Promise((resolve) => setImmediate(resolve));
      t.mock.timers.tick(Math.min(250, left));
    }
  };
  const live = new Live("ws://node/v1/ws", async () => "a-token");
  t.after(async () => {
    live.client.close();
    globalThis.WebSocket = kept;
    // What is rejected by that has its say while time is still played.
    await new Promise((resolve) => setImmediate(resolve));
  });
  const enter = async (resumed) => {
    const n = sockets.length;
    for (let tries = 0; sockets.length === n && tries < 20; tries += 1) await pass(250);
    const socket = sockets.at(-1);
    socket.readyState = 1;
    socket.onopen();
    socket.hears({ hello: { session: `session-${sockets.length}`, server_time: Date.now(), heartbeat_ms: 15_000, frame_bytes_max: 65_536, frames_per_s: 50 } });
    socket.hears({ welcome: { principal: "dispatcher", expires_at: Date.now() + 3_600_000, resumed } });
    return socket;
  };
  live.connect();
  return { live, enter, pass };
}

const called = (n, id) => ({ push: { n, push: { incident: { id, version: 1, calling: true, escalations: 0 } } } });
const callers = (live) => live.calling.map(({ id }) => id);

test("nobody calls for help any more of whom a session that begins says nothing", async (t) => {
  const { live, enter } = await connected(t);
  let heard = 0;
  live.on("incidents", () => (heard += 1));
  const first = await enter(false);
  first.hears(called(1, "incident-1"));
  first.hears(called(2, "incident-2"));
  first.onclose({ code: 1006 });
  const second = await enter(true);
  assert.deepEqual(callers(live), ["incident-1", "incident-2"], "what was missed is told");
  second.onclose({ code: 1006 });
  const before = heard;
  const third = await enter(false);
  assert.deepEqual([callers(live), heard], [[], before + 1]);
  third.hears(called(1, "incident-2"));
  assert.deepEqual(callers(live), ["incident-2"]);
});

test("who is said to be seen to calls on if nobody is known to have heard that", async (t) => {
  const { live, enter, pass } = await connected(t);
  const socket = await enter(false);
  socket.hears(called(1, "incident-1"));
  socket.hears(called(2, "incident-2"));
  const [unheard, heard] = live.calling;
  void live.heed(unheard);
  void live.heed(heard);
  assert.deepEqual(callers(live), []);
  const { id } = socket.said.findLast((frame) => "command" in frame).command;
  socket.hears({ result: { id, outcome: { ok: { actor: "incident-2", version: 2 } } } });
  await pass(19_000);
  assert.deepEqual([live.trust, callers(live)], ["live", []]);
  await pass(2_000);
  assert.deepEqual([live.trust, callers(live)], ["live", ["incident-1"]]);
  socket.hears({ push: { n: 3, push: { incident_heeded: { incident: "incident-1" } } } });
  assert.deepEqual(callers(live), []);
});

test("a session that goes on elsewhere is said to, and taken back by whoever wants that", async (t) => {
  const { live, enter } = await connected(t);
  (await enter(false)).onclose({ code: 4409 });
  assert.equal(live.trust, "closed");
  live.connect();
  await enter(false);
  assert.equal(live.trust, "live");
});

test("of a cluster, what an older node leaves out is none", async () => {
  const { viewOf } = await modules.load("/src/views/cluster.tsx");
  assert.deepEqual(viewOf({ me: null, nodes: [] }), { me: null, nodes: [], sessions: {}, silent: [] });
  const counted = { me: 1, nodes: [], sessions: { rider: 2 }, silent: ["node-2"] };
  assert.deepEqual(viewOf(counted), counted);
});

test("a good answer is not forgotten for a refusal that will pass, and for one that will not it is", async () => {
  const { isPassing, latestOf } = await modules.load("/src/rest.ts");
  const good = latestOf(null, { ok: 1 }, 10);
  const unavailable = { refused: { code: "unavailable", message: "no answer" } };
  assert.deepEqual(latestOf(good, unavailable, 20), { answer: { ok: 1 }, at: 10, missed: unavailable.refused });
  assert.deepEqual(latestOf(latestOf(good, unavailable, 20), { ok: 2 }, 30), { answer: { ok: 2 }, at: 30, missed: null });
  const forbidden = { refused: { code: "forbidden", message: "not yours" } };
  assert.deepEqual(latestOf(good, forbidden, 20).answer, forbidden);
  assert.deepEqual(latestOf(null, unavailable, 20).answer, unavailable, "there is nothing better");
  assert.deepEqual([unavailable, forbidden].map(({ refused }) => isPassing(refused)), [true, false]);
});

test("a change says as of which version it is meant, and by which key a repeat is known", async () => {
  const { Rest } = await modules.load("/src/rest.ts");
  const kept = globalThis.fetch;
  const asked = [];
  try {
    globalThis.document = { baseURI: "http://node/console/" };
    globalThis.fetch = async (url, { method, headers, body }) => {
      asked.push([url, method, headers["if-match"], headers["idempotency-key"], body]);
      return new Response("{}");
    };
    const rest = new Rest(async () => "a-token");
    await rest.change({ method: "PUT", path: "/v1/rules/rule-1", version: 0, key: "a-key", body: { is: 1 } });
    await rest.get("/v1/rules");
  } finally {
    globalThis.fetch = kept;
    delete globalThis.document;
  }
  assert.deepEqual(asked, [["http://node/v1/rules/rule-1", "PUT", '"0"', "a-key", '{"is":1}'], ["http://node/v1/rules", "GET", undefined, undefined, undefined]]);
});

test("what fields say is what the node is told, and what they cannot say stays as it was", async () => {
  const { listOf, localOf, momentOf, pointOf, spotOf } = await modules.load("/src/fields.ts");
  const at = Date.UTC(2026, 10, 30, 6, 30, 12, 345);
  assert.match(localOf(at), /^2026-\d\d-\d\dT\d\d:\d\d$/);
  assert.equal(momentOf(localOf(at)), at - 12_345);
  assert.equal(momentOf(localOf(at), at), at, "nobody has changed it");
  assert.equal(momentOf(localOf(at + 60_000), at), at - 12_345 + 60_000);
  assert.deepEqual([localOf(undefined), momentOf("", at)], ["", null]);
  assert.deepEqual([localOf(9e15), momentOf("", 9e15)], ["", 9e15], "what no calendar has no field can say");
  assert.deepEqual(listOf(" zone-1, zone-2\n zone-3 "), ["zone-1", "zone-2", "zone-3"]);
  assert.deepEqual(pointOf(spotOf({ lat: -1.9441, lon: 30.0619 })), { lat: -1.9441, lon: 30.0619 });
  for (const text of ["", "-1.9", "-1,9 30,1", "1, 2, 3", "north, east"]) assert.equal(pointOf(text), null, text);
});

test("a moment that no calendar has is said to be none", async () => {
  const { calendarDay, dayOf, moment, period, timeOfDay } = await modules.load("/src/words.ts");
  for (const at of [9e15, Number.NaN]) assert.deepEqual([dayOf(at), moment(at), period(0, at), period(at, 0), timeOfDay(at), calendarDay("soon")], Array(6).fill("–"));
  assert.match(moment(0), /19(69|70)/);
});

test("beside the map there is something to see of jobs, drivers and incidents", () => {
  const id = (kind) => `${kind}-${"0".repeat(32)}`;
  const kinds = ["order", "rescue", "driver", "incident", "rule", "template", "run", "rider", "zone"];
  assert.deepEqual(kinds.filter((kind) => status.isDispatched(id(kind))), kinds.slice(0, 4));
  assert.equal(status.isDispatched(null), false);
});

test("what is different is named leaf by leaf, and a list of plain values is one", async () => {
  const { differences, fieldOf, plain } = await modules.load("/src/views/editing.tsx");
  const before = { name: "a", changes: { tiers_m: [1, 2], hold_ms: 5 }, orders: [{ rider: "rider-1" }], gone: "x" };
  const after = { name: "a", changes: { tiers_m: [1, 3], hold_ms: 5, learned_ways: true }, orders: [{ rider: "rider-1" }, { rider: "rider-2" }] };
  const found = differences(before, after);
  assert.deepEqual(found.map(({ path, was, is }) => [path.join("/"), was, is]), [
    ["changes/tiers_m", "1, 2", "1, 3"], ["changes/learned_ways", undefined, true], ["orders/1/rider", undefined, "rider-2"], ["gone", "x", undefined],
  ]);
  assert.deepEqual(differences(before, before), []);
  assert.equal(fieldOf(["teleports", "1", "teleported_to"]), "Teleports · 2 · Teleported to");
  assert.deepEqual([plain(["hold_ms"], 1500), plain(["priority"], 7), plain(["learned_ways"], false), plain(["offer"], "feed"), plain(["gone"], undefined)], ["1.5", "7", "no", "Drivers choose", "–"]);
  const order = { weekdays: ["monday", "sunday"], orders: [{ payment: "on_completion", pickup_proof: ["pin", "id_document"], needs: { vehicles: ["tow_truck"], skills: ["ramp"] } }], kinds: ["ride", "rescue"] };
  assert.deepEqual(differences({}, order).map(({ path, is }) => plain(path, is)), ["Mon, Sun", "When done", "PIN, Identity document", "Tow truck", "ramp", "Ride, Rescue"]);
});

test("of two words the later counts, and a status that says nothing of staff's own does not hide it", async () => {
  const { latestOf, phaseOf } = await modules.load("/src/views/editing.tsx");
  const said = (version, by) => ({ version, by });
  assert.deepEqual([latestOf(said(1, "asked"), said(2, "changed")), latestOf(said(2, "asked"), said(2, "changed")), latestOf(said(1, "asked"), null)].map(({ by }) => by), ["changed", "asked", "asked"]);
  assert.deepEqual([phaseOf({ status: "due", phase: "paused" }), phaseOf({ status: "over" })], ["paused", "over"]);
});

test("a rule that nobody has changed in its fields says what it did, and one that is new only what is filled in", async () => {
  const { draftOf, termsOf } = await modules.load("/src/views/rules.tsx");
  const changes = { offer: "sequential", tiers_m: [1000, 3000, 8000], offer_ttl_ms: 61_500, hold_ms: 0, hold_per_age: 3, learned_ways: false, weights: { star_ms: 1, turn_ms: 60_000 } };
  const terms = { name: "rush hour", preset: "safeboda", zones: ["zone-1", "zone-2"], kinds: ["ride"], from: 1_796_018_400_123, until: 1_796_018_999_999, priority: 5, changes };
  assert.deepEqual(termsOf(draftOf(terms), terms), terms);
  assert.deepEqual(termsOf({ ...draftOf(terms), from: "", numbers: { hold_ms: "2.5" } }, terms).changes, { offer: "sequential", tiers_m: [1000, 3000, 8000], learned_ways: false, hold_ms: 2500 });
  assert.deepEqual(termsOf({ ...draftOf(null), name: " quiet hour " }, null), { name: "quiet hour", priority: 0, changes: {} });
  const newer = { ...terms, colour: "red", changes: { ...changes, patience_ms: 1, weights: { ...changes.weights, moon_ms: 2 } } };
  assert.deepEqual(termsOf(draftOf(newer), newer), newer, "what only a newer node knows of stays");
  assert.deepEqual(termsOf({ ...draftOf(newer), numbers: {}, tiers: "", offer: "", learned: "" }, newer).changes, { patience_ms: 1, weights: { moon_ms: 2 } });
});

test("a driver's shifts are said anew as they stand, without those that are over or taken away", async () => {
  const { standing } = await modules.load("/src/views/shifts.tsx");
  const shift = (start, more = {}) => ({ start, end: start + 9, due: start + 1, turnout: "awaited", ...more });
  const view = { shifts: [shift(10, { turnout: "came" }), shift(30, { zone: "zone-1" }), shift(50)] };
  assert.deepEqual(standing(view, null, 15), [{ start: 10, end: 19 }, { start: 30, end: 39, zone: "zone-1" }, { start: 50, end: 59 }]);
  assert.deepEqual(standing(view, view.shifts[1], 19), [{ start: 50, end: 59 }]);
});

test("a template that nobody has changed in its fields says what it did, and its clock is named", async () => {
  const { clockOf, draftOf, termsOf } = await modules.load("/src/views/templates.tsx");
  const needs = { vehicles: ["van"], weight_g: 12_500, skills: ["cold_chain", "ramp"] };
  const order = { rider: "rider-1", from: { at: { lat: -1.9441, lon: 30.0619 }, label: "the bakery" }, to: { at: { lat: -1.95, lon: 30.07 } }, payment: "on_completion", needs, pickup_proof: ["photo"], dropoff_proof: ["pin", "photo"], cash_on_delivery: 500 };
  const plain = { rider: "rider-2", from: order.to, to: order.from, payment: "cash", needs: {} };
  const terms = { name: "round", preset: "reskflow", orders: [order, plain], weekdays: ["sunday", "monday"], at: "06:30", lead_min: 90, from: "2026-12-01", until: "2027-06-30", except: ["2026-12-25"], driver: "driver-1" };
  assert.deepEqual(termsOf(draftOf(terms), terms), terms);
  const newer = { ...terms, colour: "red", orders: [plain, { ...order, fragile: true, needs: { ...needs, wings: 2 }, from: { ...order.from, floor: 3 } }] };
  assert.deepEqual(termsOf(draftOf(newer), newer), newer, "what only a newer node knows of stays");
  const [first, second] = draftOf(newer).orders;
  assert.deepEqual(termsOf({ ...draftOf(newer), orders: [second, first] }, newer).orders, [newer.orders[1], newer.orders[0]], "wherever it is moved to");
  assert.notEqual(first.key, second.key);
  const fresh = termsOf({ ...draftOf(null), name: "new" }, null);
  assert.deepEqual([fresh.orders.length, fresh.weekdays.length, fresh.lead_min, Object.keys(fresh).sort()], [2, 5, 60, ["at", "lead_min", "name", "orders", "weekdays"]]);
  assert.deepEqual([0, 120, -210, 345].map(clockOf), ["UTC", "UTC+2", "UTC−3:30", "UTC+5:45"]);
});

test("all catalogues fill in the same names", async () => {
  const [{ en }, { fr }, { rw }] = await Promise.all(["en", "fr", "rw"].map((it) => modules.load(`/src/words/${it}.ts`)));
  const names = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((it) => it[1]).sort();
  for (const [language, words] of [["fr", fr], ["rw", rw]]) {
    for (const key of Object.keys(en)) assert.deepEqual(names(words[key]), names(en[key]), `${language} ${key}`);
  }
});

test("only what is spoken is loaded; if it cannot be had it is said in English, and which one is missing", async () => {
  const { currentLanguage, missingLanguage, startWords, t } = await modules.load("/src/words.ts");
  const kept = globalThis.localStorage;
  const said = () => [currentLanguage(), missingLanguage(), t("nav.dispatch"), document.documentElement.lang];
  let loaded = [];
  const { en } = await modules.load("/src/words/en.ts");
  const has = (name, words) => async () => {
    loaded.push(name);
    return words;
  };
  try {
    globalThis.document = { documentElement: {} };
    globalThis.localStorage = { ...kept, getItem: () => "fr" };
    const lacks = async () => {
      throw new Error("no such file");
    };
    await startWords({ en: has("en", en), fr: lacks, rw: has("rw", en) });
    assert.deepEqual(said(), ["en", "fr", "Dispatch", "en"]);
    await startWords();
    assert.deepEqual(said(), ["fr", null, "Régulation", "fr"]);
    globalThis.localStorage = { ...kept, getItem: () => "en" };
    await startWords({ en: has("en", en), fr: has("fr", en), rw: has("rw", en) });
    assert.deepEqual(said(), ["en", null, "Dispatch", "en"]);
    assert.deepEqual(loaded, ["en"]);
  } finally {
    globalThis.localStorage = kept;
    delete globalThis.document;
  }
});

test("what is expected is said in minutes, with how sure that is, and less as time passes", async () => {
  const { around } = await modules.load("/src/words.ts");
  const eta = { s: 240, low_s: 180, high_s: 360 };
  assert.equal(around(eta, 0), "4 min (3–6)");
  assert.equal(around(eta, 60_000), "3 min (2–5)");
  assert.equal(around(eta, 3_600_000), "1 min");
  assert.equal(around({ s: 20, low_s: 10, high_s: 80 }, 0), "1 min (0–1)");
  assert.equal(around({ s: 240, low_s: 240, high_s: 240 }, 0), "4 min");
});

test("what the node names is said in words, what ends a job by its status, and what nobody knows as the node says it", async () => {
  const { because, happened, word } = await modules.load("/src/words.ts");
  assert.equal(word("why", "hours"), "would work for too long, or has");
  assert.equal(word("skill", "certificate.child_seat"), "Certificate.child seat");
  assert.equal(happened("search_paused"), "Waits: its zone is paused");
  assert.equal(happened("cancelled_by_rider"), "Cancelled by rider");
  assert.equal(happened("teleported"), "Teleported");
  assert.equal(because("fixed_on_scene"), "fixed on the scene");
  assert.equal(because("the rider_asked twice"), "the rider_asked twice");
  for (const text of ["weather", "medical", "flood", "over"]) assert.equal(because(text), text, "somebody wrote it");
});

test("a state's names are said in words where these say more", async () => {
  const { meaning } = await modules.load("/src/words.ts");
  assert.equal(meaning("status", "en_route_pickup"), "Driver on the way");
  assert.equal(meaning("policy", "batch_optimal"), "Best pairs of a batch");
  assert.equal(meaning("status", "searching"), null, "it says the same");
  assert.equal(meaning("link", "lost"), null, "which is no offer's");
  for (const [field, name] of [["status", "constructor"], ["constructor", "name"], ["label", "delivered"], ["status", ""]]) assert.equal(meaning(field, name), null);
});

test("how long and when is said by the catalogue and the language, without halves of a day", async () => {
  const { span, timeOfDay } = await modules.load("/src/words.ts");
  assert.deepEqual([0, 59_000, 60_000, 200_000, 3_600_000, 7_500_000].map(span), ["0 s", "59 s", "1 min", "3 min 20 s", "1 h 0 min", "2 h 5 min"]);
  assert.match(timeOfDay(Date.UTC(2026, 0, 1, 23, 30)), /^\d\d:\d\d:\d\d$/);
});

test("a region is called by the district it is around, and by its digits where there is none", async () => {
  const { nameOf, regionsOf } = await modules.load("/src/map/regions.ts");
  const square = (lat, lon) => [[0, 0], [0, 2], [2, 2], [2, 0]].map(([dy, dx]) => ({ lat: lat + dy, lon: lon + dx }));
  const districts = [{ name: "Far", at: [9, 9] }, { name: "Near", at: [1.2, 0.9] }];
  const zone = (digits, lat, lon) => ({ id: `zone-0000000000000000085${digits}fffffff`, resolution: 5, paused: null, outline: square(lat, lon) });
  assert.equal(nameOf(zone("2a1", 0, 0), districts), "Near");
  assert.equal(nameOf(zone("2a1", 0, 0), []), "2a1");
  const zones = [zone("2a1", 0, 0), zone("2a2", 0, 2)];
  const rest = { get: async (path) => ({ ok: [zones[path.includes("lon=1") ? 0 : 1]] }) };
  const found = await regionsOf([{ lat: 1, lon: 1 }, { lat: 1, lon: 3 }], [], rest, districts);
  assert.deepEqual(found.map(({ name }) => name), ["Near", "Near (2a2)"]);
});

test("of a cost those parts are told that are something", async () => {
  const { partsOf } = await modules.load("/src/views/matching.tsx");
  const weighed = { driver: "driver-1", fate: "spare", distance_m: 900, cost_ms: 70_000, travel_ms: 60_000, busy_ms: 0, idle_ms: 3000, rating_ms: 0, turn_ms: 7000 };
  assert.deepEqual(partsOf(weighed).map(({ part }) => part), ["travel", "idle", "turn"]);
  assert.equal(partsOf(weighed).reduce((sum, { ms }) => sum + ms, 0), weighed.cost_ms);
});

test("text can be read on its ground, and marks, fields and owners be told from theirs, dark and light", async () => {
  const css = await readFile(new URL("../src/style.css", import.meta.url), "utf8");
  const colours = (selector) => Object.fromEntries([...css.slice(css.indexOf(selector)).split("}")[0].matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map((it) => [it[1], it[2]]));
  const light = (hex) => {
    const [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255).map((it) => (it <= 0.03928 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const dark = colours(":root {");
  for (const [theme, of] of [["dark", dark], ["light", { ...dark, ...colours(':root[data-theme="light"]') }]]) {
    const named = (prefix) => Object.keys(of).filter((it) => it.startsWith(prefix));
    const holds = (texts, grounds, least) => {
      for (const text of texts) for (const ground of grounds) assert.ok(contrast(of[text], of[ground]) >= least, `${theme}: --${text} on --${ground} is ${contrast(of[text], of[ground]).toFixed(2)}`);
    };
    holds(["text", "soft", "faint", "danger", "warn", "focus", ...named("c-")], ["panel", "raised", "sunk", "bg"], 4.5);
    holds(["on-primary"], ["c-available"], 4.5);
    holds([...named("c-"), "map-label", "map-place"], ["map-ground"], 3);
    holds([...named("o-"), "edge"], ["panel"], 3);
    holds(["edge"], ["raised"], 3);
  }
});

test("the load of a shard is what its owner counts, and a new owner counts for itself", () => {
  const loads = new load.Loads();
  const of = (owner, n_commands, more = {}) => [{ shard: 3, owner, n_awake: 2, n_commands, ...more }, { shard: 4, owner: 2 }];
  const at = (found) => found.get(3);
  const first = loads.look(of(1, 100), 1000);
  assert.deepEqual(at(first), { awake: 2, perS: null });
  assert.equal(first.has(4), false, "who says nothing has no load");
  assert.deepEqual(at(loads.look(of(1, 130), 3000)), { awake: 2, perS: 15 });
  assert.deepEqual(at(loads.look(of(2, 7), 4000)), { awake: 2, perS: null });
  assert.deepEqual(at(loads.look(of(2, 9), 5000)), { awake: 2, perS: 2 });
});

test("a shard is as strong as the root of its load, and only one without any is weakest", () => {
  const loads = new Map([[1, 0], [2, 1], [3, 25], [4, 100], [5, 1e-3]].map(([shard, awake]) => [shard, { awake, perS: null }]));
  assert.deepEqual([...load.strengths(loads, "awake").values()], [0, 1, 2, 4, 1]);
  assert.deepEqual([...load.strengths(loads, "perS").values()], [0, 0, 0, 0, 0]);
});
