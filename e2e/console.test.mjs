// What a dispatcher relies on, tried in a real browser against a real node.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { startBrowser, startCluster, startDemo, startQuiet, until } from "./nodes.mjs";
import { writeStreets } from "./streets.mjs";

const SHOTS = fileURLToPath(new URL("../target/e2e/", import.meta.url));
/** The streets of a real city, beside the repository. */
const ROADS = fileURLToPath(new URL("../../shared/data/road_manhattan", import.meta.url));
/** What a node without a crowd and a city does not have, and is asked for all the same. */
const OF_DEMOS = /\/(demo\/token|city\.json)$/;
const RIDE = { kind: "ride", stops: [{ at: { lat: -1.95, lon: 30.06 }, label: "<img src=x onerror=alert(1)>" }, { at: { lat: -1.93, lon: 30.1 } }] };
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A console that was built after the program: as the node would serve it. */
const serveFrom = (dist) => async (route) => {
  const name = new URL(route.request().url()).pathname.split("/").pop() || "index.html";
  const body = await readFile(`${dist}/${name}`).catch(() => null);
  // What only the node knows.
  if (body === null) return route.continue();
  const { "content-encoding": _, "content-length": __, ...rest } = (await route.fetch()).headers();
  // What is called by its content the program may not have.
  const type = name.endsWith(".js") ? { "content-type": "text/javascript" } : {};
  await route.fulfill({ headers: { ...rest, ...type }, body });
};

/** The city with its crowd, and a node where only tests do anything. */
let demo;
let quiet;
/** Two nodes, as long as a test needs them; and one with real streets. */
let cluster = null;
let streets = null;
let browser;
let context;
let page;
let complaints;

before(async () => {
  await mkdir(SHOTS, { recursive: true });
  [demo, quiet, browser] = await Promise.all([startDemo(), startQuiet(), startBrowser()]);
}, { timeout: 90_000 });

after(async () => {
  await browser?.close();
  await Promise.all([demo?.close(), quiet?.close()]);
});

/** Whose requests are the console's own. */
const known = () => [demo, quiet, streets, ...(cluster?.nodes ?? [])].filter(Boolean);

async function open({ colorScheme = "dark", ...more } = {}) {
  context = await browser.newContext({ viewport: { width: 1366, height: 768 }, colorScheme, locale: "en", ...more });
  page = await context.newPage();
  // A page of the test before may still complain.
  const heard = [];
  complaints = heard;
  page.on("console", (message) => message.type() === "error" && !OF_DEMOS.test(message.location().url) && heard.push(message.text()));
  page.on("pageerror", (error) => heard.push(String(error)));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    const own = known().some(({ url }) => origin.replace(/^ws/, "http") === new URL(url).origin);
    if (!own && protocol !== "data:") heard.push(`asked ${request.url()}`);
  });
  if (process.env.CONSOLE_DIST) await context.route("**/console/*", serveFrom(process.env.CONSOLE_DIST));
  await page.addInitScript(() => {
    globalThis.openSockets = [];
    globalThis.WebSocket = class extends WebSocket {
      constructor(url, ...how) {
        // What browsers do with sockets while they are told to be offline differs between their versions.
        super(globalThis.isCut ? new URL("/nowhere", url) : url, ...how);
        globalThis.openSockets.push(this);
      }
    };
  });
}

beforeEach(() => open());
afterEach(() => context?.close());

const state = () => page.locator("#badge").getAttribute("data-state");
const isLive = () => until("the badge says live", async () => (await state()) === "live");
const hasMarks = (n) => until(`${n} marks are known`, () => page.evaluate((least) => globalThis.outrider?.marks && globalThis.outrider.live.board.marks.size >= least, n));
const shot = (name) => page.screenshot({ path: `${SHOTS}${name}.png` });
const go = (hash) => page.evaluate((it) => { location.hash = it; }, hash);

async function openDemo(hash = "") {
  await page.goto(`${demo.url}console/${hash}`);
  await isLive();
  await hasMarks(10);
}

/** Signs in to a node without a crowd as `role`. */
async function openQuiet(role = "dispatcher", node = quiet) {
  await page.goto(`${node.url}console/`);
  await page.locator("#sign-in[open]").waitFor();
  await page.fill("#token", await node.token(role));
  await page.keyboard.press("Enter");
  await isLive();
}

/** The token of somebody who has asked for nothing yet. */
const somebody = () => quiet.token("rider", `rider-0192f3c8aaaa70008000${randomBytes(6).toString("hex")}`);

/** Somebody asks for a ride where nobody drives; resolves to its id. */
async function place() {
  const { status, body } = await quiet.ask(await somebody(), "v1/orders", RIDE);
  assert.equal(status, 201, JSON.stringify(body));
  return body.actor;
}

async function call(id, reason = "a test is over") {
  await quiet.ask(await quiet.token("dispatcher"), `v1/orders/${id}/actions`, { cancel: { reason } });
}

test("a node shows it at its door; it loads without complaint, and asks nobody else", { timeout: 60_000 }, async () => {
  await page.goto(demo.url, { waitUntil: "load" });
  await page.locator("#badge").waitFor();
  assert.equal(new URL(page.url()).pathname, "/console/");
  await isLive();
  await hasMarks(10);
  await until("the map draws", () => page.evaluate(() => globalThis.outrider.marks.frames > 0));
  assert.match(await page.locator(".scale").textContent(), /^\d+ k?m$/, "its scale is there before anybody has moved it");
  await until("the queue has rows", () => page.locator(".row").count());
  await shot("dispatch");
  assert.deepEqual(complaints, []);
});

test("what the console is made of is asked for once, and what its script needs before that is there", { timeout: 60_000 }, async () => {
  const asked = [];
  // What a page has already does not pass here.
  await context.route(/\/(console\/[^/]*|city\.json|demo\/token)$/, async (route) => {
    asked.push(new URL(route.request().url()).pathname);
    await route.fallback();
  });
  await openDemo();
  const early = ["/city.json", "/console/basemap.json", "/demo/token"];
  await until("the views came, too", () => asked.some((it) => it.startsWith("/console/views-")));
  for (const path of [...early, "/console/", "/console/console.js", "/console/console.css"]) assert.equal(asked.filter((it) => it === path).length, 1, `${path} of ${asked}`);
  const startedAt = (path) => page.evaluate((it) => performance.getEntriesByType("resource").find(({ name }) => name.endsWith(it)).startTime, path);
  const scriptCame = await page.evaluate(() => performance.getEntriesByType("resource").find(({ name }) => name.endsWith("/console.js")).responseEnd);
  for (const path of early) assert.ok(await startedAt(path) < scriptCame, `${path} is asked for together with the script`);
});

/** How long until somebody can work with it, in milliseconds: the best of three, for others use the machine, too. */
async function loads(throttled) {
  let best = Infinity;
  for (let i = 0; i < 3; i += 1) {
    await context.close();
    await open();
    if (throttled) {
      const tools = await context.newCDPSession(page);
      await tools.send("Network.enable");
      await tools.send("Network.emulateNetworkConditions", { offline: false, latency: 300, downloadThroughput: 1_600_000 / 8, uploadThroughput: 750_000 / 8 });
    }
    const start = performance.now();
    await page.goto(`${demo.url}console/`, { waitUntil: "load" });
    await page.locator(".row").first().waitFor();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

// How soon it is there is measured and not judged: 1.5 s and 3 s are wanted, of a release build on a machine that does nothing else.
test("the queue is there, on a slow line, too", { timeout: 90_000 }, async (t) => {
  for (const [name, throttled] of [["here", false], ["1.6 Mbit/s and 300 ms", true]]) {
    t.diagnostic(`${name}: ${Math.round(await loads(throttled))} ms`);
  }
});

test("the node tells the drivers that are looked at, and every job", { timeout: 60_000 }, async () => {
  await openDemo();
  const told = () => page.evaluate(() => {
    const { live: { board }, camera, projection } = globalThis.outrider;
    const all = [...board.marks.values()];
    const drivers = all.filter(({ kind }) => kind === "driver");
    const onDuty = Object.values(board.counters.drivers).reduce((a, b) => a + b, 0);
    const isSeen = ({ at }) => Math.abs(projection.x(at.lon) - camera.x) * camera.zoom <= camera.width / 2 && Math.abs(projection.y(at.lat) - camera.y) * camera.zoom <= camera.height / 2;
    return { drivers: drivers.length, seen: drivers.filter(isSeen).length, onDuty, jobs: all.length - drivers.length };
  });
  const city = await told();
  await page.evaluate(() => globalThis.outrider.camera.zoomAt(8));
  const street = await until("those elsewhere are told no more", async () => {
    const now = await told();
    return now.drivers < city.drivers / 2 && now.jobs > 0 ? now : null;
  });
  assert.ok(street.onDuty > street.drivers, "they are counted all the same");
  await page.evaluate(() => {
    const { camera } = globalThis.outrider;
    const [x, y] = [camera.x, camera.y];
    globalThis.before = new Set([...globalThis.outrider.live.board.marks.keys()]);
    camera.flyTo(x + 3000, y + 1500);
  });
  await until("others are told where it pans to", () => page.evaluate(() => {
    const { live: { board } } = globalThis.outrider;
    return board.isKnown && [...board.marks.values()].some((mark) => mark.kind === "driver" && !globalThis.before.has(mark.id));
  }));
  assert.deepEqual(complaints, []);
});

test("who is not in view is found by a part of an id", { timeout: 60_000 }, async () => {
  await openDemo();
  const id = await until("somebody is on the map", () => page.evaluate(() => [...globalThis.outrider.live.board.marks.values()].find(({ kind }) => kind === "driver")?.id));
  await page.evaluate(() => globalThis.outrider.camera.flyTo(40_000, 40_000, 0.5));
  await until("they are told no more", () => page.evaluate((it) => !globalThis.outrider.live.board.marks.has(it), id));
  await page.locator("#query").fill(id.slice(-8));
  await until("the node has found them", async () => (await page.locator('.matches [role="option"]').count()) === 1);
  await page.keyboard.press("Enter");
  await until("they are looked at", () => page.evaluate((it) => location.hash === `#/dispatch/${it}` && globalThis.outrider.live.board.marks.has(it), id));
  assert.deepEqual(complaints, []);
});

test("drivers move, and glide between two words from the node", { timeout: 60_000 }, async (t) => {
  await openDemo();
  const positions = () => page.evaluate(() => {
    const { live, marks } = globalThis.outrider;
    return [...live.board.marks.values()].filter(({ kind }) => kind === "driver").map(({ id }) => [id, marks.where(id)]);
  });
  const before = new Map(await positions());
  await until("a fifth of the drivers moved", async () => {
    const moved = (await positions()).filter(([id, at]) => {
      const was = before.get(id);
      return was && at && Math.hypot(at[0] - was[0], at[1] - was[1]) > 5;
    });
    return moved.length > before.size / 5;
  });
  const { script, gl } = await page.evaluate(() => globalThis.outrider.marks.took());
  t.diagnostic(`half of all frames take at most ${script.toFixed(2)} ms of script, of which ${gl.toFixed(2)} ms are WebGL's`);
  assert.deepEqual(complaints, []);
});

test("a click on a mark opens it, and the map follows a driver and hides who is not wanted", { timeout: 90_000 }, async () => {
  await openDemo();
  // Somebody on the map, away from the edges and from others, so that the click means them.
  const found = await until("a driver stands alone", () => page.evaluate(() => {
    const { live: { board }, camera, marks } = globalThis.outrider;
    const places = [...board.marks.values()].map((mark) => [mark, marks.where(mark.id)]).filter(([, at]) => at)
      .map(([mark, at]) => ({ id: mark.id, kind: mark.kind, x: camera.screenX(at[0]), y: camera.screenY(at[1]) }));
    const isLonely = (it) => places.every((other) => other === it || Math.hypot(other.x - it.x, other.y - it.y) > 30);
    return places.find((it) => it.kind === "driver" && it.x > 80 && it.y > 80 && it.x < camera.width - 80 && it.y < camera.height - 130 && isLonely(it));
  }));
  const box = await page.locator("#map").boundingBox();
  await page.mouse.click(box.x + found.x, box.y + found.y);
  await page.locator("#details h2").waitFor();
  assert.match(await page.locator("#details h2").textContent(), /^Driver/);
  await until("it is said why it is offered nothing", () => page.locator("#details .tags, #details .empty").count());
  await page.keyboard.press("f");
  await page.locator(".following").waitFor();
  await shot("driver");
  await page.keyboard.press("m");
  await page.locator(".dialog[open] #reason").waitFor();
  await page.keyboard.press("Escape");
  await until("it is not written to", async () => (await page.locator(".dialog[open]").count()) === 0);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#details").count(), 0, "Escape closes it");

  await page.locator(".filters > .icon-button").click();
  await page.locator(".filters-body button", { hasText: "Available" }).click();
  await until("nobody available is drawn", () => page.evaluate(() => {
    const { live: { board }, marks, camera } = globalThis.outrider;
    const it = [...board.marks.values()].find((mark) => mark.kind === "driver" && mark.status === "available");
    const at = it && marks.where(it.id);
    return at && marks.pick(camera.screenX(at[0]), camera.screenY(at[1]), 0) !== it.id;
  }));
  assert.deepEqual(complaints, []);
});

test("the queue is walked by keys; a job tells its way, its timeline and how a driver was looked for", { timeout: 90_000 }, async () => {
  await openDemo();
  await until("the queue has rows", () => page.locator(".row").count());
  await page.keyboard.press("j");
  await page.locator("#details h2").waitFor();
  const first = await page.evaluate(() => location.hash);
  await page.keyboard.press("j");
  await until("the next one is open", async () => (await page.evaluate(() => location.hash)) !== first);
  // One that has a driver has a story.
  const id = await until("a driver is on the way", () => page.evaluate(() => [...globalThis.outrider.live.board.marks.values()].find(({ kind, status }) => kind === "order" && ["en_route_pickup", "at_pickup"].includes(status))?.id));
  await go(`#/dispatch/${id}`);
  await until("its way is known", () => page.locator("#details .stops li").count());
  await page.locator('#details [data-tab="timeline"]').click();
  await until("its timeline has lines", () => page.locator(".timeline li").count());
  await shot("timeline");
  await page.locator('#details [data-tab="matching"]').click();
  await until("it is told who was asked", () => page.locator(".offered li").count());
  await shot("matching");
  assert.deepEqual(complaints, []);
});

test("what a dispatcher does is shown at once, done by the node, and written down", { timeout: 120_000 }, async () => {
  await openQuiet();
  const id = await place();
  await page.locator(`#row-${id}`).click();
  await page.locator("#details .actions").waitFor();

  await page.keyboard.press("h");
  await page.fill("#reason", "checking with the rider");
  await page.keyboard.press("Enter");
  await page.locator(".details-pills .pill:not(.is-expected)", { hasText: "Held" }).waitFor();
  await page.keyboard.press("h");
  await until("it is looked for somebody again", async () => (await page.locator(".details-pills .pill, .under-way", { hasText: /Held|Resume/ }).count()) === 0);

  await page.keyboard.press("p");
  await page.locator(".segments label", { hasText: "Urgent" }).click();
  await page.fill("#reason", "a clinic waits");
  await page.keyboard.press("Enter");
  await page.locator(".details-pills .pill:not(.is-expected)", { hasText: "Urgent" }).waitFor();

  await page.keyboard.press("a");
  await page.locator(".candidates .empty").waitFor();
  await page.keyboard.press("Escape");
  await page.locator(".dialog").waitFor({ state: "detached" });
  await shot("acting");
  await page.keyboard.press("x");
  await page.fill("#reason", "asked for twice");
  await page.keyboard.press("Enter");
  await page.locator(".details-pills .pill:not(.is-expected)", { hasText: "Cancelled by staff" }).waitFor();
  await page.locator('#details [data-tab="timeline"]').click();
  for (const reason of ["checking with the rider", "a clinic waits", "asked for twice"]) await page.locator(".timeline q", { hasText: reason }).first().waitFor();
  assert.equal(await page.locator("#details img").count(), 0, "what people wrote stays text");
  assert.deepEqual(complaints, []);
});

test("who asked for a job can be written to, and a job kept to a fleet", { timeout: 90_000 }, async () => {
  await openQuiet();
  const id = await place();
  await page.locator(`#row-${id}`).click();
  await page.locator("#details .actions").waitFor();
  await page.keyboard.press("m");
  await page.fill("#reason", "the gate is open");
  await shot("message");
  await page.keyboard.press("Enter");
  await page.locator(".toast.is-done", { hasText: "Message" }).waitFor();
  const token = await quiet.token("dispatcher");
  const { body } = await quiet.ask(token, `v1/orders/${id}`);
  const history = await quiet.ask(token, `v1/actors/${body.rider}/history`);
  assert.ok(history.body.some(({ event, by, reason }) => event === "messaged" && by === "dispatcher" && reason === "the gate is open"), JSON.stringify(history.body));

  await page.locator(".actions button", { hasText: "More" }).click();
  await page.locator(".actions button", { hasText: "Fleet" }).click();
  await page.fill("#fleet", "partner-0192f3c8aaaa7000800000000000eeee");
  await page.fill("#reason", "by contract");
  await page.keyboard.press("Enter");
  await page.locator(".facts dt", { hasText: "Kept to fleet" }).waitFor();
  await until("the node has it", async () => (await quiet.ask(token, `v1/orders/${id}`)).body.fleet === "partner-0192f3c8aaaa7000800000000000eeee");
  assert.deepEqual(complaints, []);
  await call(id);
});

test("two dispatchers see each other before they act", { timeout: 90_000 }, async () => {
  await openQuiet();
  const id = await place();
  await page.locator(`#row-${id}`).click();
  await page.locator("#details .actions").waitFor();
  const [first, firstContext] = [page, context];
  await open();
  await openQuiet("admin");
  await page.locator(`#row-${id} .row-others`).waitFor();
  await page.locator(`#row-${id}`).click();
  await page.locator("#details > .others", { hasText: "dispatcher" }).waitFor();
  await first.locator("#details > .others", { hasText: "admin" }).waitFor();
  await first.keyboard.press("x");
  await first.locator(".dialog .others").waitFor();
  await first.screenshot({ path: `${SHOTS}others.png` });
  await page.keyboard.press("Escape");
  await until("the other has left it", async () => (await first.locator(".others").count()) === 0);
  await firstContext.close();
  assert.deepEqual(complaints, []);
  await call(id);
});

test("a zone is paused from the map, shown as paused, and goes on", { timeout: 90_000 }, async () => {
  await openQuiet();
  await page.locator(".filters > .icon-button").click();
  await page.locator(".filters-zone").click();
  await page.fill("#zone-reason", "a flood");
  await page.locator(".zone-card .primary").click();
  await page.locator(".zone-paused", { hasText: "a flood" }).waitFor();
  await shot("zone");
  const token = await quiet.token("dispatcher");
  const paused = async () => (await quiet.ask(token, "v1/zones?status=paused")).body.items;
  assert.equal((await paused()).length, 1);
  await page.locator(".zone-paused button").click();
  await until("it goes on", async () => (await paused()).length === 0 && (await page.locator(".zone-paused").count()) === 0);
  assert.deepEqual(complaints, []);
});

test("what the node refuses is said in words, and nothing pretends to have happened", { timeout: 60_000 }, async () => {
  await openQuiet();
  const id = await place();
  await page.locator(`#row-${id}`).click();
  await page.locator("#details .actions").waitFor();
  await page.evaluate((it) => globalThis.outrider.live.ask(it, "act.unassign", { order: { id: it, action: { unassign: { reason: "a test" } } } }), id);
  await page.locator(".toast.is-refused", { hasText: "Not in this state" }).waitFor();
  assert.equal(await page.locator(".under-way").count(), 0);
  assert.match(await page.locator(".details-pills .pill").first().textContent(), /Searching/);
  await shot("refused");
  await call(id);
});

test("a driver whom the node finds unfit is named with what speaks against them, and may be forced with a reason", { timeout: 120_000 }, async () => {
  await openDemo();
  await until("a busy driver is refused", async () => {
    const id = await page.evaluate(() => [...globalThis.outrider.live.board.marks.values()].findLast(({ kind, sort, status }) => kind === "order" && sort === "ride" && ["assigned", "en_route_pickup"].includes(status))?.id);
    if (!id) return false;
    await go(`#/dispatch/${id}`);
    await page.locator(".actions button", { hasText: "Reassign" }).click({ timeout: 3000 }).catch(() => {});
    if (await page.locator(".candidates").count() === 0) return false;
    await page.fill(".assign input[type=search]", "busy");
    const busy = page.locator(".candidates button", { hasText: /Busy/ }).first();
    if (await busy.count() === 0) return page.keyboard.press("Escape").then(() => false);
    await busy.click();
    await page.fill("#reason", "a test insists");
    await page.locator(".assign .primary").click();
    const isRefused = await until("an answer", async () => {
      if (await page.locator(".assign .refusal").count() > 0) return "refused";
      return await page.locator(".assign").count() === 0 ? "over" : null;
    });
    return isRefused === "refused" && await page.locator(".assign .refusal li").count() > 0;
  }, 90_000);
  await shot("unfit");
  assert.ok(await page.locator(".assign .danger, .assign .form .soft").count() > 0, "it can be forced, or it is said that it cannot");
});

test("a call for help is loud on every view until somebody sees to it", { timeout: 60_000 }, async () => {
  await openQuiet();
  const { status, body } = await quiet.ask(await somebody(), "v1/sos", { position: { at: { lat: -1.95, lon: 30.06 }, sampled_at: Date.now() } });
  assert.equal(status, 201, JSON.stringify(body));
  const banner = page.locator(".sos");
  await banner.waitFor();
  await go("#/cluster");
  assert.ok(await banner.isVisible());
  await until("the title says so", async () => /Call for help/.test(await page.title()));
  await shot("sos");
  await banner.locator(".sos-ack").click();
  await until("it is quiet again", async () => (await banner.count()) === 0);
  // It is not over: the queue has it, with what is still to be done.
  await go("#/dispatch");
  await page.locator(".queue-head .chips button", { hasText: "Incidents" }).click();
  await page.locator(`#row-${body.actor}`, { hasText: "Seen to" }).waitFor();
  await page.keyboard.press("j");
  await page.locator(".incident .incident-check button").first().click();
  await page.locator(".incident .incident-check [aria-pressed=true]").waitFor();
  await shot("incidents");
  await page.locator(".incident .ghost", { hasText: "false alarm" }).click();
  await until("it is over", async () => (await page.locator(".incident").count()) === 0);
  await until("and listed no more", async () => (await page.locator(`#row-${body.actor}`).count()) === 0);
  assert.deepEqual(complaints, []);
});

test("of many calls for help each can be seen to", { timeout: 60_000 }, async () => {
  await openQuiet();
  const position = { at: { lat: -1.95, lon: 30.06 }, sampled_at: Date.now() };
  const calls = [];
  for (let i = 0; i < 5; i += 1) calls.push((await quiet.ask(await somebody(), "v1/sos", { position })).body.actor);
  const acks = page.locator(".sos .sos-ack");
  await until("all five are there", async () => (await acks.count()) === 5);
  for (let left = 4; left >= 0; left -= 1) {
    await acks.last().click();
    await until(`${left} are left`, async () => (await acks.count()) === left);
  }
  const token = await quiet.token("dispatcher");
  for (const id of calls) {
    await until(`${id} is seen to`, async () => (await quiet.ask(token, `v1/incidents/${id}`)).body.status === "acked");
    await quiet.ask(token, `v1/incidents/${id}/actions`, { resolve: { resolution: "false" } });
  }
  assert.deepEqual(complaints, []);
});

test("the inspector follows an actor, marks what changes, and shows what it was", { timeout: 90_000 }, async () => {
  await openQuiet();
  const id = await place();
  await go(`#/actors/${id}`);
  await until("its state is shown", () => page.locator(".tree .leaf").count());
  const version = async () => Number(await page.locator(".remembered .actor-facts dd").first().textContent());
  const first = await version();
  const token = await quiet.token("dispatcher");
  await quiet.ask(token, `v1/orders/${id}/actions`, { set_priority: { priority: "urgent", reason: "a test" } });
  await until("it has gone on", async () => (await version()) > first);
  assert.ok(await page.locator(".tree .is-changed").count() > 0, "what changed is marked");
  await page.locator(".actor-living dt", { hasText: "Mailbox" }).waitFor();
  await until("the history has it", () => page.locator(".history li", { hasText: "a test" }).count());
  await page.locator(".history button").last().click();
  await page.locator("h3", { hasText: "As of version 1" }).waitFor();
  await until("its first state is shown", () => page.locator(".tree.is-lasting .leaf").count());
  assert.equal(await page.locator(".tree.is-lasting", { hasText: "urgent" }).count(), 0, "it was not urgent then");
  await shot("actor");
  await page.locator(".travel .ghost").click();
  await until("back in the present", () => page.locator(".tree", { hasText: "urgent" }).count());
  assert.deepEqual(complaints, []);
  await call(id);
});

test("an unknown actor is a clear answer", { timeout: 60_000 }, async () => {
  await page.goto(`${demo.url}console/#/actors/order-${"0".repeat(32)}`);
  await page.locator(".actor .refusal", { hasText: "No such thing" }).waitFor();
});

test("search finds a driver by the end of its id", { timeout: 60_000 }, async () => {
  await openDemo();
  const id = await page.evaluate(() => [...globalThis.outrider.live.board.marks.values()].find(({ kind }) => kind === "driver").id);
  await page.keyboard.press("/");
  await page.keyboard.type(id.slice(-8));
  await page.locator("#matches [role=option]").first().waitFor();
  await page.keyboard.press("Enter");
  await until("it is open", async () => (await page.evaluate(() => location.hash)) === `#/dispatch/${id}`);
});

test("counters grow and the activity lists what happened", { timeout: 90_000 }, async () => {
  await openDemo();
  const total = () => page.evaluate(() => {
    const { counters } = globalThis.outrider.live.board;
    return [counters.rides, counters.deliveries, counters.rescues].flatMap((it) => Object.values(it)).reduce((a, b) => a + b, 0);
  });
  const before = await total();
  await until("more was asked for", async () => (await total()) > before, 45_000);
  await page.locator('.side [data-tab="city"]').click();
  assert.ok(Number((await page.locator("#on-duty").textContent()).replaceAll(",", "")) > 0, "somebody is on duty");
  await page.locator('.side [data-tab="activity"]').click();
  await until("the activity has lines", () => page.locator("#ticker li").count());
});

test("drivers are listed by what they mean to do, also who is off duty and on no map", { timeout: 90_000 }, async () => {
  await openDemo();
  await page.locator('.side [data-tab="drivers"]').click();
  await until("some are on duty", () => page.locator(".roster li").count());
  await until("it is said what they do just now", async () => /Busy|Available|Considering/.test(await page.locator(".roster .listed").textContent()));
  await shot("drivers");
  const first = page.locator(".roster li button").first();
  const id = await first.getAttribute("title");
  await first.click();
  await page.locator("#details .facts").first().waitFor();
  assert.equal(await page.evaluate(() => location.hash), `#/dispatch/${id}`);

  const driver = `driver-0192f3c8aaaa70008000${randomBytes(6).toString("hex")}`;
  const itself = await quiet.token("driver", driver);
  for (const duty of [{ duty: "on", vehicle: { kind: "van", capacity_g: 50_000, skills: [] } }, { duty: "off" }]) {
    assert.equal((await quiet.ask(itself, `v1/drivers/${driver}/actions`, { set_duty: duty })).status, 200);
  }
  await openQuiet();
  await page.locator('.side [data-tab="drivers"]').click();
  await page.locator(".roster .chips button", { hasText: "Offline" }).click();
  const row = page.locator(`#row-${driver}`);
  await row.waitFor();
  assert.match(await row.textContent(), /Offline · Van/);
  await quiet.ask(await quiet.token("dispatcher"), `v1/drivers/${driver}/actions`, { suspend: { reason: "papers", reassign: true } });
  await page.locator(".roster .chips button", { hasText: "Blocked" }).click();
  await row.waitFor();
  assert.match(await row.textContent(), /Blocked · papers · Van/);
  assert.deepEqual(complaints, []);
});

test("a cut connection shows, and comes back by itself", { timeout: 90_000 }, async () => {
  await openDemo();
  await page.evaluate(() => {
    globalThis.isCut = true;
    globalThis.openSockets.forEach((socket) => socket.close());
  });
  await until("the badge says reconnecting", async () => (await state()) === "reconnecting");
  await page.evaluate(() => (globalThis.isCut = false));
  await isLive();
  await page.evaluate(() => {
    globalThis.changes = 0;
    globalThis.outrider.live.board.on("marks", () => (globalThis.changes += 1));
  });
  await until("the board goes on", () => page.evaluate(() => globalThis.changes > 2));
});

test("a silent node is stale, a killed one is missed, and what was asked meanwhile is done when it is back", { timeout: 120_000 }, async () => {
  await openQuiet();
  const id = await place();
  await page.locator(`#row-${id}`).click();
  await page.locator("#details .actions").waitFor();
  quiet.signal("SIGSTOP");
  await until("the badge says stale", async () => (await state()) === "stale");
  await shot("stale");
  quiet.signal("SIGCONT");
  await isLive();

  await quiet.kill();
  await until("the badge says reconnecting", async () => (await state()) === "reconnecting");
  await page.locator(".old", { hasText: "nothing newer has come" }).waitFor();
  await page.keyboard.press("x");
  await page.fill("#reason", "while the node was away");
  await page.keyboard.press("Enter");
  await page.locator(".under-way").waitFor();
  await page.locator(".details-pills .pill.is-expected", { hasText: "Cancelled by staff" }).waitFor();
  await shot("reconnecting");
  await quiet.start();
  await isLive();
  await page.locator(".details-pills .pill:not(.is-expected)", { hasText: "Cancelled by staff" }).waitFor();
});

test("rubbish instead of a token is refused in words, and a good one then does", { timeout: 60_000 }, async () => {
  await page.goto(`${quiet.url}console/`);
  await page.locator("#sign-in[open]").waitFor();
  await page.fill("#token", "rubbish");
  await page.keyboard.press("Enter");
  await until("it says why", async () => /refused this token/.test(await page.locator("#sign-in-error").textContent().catch(() => "")));
  await shot("sign-in");
  await page.fill("#token", await quiet.token("dispatcher"));
  await page.keyboard.press("Enter");
  await isLive();
});

test("nodes and shards are an admin's to see, and to pin", { timeout: 60_000 }, async () => {
  await openQuiet("dispatcher");
  await go("#/cluster");
  await page.locator(".cluster-closed").waitFor();
  await until("the node's own figures are there", () => page.locator(".figures-strip .figure").count());
  await context.close();

  await open();
  await openQuiet("admin");
  await go("#/cluster");
  await page.locator(".card", { hasText: "This node is alone" }).waitFor();
  await page.locator(".sessions .tags li", { hasText: "Admin" }).waitFor();
  assert.deepEqual(complaints, []);

  // What a cluster of three says; that nodes say it is tested where there are three (tests/gateway).
  const nodes = ["node-1", "node-2", "node-3"].map((node, i) => ({
    node, incarnation: i + 1, standing: i === 2 ? "draining" : "up", address: `127.0.0.1:${7070 + i}`, zone: "a", weight: 1, version: "0.1.0", reads: 3, hears: true,
    age_ms: 60_000, lease_left_ms: 4000 - i * 1500, n_shards: 341,
    // The last one does not answer.
    ...(i === 2 ? {} : { sessions: { driver: 40, rider: 160 + i }, commit_p50_ms: 1.2, commit_p99_ms: 4.8 }),
  }));
  const shards = Array.from({ length: 1024 }, (_, shard) => ({
    shard, owner: shard === 7 ? null : (shard % 3) + 1, epoch: 4, ...(shard === 7 || shard % 3 === 2 ? {} : { n_awake: shard % 10, n_commands: 5 * shard }),
  }));
  const cluster = { me: 1, nodes, shards, moves: [{ shard: 8, from: 3, to: 1, phase: "transfer", since: Date.now(), lasts_ms: 40 }], pins: [{ shard: 9, node: "node-1" }], n_orphans: 1, n_waiting: 0, writes: 3, sessions: { driver: 80, rider: 321 }, silent: ["node-3"] };
  let [pinned, drained, isAway] = [null, null, false];
  const away = { status: 503, json: { code: "unavailable", message: "nothing answers" } };
  await page.route("**/admin/cluster", (route) => route.fulfill(isAway ? away : { json: cluster }));
  await page.route("**/admin/drain/*", (route) => {
    drained = new URL(route.request().url()).pathname;
    return route.fulfill({ status: 202, body: "" });
  });
  await page.route("**/admin/cluster/pins", (route) => {
    pinned = route.request().postDataJSON();
    return route.fulfill({ status: 204, body: "" });
  });
  await until("all shards are there", async () => (await page.locator(".matrix button").count()) === 1024);
  assert.equal(await page.locator(".nodes tbody tr").count(), 3);
  // Sessions, commits and load, by whoever says so.
  const cells = (node, n) => page.locator(".nodes tbody tr", { hasText: node }).locator(`td:nth-child(${n})`).textContent();
  assert.deepEqual([await cells("node-2", 4), await cells("node-2", 5)], ["201", "1.2 ms / 4.8 ms"]);
  assert.deepEqual([await cells("node-3", 4), await cells("node-3", 5)], ["–", "–"]);
  assert.match(await page.locator(".cluster-silent").textContent(), /node-3/);
  assert.match(await page.locator(".sessions").textContent(), /401.*Rider 321/);
  const said = (shard) => page.locator(`.matrix [data-shard="${shard}"]`).getAttribute("aria-label");
  assert.match(await said(9), /node-1, 9 awake/);
  assert.match(await said(8), /node-3, load unknown/);
  const drawn = (shard) => page.locator(`.matrix [data-shard="${shard}"]`).getAttribute("class");
  assert.deepEqual([/load-\w+/.exec(await drawn(9))[0], /load-\w+/.exec(await drawn(30))[0], /load-\w+/.exec(await drawn(8))[0]], ["load-4", "load-0", "load-unknown"]);
  assert.match(await page.locator(".moves li").first().textContent(), /node-3 → node-1.*40 ms/);
  await page.locator('.matrix [data-shard="12"]').click();
  await page.locator(".segments label", { hasText: "node-2" }).click();
  await shot("cluster");
  await page.locator(".dialog .primary").click();
  await until("it is pinned", () => pinned !== null);
  assert.deepEqual(pinned, { shard: 12, node: "node-2" });
  // Any node can be let go from here, once; the one that leaves already cannot.
  assert.ok(await page.locator(".nodes tbody tr", { hasText: "node-3" }).locator("button").isDisabled());
  await page.locator(".nodes tbody tr", { hasText: "node-2" }).locator("button").click();
  await page.locator(".dialog", { hasText: "node-2" }).waitFor();
  assert.equal(drained, null, "not before it is confirmed");
  await page.locator(".dialog .danger").click();
  await until("it is told to leave", () => drained !== null);
  assert.equal(drained, "/admin/drain/node-2");
  // The node of this page does not answer any more: what was seen stays.
  isAway = true;
  await page.locator(".cluster-stale").waitFor();
  assert.equal(await page.locator(".matrix button").count(), 1024);
  isAway = false;
  await page.locator(".cluster-stale").waitFor({ state: "detached" });
});

test("an admin makes a rule, tries it, is told of whoever was first, and removes it", { timeout: 90_000 }, async () => {
  await openQuiet("dispatcher");
  assert.equal(await page.locator('.rail a[href="#/rules"]').count(), 0, "nobody else is led there");
  await go("#/rules");
  await page.locator(".cluster-closed", { hasText: "Rules are for admins" }).waitFor();
  await context.close();

  await open();
  await openQuiet("admin");
  await page.locator('.rail a[href="#/rules"]').click();
  await page.locator(".register .empty").waitFor();
  await page.locator(".register .primary").click();
  await page.fill("#rule-name", "rush hour");
  await page.locator(".checks label", { hasText: "Rides" }).click();
  await page.locator(".dialog .chips button", { hasText: "5.2 km²" }).click();
  await page.fill("#rule-hold_ms", "30");
  await page.locator(".dialog .trial button").click();
  await page.locator(".dialog .trial strong").waitFor();
  await shot("rule-form");
  await page.fill("#reason", "a trial");
  await page.keyboard.press("Enter");
  const row = page.locator(".said tbody tr", { hasText: "rush hour" });
  await row.waitFor();
  await page.locator("#looked-at .pill", { hasText: "In force" }).waitFor();
  await shot("rules");
  const admin = await quiet.token("admin");
  const rules = async () => (await quiet.ask(admin, "v1/rules?status=set")).body.items;
  const [{ id, body }] = await rules();
  const { terms } = body.said;
  assert.deepEqual([terms.kinds, terms.zones.length, terms.changes, body.said.reason], [["ride"], 1, { hold_ms: 30_000 }, "a trial"]);

  await page.locator("#looked-at button", { hasText: "Change" }).click();
  const first = await fetch(`${quiet.url}v1/rules/${id}`, {
    method: "PUT", headers: { authorization: `Bearer ${admin}`, "content-type": "application/json", "if-match": '"1"' },
    body: JSON.stringify({ rule: { ...terms, priority: 7 }, reason: "somebody else" }),
  });
  assert.equal(first.status, 200, await first.text());
  await page.fill("#rule-hold_ms", "20");
  await page.fill("#reason", "a shorter trial");
  await page.keyboard.press("Enter");
  await page.locator(".overtaken tr", { hasText: "Strength" }).waitFor();
  await shot("rule-overtaken");
  await page.locator(".overtaken button").click();
  await page.locator(".overtaken").waitFor({ state: "detached" });
  assert.deepEqual([await page.locator("#rule-priority").inputValue(), await page.locator("#rule-hold_ms").inputValue()], ["7", "30"]);
  await page.fill("#rule-hold_ms", "20");
  await page.keyboard.press("Enter");
  await page.locator("#looked-at li", { hasText: "20" }).waitFor();

  await page.locator("#looked-at .danger").click();
  await page.fill("#reason", "enough");
  await page.locator(".dialog .danger").click();
  await page.locator("#looked-at .pill", { hasText: "Removed" }).waitFor();
  await until("it is listed no more", async () => (await row.count()) === 0 && (await rules()).length === 0);
  assert.deepEqual(complaints.filter((it) => !/409/.test(it)), [], "that somebody was first the browser complains of, too");
});

test("a driver is given a shift and let work outside of it, and both are taken away", { timeout: 90_000 }, async () => {
  const token = await quiet.token("dispatcher");
  const driver = `driver-0192f3c8aaaa70008000${randomBytes(6).toString("hex")}`;
  // Of whom nobody has ever heard there is nothing to see but shifts.
  const itself = await quiet.token("driver", driver);
  for (const duty of [{ duty: "on", vehicle: { kind: "moto", capacity_g: 50_000, skills: [] } }, { duty: "off" }]) {
    assert.equal((await quiet.ask(itself, `v1/drivers/${driver}/actions`, { set_duty: duty })).status, 200);
  }
  const shifts = async () => (await quiet.ask(token, `v1/drivers/${driver}/shifts`)).body;
  await openQuiet();
  await go(`#/dispatch/${driver}`);
  await page.locator(".shifts button", { hasText: "Add a shift" }).click();
  const [begin, finish] = await page.evaluate((now) => [1, 5].map((hours) => {
    const at = new Date(now + hours * 3_600_000);
    return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  }), Date.now());
  await page.fill("#shift-start", begin);
  await page.fill("#shift-end", finish);
  await page.fill("#reason", "next week");
  await shot("shift-form");
  await page.keyboard.press("Enter");
  await page.locator(".shifts li .pill", { hasText: "Awaited" }).waitFor();
  const [{ start, end }] = (await shifts()).shifts;
  assert.equal(end - start, 4 * 3_600_000);

  await page.locator(".shifts button", { hasText: "Let work outside shifts" }).click();
  await page.locator(".segments label", { hasText: "4 h" }).click();
  await page.fill("#reason", "a concert");
  await page.keyboard.press("Enter");
  await page.locator(".shifts dd", { hasText: "a concert" }).waitFor();
  await shot("shifts");
  await page.locator(".shifts dd button").click();
  await page.fill("#reason", "it is over");
  await page.keyboard.press("Enter");
  await until("it may do so no more", async () => (await page.locator(".shifts dd button").count()) === 0 && (await shifts()).off_shift === undefined);

  await page.locator(".shifts li button").click();
  await page.fill("#reason", "swapped");
  await page.keyboard.press("Enter");
  await until("it has none", async () => (await page.locator(".shifts li").count()) === 0 && (await shifts()).shifts.length === 0);
  assert.deepEqual(complaints, []);
});

test("a template of runs is made, says when it is next, is paused and removed", { timeout: 90_000 }, async () => {
  await openQuiet();
  await page.locator('.rail a[href="#/templates"]').click();
  await page.locator(".register .primary").click();
  await page.fill("#template-name", "the bakery's round");
  // In half a day, by the clock of the brand: no day of it begins meanwhile.
  const at = new Date(Date.now() + 14 * 3_600_000).toISOString().slice(11, 16);
  await page.fill("#template-at", at);
  for (const i of [0, 1]) {
    await page.fill(`#order-${i}-rider`, `rider-0192f3c8aaaa70008000${randomBytes(6).toString("hex")}`);
    await page.fill(`#order-${i}-from`, "-1.95, 30.06");
    await page.fill(`#order-${i}-to`, `-1.94, 30.0${7 + i}`);
  }
  await shot("template-form");
  await page.fill("#reason", "the bakery asked");
  await page.keyboard.press("Enter");
  const row = page.locator(".said tbody tr", { hasText: "the bakery's round" });
  await row.waitFor();
  assert.match(await row.locator("td").nth(2).textContent(), new RegExp(`\\d{4}, ${at}`), "its next run");
  const token = await quiet.token("dispatcher");
  const [{ id, body }] = (await quiet.ask(token, "v1/run-templates?status=set")).body.items;
  assert.deepEqual([body.template.at, body.template.orders.length, body.template.weekdays.length, body.reason], [at, 2, 5, "the bakery asked"]);
  await page.locator("#looked-at .pill", { hasText: "Set" }).waitFor();
  await shot("templates");

  const status = async () => (await quiet.ask(token, `v1/run-templates/${id}`)).body.status;
  for (const [press, becomes] of [["Pause", "Paused"], ["Resume", "Set"], ["Remove", "Removed"]]) {
    await page.locator("#looked-at button", { hasText: press }).click();
    await page.fill("#reason", "a holiday");
    await page.keyboard.press("Enter");
    await page.locator("#looked-at .pill", { hasText: becomes }).waitFor();
    assert.equal(await status(), becomes.toLowerCase());
  }
  assert.deepEqual(complaints, []);
});

test("of several nodes, what moves is shown, and one that is killed while the page is open", { timeout: 120_000 }, async (t) => {
  cluster = await startCluster(["node-1", "node-2"]);
  if (!cluster) return t.skip("no OUTRIDER_TEST_POSTGRES and OUTRIDER_TEST_NATS");
  try {
    const [one, two] = cluster.nodes;
    await openQuiet("admin", one);
    await go("#/cluster");
    const shares = () => page.locator(".nodes tbody tr td:nth-child(3) strong").allTextContents();
    await until("both have their half", async () => {
      const [a, b] = (await shares()).map(Number);
      return a > 400 && b > 400 && a + b === 1024;
    }, 40_000);
    await until("leases are shown", () => page.locator(".lease-ms").count());
    // Some of them are written on either.
    const rider = () => one.token("rider", `rider-0192f3c8aaaa70008000${randomBytes(6).toString("hex")}`);
    for (let i = 0; i < 12; i += 1) assert.equal((await one.ask(await rider(), "v1/orders", RIDE)).status, 201);
    await until("commits are measured", async () => /\d ms/.test(await page.locator(".figures-strip").textContent()));
    // A shard of the other one is wanted here.
    const owner = await page.locator(".nodes tbody tr", { hasText: "node-2" }).locator(".owner").getAttribute("class");
    const shard = await page.locator(`.matrix .${owner.split(" ")[1]}`).first().getAttribute("data-shard");
    await page.locator(`.matrix [data-shard="${shard}"]`).click();
    await page.locator(".segments label", { hasText: "node-1" }).click();
    await page.locator(".dialog .primary").click();
    await until("it has moved, and that is told", () => page.locator(".moves li", { hasText: `${shard}` }).count());
    await shot("cluster-two");

    // Somebody looks at the other one, where an order is, when it dies.
    const first = [page, context];
    await open();
    await openQuiet("dispatcher", two);
    const { body } = await one.ask(await rider(), "v1/orders", RIDE);
    await page.locator(`#row-${body.actor}`).click();
    await page.locator("#details .actions").waitFor();
    await first[0].bringToFront();
    await two.kill();
    await until("who looked at it is told", async () => (await state()) === "reconnecting");
    await shot("cluster-killed-there");
    [page, context] = first;
    await until("the other has everything", async () => (await shares()).map(Number).includes(1024), 40_000);
    await isLive();
    await go(`#/dispatch/${body.actor}`);
    await page.locator("#details .actions").waitFor();
    await shot("cluster-killed");
  } finally {
    await cluster.close();
    cluster = null;
  }
});

test("demand and surge are drawn by zone", { timeout: 120_000 }, async () => {
  await openDemo();
  await page.locator(".filters > .icon-button").click();
  const answer = page.waitForResponse((it) => it.url().includes("/v1/demand") && it.ok(), { timeout: 30_000 });
  await page.locator(".filters .segments label", { hasText: "Demand" }).click();
  assert.ok(Array.isArray(await (await answer).json()));
  // Regions count once a minute.
  await until("zones are painted", () => page.evaluate(() => {
    const canvas = document.querySelectorAll("#map canvas")[1];
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((it, i) => i % 4 === 3 && it > 0);
  }), 90_000);
  await page.locator(".filters > .icon-button").click();
  await shot("demand");
  await page.evaluate(() => globalThis.outrider.camera.zoomAt(3));
  const box = await page.locator("#map").boundingBox();
  await until("a click on bare ground opens its zone", async () => {
    await page.mouse.click(box.x + box.width * (0.3 + 0.4 * Math.random()), box.y + box.height * (0.3 + 0.4 * Math.random()));
    return page.locator(".zone-card").count();
  });
  await page.locator(".zone-card #zone-size").waitFor();
  await shot("zone-demand");
  assert.deepEqual(complaints, []);
});

test("of real streets, a node without any sends nothing, and draws as ever", { timeout: 60_000 }, async () => {
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await openDemo();
  await until("the map draws", () => page.evaluate(() => globalThis.outrider.marks.frames > 10));
  assert.deepEqual([...new Set(asked.filter((it) => /basemap|maplibre|pmtiles/.test(it)))], ["/console/basemap.json"]);
  assert.equal(await page.evaluate(() => globalThis.outrider.basemap), null);
  assert.ok(await page.locator("#map canvas").first().isVisible(), "the drawn city is there");
  assert.deepEqual(complaints, []);
});

test("real streets lie beneath the marks, from the node's own archive and from nobody else", { timeout: 300_000 }, async (t) => {
  if (!existsSync(ROADS)) return t.skip("no ../shared/data/road_manhattan");
  const dir = await mkdtemp(join(tmpdir(), "outrider-e2e-"));
  const archive = join(dir, "streets.pmtiles");
  try {
    const { center, crossings } = await writeStreets(ROADS, archive);
    streets = await startQuiet({ OUTRIDER_MAP__ARCHIVE: archive });
    await drawsThem(center, crossings);
    await doesWithout();
  } finally {
    await streets?.close();
    streets = null;
    await rm(dir, { recursive: true, force: true });
  }
});

async function drawsThem(center, crossings) {
  const part = await fetch(`${streets.url}console/basemap.pmtiles`, { headers: { range: "bytes=0-6" } });
  assert.deepEqual([part.status, await part.text()], [206, "PMTiles"]);
  // Somebody waits at a corner in the middle of the city.
  const far = ({ lat, lon }) => Math.hypot(lat - center.lat, lon - center.lon);
  const corner = crossings.toSorted((a, b) => far(a) - far(b))[0];
  const rider = await streets.token("rider", `rider-0192f3c8aaaa70008000${randomBytes(6).toString("hex")}`);
  const ride = { kind: "ride", stops: [{ at: corner }, { at: crossings[0] }] };
  const { status, body } = await streets.ask(rider, "v1/orders", ride);
  assert.equal(status, 201, JSON.stringify(body));

  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await openQuiet("dispatcher", streets);
  await hasMarks(1);
  await page.locator(".streets.is-shown").waitFor({ state: "attached" });
  const isDrawn = () => until("all tiles are there", () => page.evaluate(() => globalThis.outrider.basemap.map.loaded()), 60_000);
  await isDrawn();
  for (const file of ["basemap.js", "maplibre-gl-worker.mjs", "basemap.pmtiles"]) assert.ok(asked.includes(`/console/${file}`), `${file} is asked for`);
  assert.ok(!(await page.locator("#map > canvas").first().isVisible()), "the grid has made room");
  await page.locator(".credits", { hasText: "OpenStreetMap" }).waitFor();
  await until("the city's name is on it, in a font of the browser's", () => page.evaluate(() => globalThis.outrider.basemap.map.queryRenderedFeatures({ layers: ["places"] }).some(({ properties }) => properties.name === "Manhattan")));

  // Wherever the camera goes, both maps have every crossing in one place, there and back.
  const apart = (places) => page.evaluate((them) => {
    const { basemap: { map }, camera, projection } = globalThis.outrider;
    return Math.max(...them.map(({ lat, lon }) => {
      const [x, y] = [camera.screenX(projection.x(lon)), camera.screenY(projection.y(lat))];
      const theirs = map.project([lon, lat]);
      const back = map.unproject([x, y]);
      const again = [camera.screenX(projection.x(back.lng)), camera.screenY(projection.y(back.lat))];
      return Math.max(Math.hypot(theirs.x - x, theirs.y - y), Math.hypot(again[0] - x, again[1] - y));
    }));
  }, places);
  const some = crossings.filter((_, i) => i % 100 === 0);
  for (const factor of [1, 3, 5, 0.02]) {
    await page.evaluate((it) => {
      globalThis.outrider.camera.zoomAt(it);
      globalThis.outrider.camera.pan(137, -61);
    }, factor);
    // A flight is over when it is over; these are none.
    assert.ok(await apart(some) < 1, `${await apart(some)} px apart at ×${factor}`);
  }
  await page.setViewportSize({ width: 1100, height: 700 });
  await until("it has the new size", () => page.evaluate(() => globalThis.outrider.basemap.map.getCanvas().clientWidth === globalThis.outrider.camera.width));
  assert.ok(await apart(some) < 1, "after another size, too");
  await page.setViewportSize({ width: 1366, height: 768 });

  // The mark stands on the crossing, and there is a street.
  await page.evaluate(({ lat, lon }) => {
    const { camera, projection } = globalThis.outrider;
    camera.flyTo(projection.x(lon), projection.y(lat), 0.6);
  }, corner);
  await until("the flight is over", () => page.evaluate(() => Math.abs(globalThis.outrider.camera.zoom - 0.6) < 1e-6));
  await isDrawn();
  const there = await page.evaluate(({ id, lat, lon }) => {
    const { basemap: { map }, camera, marks } = globalThis.outrider;
    const at = marks.where(id);
    const { x, y } = map.project([lon, lat]);
    return {
      apart: Math.hypot(camera.screenX(at[0]) - x, camera.screenY(at[1]) - y),
      roads: map.queryRenderedFeatures([[x - 1, y - 1], [x + 1, y + 1]], { layers: ["street", "collector"] }).length,
    };
  }, { id: body.actor, ...corner });
  assert.ok(there.apart < 1, `the mark is ${there.apart} px from its corner`);
  assert.ok(there.roads > 0, "streets meet beneath it");
  await shot("streets-close");

  await page.evaluate(() => globalThis.outrider.camera.zoomAt(0.12));
  await isDrawn();
  assert.ok(await painted() > 0.02, "streets are painted");
  await shot("streets");
  await page.emulateMedia({ colorScheme: "light" });
  // The page has put on the light when it hears of it, which may be after the first look.
  await until("it is as light as the page", () => page.evaluate(() => {
    const { dataset } = document.documentElement;
    const ground = getComputedStyle(document.documentElement).getPropertyValue("--map-ground").trim();
    return dataset.theme === "light" && globalThis.outrider.basemap.map.getPaintProperty("ground", "background-color") === ground;
  }));
  await isDrawn();
  await shot("streets-light");
  assert.deepEqual(complaints, []);
}

/** What part of the canvas with streets is not as its first pixel is. */
function painted() {
  return page.evaluate(() => new Promise((resolve) => {
    const { map } = globalThis.outrider.basemap;
    // What is drawn can be read only until it is shown.
    map.once("render", () => {
      const { width, height } = map.getCanvas();
      const context = new OffscreenCanvas(width, height).getContext("2d");
      context.drawImage(map.getCanvas(), 0, 0);
      const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
      resolve(pixels.filter((it) => it !== pixels[0]).length / pixels.length);
    });
    map.triggerRepaint();
  }));
}

/** Where the archive cannot be had the grid is back, and it is said so; until it can. */
async function doesWithout() {
  await context.route("**/basemap.pmtiles", (route) => route.abort());
  await page.reload();
  await page.locator(".no-streets").waitFor();
  assert.ok(await page.locator("#map > canvas").first().isVisible(), "the grid is drawn");
  await shot("streets-missing");
  await context.unroute("**/basemap.pmtiles");
  await page.locator(".streets.is-shown").waitFor({ state: "attached", timeout: 30_000 });
  assert.equal(await page.locator(".no-streets").count(), 0);
}

test("a node that cannot show the streets it was given does not start, and says why", { timeout: 60_000 }, async () => {
  const dir = await mkdtemp(join(tmpdir(), "outrider-e2e-"));
  const file = join(dir, "streets.pmtiles");
  try {
    await assert.rejects(startQuiet({ OUTRIDER_MAP__ARCHIVE: file }), /map\.archive: .* cannot be read/);
    await writeFile(file, "not what it is called".repeat(20));
    await assert.rejects(startQuiet({ OUTRIDER_MAP__ARCHIVE: file }), /map\.archive: .* is no PMTiles archive/);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

test("a style is asked for where it is, and nothing elsewhere", { timeout: 90_000 }, async () => {
  const elsewhere = "http://maps.example";
  streets = await startQuiet({ MAP_STYLE_URL: `${elsewhere}/{theme}.json` });
  try {
    const policy = (await fetch(`${streets.url}console/`)).headers.get("content-security-policy");
    assert.match(policy, /connect-src 'self' http:\/\/maps\.example;/);
    const style = { version: 8, sources: {}, layers: [{ id: "ground", type: "background", paint: { "background-color": "#123456" } }] };
    await context.route(`${elsewhere}/**`, (route) => route.fulfill({ json: style, headers: { "access-control-allow-origin": "*" } }));
    await openQuiet("dispatcher", streets);
    await page.locator(".streets.is-shown").waitFor({ state: "attached" });
    assert.equal(await page.evaluate(() => globalThis.outrider.basemap.map.getPaintProperty("ground", "background-color")), "#123456");
    assert.deepEqual(complaints, [`asked ${elsewhere}/dark.json`]);
  } finally {
    await streets?.close();
    streets = null;
  }
});

test("it speaks French and Kinyarwanda, and remembers which", { timeout: 60_000 }, async () => {
  await openDemo();
  for (const [language, queue] of [["fr", "File"], ["rw", "Umurongo"]]) {
    await Promise.all([page.waitForEvent("load"), page.locator(".language select").selectOption(language)]);
    await page.locator('.side [data-tab="queue"]', { hasText: queue }).waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), language);
    await isLive();
    await shot(`language-${language}`);
  }
});

test("words that cannot be had change nothing, and it is said which; from the start on it is English", { timeout: 60_000 }, async () => {
  await openDemo();
  await context.route("**/console/fr-*.js", (route) => route.abort());
  const missing = page.locator(".language-missing", { hasText: "Français" });
  await page.locator(".language select").selectOption("fr");
  await missing.waitFor();
  assert.equal(await page.locator(".language select").inputValue(), "en");
  await missing.locator("button").click();
  await missing.waitFor({ state: "detached" });
  await page.evaluate(() => localStorage.setItem("outrider.language", "fr"));
  await page.reload();
  await missing.waitFor();
  await isLive();
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  await shot("language-missing");
  // It is asked for again by whoever wants it again.
  await context.unroute("**/console/fr-*.js");
  await page.reload();
  await page.locator('.side [data-tab="queue"]', { hasText: "File" }).waitFor();
});

test("a view that cannot be had is missed, and shown once it can", { timeout: 60_000 }, async () => {
  await context.route("**/console/views-*.js", (route) => route.abort());
  await openDemo();
  await until("the queue has rows", () => page.locator(".row").count());
  await go("#/cluster");
  await page.locator("#main > .refusal").waitFor();
  await shot("view-missing");
  await context.unroute("**/console/views-*.js");
  await page.locator("#main > .refusal button").click();
  await page.locator(".figures-strip").waitFor();
  assert.equal(await page.evaluate(() => location.hash), "#/cluster");
});

test("on a phone the map stays usable and everything is a tap away", { timeout: 60_000 }, async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  await openDemo();
  for (const [name, hash] of [["phone", "#/dispatch"], ["phone-actors", "#/actors"], ["phone-cluster", "#/cluster"], ["phone-templates", "#/templates"]]) {
    await go(hash);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${name}: ${overflow} px too wide`);
    await shot(name);
  }
  await go("#/dispatch");
  await page.locator(".row").first().click();
  await page.locator("#details h2").waitFor();
  await until("its way is known", () => page.locator("#details .facts").count());
  await shot("phone-details");
});

for (const colorScheme of ["dark", "light"]) {
  test(`nothing stands in the way of who cannot see well or uses keys (${colorScheme})`, { timeout: 120_000 }, async () => {
    await context.close();
    await open({ colorScheme });
    await openDemo();
    await until("the queue has rows", () => page.locator(".row").count());
    const judge = async (where) => {
      // What glows or pulses is judged as it is when it is still.
      await page.emulateMedia({ reducedMotion: "reduce" });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
      const grave = violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 4).map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ""}`).join("\n    ")}`);
      assert.deepEqual(grave, [], where);
    };
    await judge("queue");
    await page.locator(".row").first().click();
    await until("its way is known", () => page.locator("#details .facts").count());
    await judge("details");
    const write = page.locator("#details .actions button", { hasText: "Message" });
    // Unless it has ended meanwhile.
    if ((await write.count()) > 0) {
      await write.click();
      await judge("message");
      await page.keyboard.press("Escape");
    }
    for (const tab of ["timeline", "matching"]) {
      await page.locator(`#details [data-tab="${tab}"]`).click();
      await until("it is there", () => page.locator("#details .details-body > :not(.skeleton)").count());
      await judge(tab);
    }
    await page.locator('.side [data-tab="drivers"]').click();
    await until("drivers are listed", () => page.locator(".roster li").count());
    await judge("drivers");
    await page.locator('.side [data-tab="city"]').click();
    await page.locator(".filters > .icon-button").click();
    await judge("city and filters");
    await page.locator(".filters-zone").click();
    await page.locator(".zone-card #zone-size").waitFor();
    await judge("zone");
    await page.keyboard.press("Escape");
    await until("it is closed by a key", async () => (await page.locator(".zone-card").count()) === 0);
    await go(`#/actors/${(await page.evaluate(() => location.hash)).split("/").pop()}`);
    await until("its state is shown", () => page.locator(".tree .leaf").count());
    await judge("actors");
    await go("#/cluster");
    await until("figures are there", () => page.locator(".figures-strip .figure").count());
    await judge("cluster");
    await go("#/templates");
    await page.locator(".register .primary").click();
    await page.locator("#template-name").waitFor();
    await judge("a template's form");
    await page.keyboard.press("Escape");
    await page.locator(".dialog").waitFor({ state: "detached" });
    await judge("templates");
    await shot(`${colorScheme}`);
  });
}
