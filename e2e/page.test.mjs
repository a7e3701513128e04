// What a dispatcher relies on, tried in a real browser.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { startBrowser, startNode, until } from "./browser.mjs";

const SHOTS = fileURLToPath(new URL("../target/e2e/", import.meta.url));
let node;
let browser;
let context;
let page;
let complaints;

before(async () => {
  await mkdir(SHOTS, { recursive: true });
  [node, browser] = await Promise.all([startNode(), startBrowser()]);
}, { timeout: 90_000 });

after(async () => {
  await browser?.close();
  await node?.close();
});

beforeEach(async () => {
  context = await browser.newContext({ viewport: { width: 1366, height: 768 }, colorScheme: "dark" });
  page = await context.newPage();
  complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    const isOwn = origin.replace(/^ws/, "http") === new URL(node.url).origin;
    if (!isOwn && protocol !== "data:") complaints.push(`asked ${request.url()}`);
  });
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
});

afterEach(async () => {
  await context?.close();
});

const state = () => page.locator("#badge").getAttribute("data-state");
const isLive = () => until("the badge says live", async () => (await state()) === "live");
const hasMarks = (n) => until(`${n} marks are known`, () => page.evaluate((least) => globalThis.outrider?.board.marks.size >= least, n));

async function openLive() {
  await page.goto(node.url);
  await isLive();
  await hasMarks(10);
}

test("it loads without complaint, and asks nobody else", { timeout: 60_000 }, async (t) => {
  const start = performance.now();
  await page.goto(node.url, { waitUntil: "load" });
  await page.locator("#badge").waitFor();
  // Said, not asserted: a busy machine is slow and not wrong.
  t.diagnostic(`loaded in ${Math.round(performance.now() - start)} ms`);
  await isLive();
  await hasMarks(10);
  assert.ok(await page.evaluate(() => globalThis.outrider.vehicles.frames > 0), "the map draws");
  await page.screenshot({ path: `${SHOTS}page.png` });
  assert.deepEqual(complaints, []);
});

test("drivers move, and glide between two words from the node", { timeout: 60_000 }, async (t) => {
  await openLive();
  const positions = () => page.evaluate(() => {
    const { board, vehicles } = globalThis.outrider;
    return [...board.marks.values()].filter(({ kind }) => kind === "driver").map(({ id }) => [id, vehicles.where(id)]);
  });
  const before = new Map(await positions());
  await until("a fifth of the drivers moved", async () => {
    const moved = (await positions()).filter(([id, at]) => {
      const was = before.get(id);
      return was && at && Math.hypot(at[0] - was[0], at[1] - was[1]) > 5;
    });
    return moved.length > before.size / 5;
  });
  const scriptMs = await page.evaluate(() => globalThis.outrider.vehicles.frameMs);
  t.diagnostic(`a frame takes ${scriptMs.toFixed(2)} ms of script`);
  assert.deepEqual(complaints, []);
});

test("counters grow and the activity lists what happened", { timeout: 90_000 }, async () => {
  await openLive();
  const total = () => page.evaluate(() => {
    const { counters } = globalThis.outrider.board;
    return [counters.rides, counters.deliveries, counters.rescues].flatMap((it) => Object.values(it)).reduce((a, b) => a + b, 0);
  });
  const before = await total();
  await until("more was asked for", async () => (await total()) > before, 45_000);
  await until("the activity has lines", () => page.locator("#ticker li").count());
  const onDuty = Number((await page.locator("#on-duty").textContent()).replaceAll(",", ""));
  assert.ok(onDuty > 0, "somebody is on duty");
});

test("a click on a mark opens the inspector, which follows the actor's state", { timeout: 120_000 }, async () => {
  await openLive();
  // Somebody on the map, away from the edges and from others, so that the click means them.
  const found = await until("a driver stands alone", () => page.evaluate(() => {
    const { board, camera, vehicles } = globalThis.outrider;
    const places = [...board.marks.values()].map((mark) => [mark, vehicles.where(mark.id)]).filter(([, at]) => at)
      .map(([mark, at]) => ({ id: mark.id, kind: mark.kind, x: camera.screenX(at[0]), y: camera.screenY(at[1]) }));
    const isLonely = (it) => places.every((other) => other === it || Math.hypot(other.x - it.x, other.y - it.y) > 30);
    return places.find((it) => it.kind === "driver" && it.x > 60 && it.y > 60 && it.x < camera.width - 80 && it.y < camera.height - 130 && isLonely(it));
  }));
  const box = await page.locator("#map").boundingBox();
  await page.mouse.click(box.x + found.x, box.y + found.y);
  await page.locator("#inspector h2").waitFor();
  assert.match(await page.locator("#inspector h2").textContent(), /^Driver|^Ride|^Delivery|^Rescue/);
  await until("its state is shown", () => page.locator("#inspector .tree .leaf").count());

  // An order that somebody cancels changes now; what is shown must follow.
  const version = () => page.locator("#inspector .facts dd").first().textContent();
  await until("an order's state changes while it is watched", async () => {
    const id = await page.evaluate(() => [...globalThis.outrider.board.marks.values()].findLast(({ kind, status }) => kind === "order" && ["searching", "assigned", "en_route_pickup", "at_pickup"].includes(status))?.id);
    if (!id) return false;
    await page.evaluate((it) => globalThis.outrider.inspector.open(it), id);
    await until("its state is shown", () => page.locator("#inspector .facts dd").count());
    const first = await version();
    if (!await node.cancel(id)) return false;
    return until("it changed", async () => (await version()) !== first, 15_000);
  }, 75_000);
  assert.ok(await page.locator("#inspector .events li").count() > 0, "the event that changed it is listed");
  assert.equal(new URL(page.url()).hash, `#${await page.evaluate(() => globalThis.outrider.inspector.id)}`);
  assert.equal(await page.locator("#inspector img, #inspector script").count(), 0, "what people wrote stays text");
  await page.screenshot({ path: `${SHOTS}inspector.png` });

  await page.keyboard.press("Escape");
  assert.ok(await page.locator("#inspector").isHidden(), "Escape closes it");
  assert.deepEqual(complaints, []);
});

test("search finds a driver by the end of its id", { timeout: 60_000 }, async () => {
  await openLive();
  const id = await page.evaluate(() => [...globalThis.outrider.board.marks.values()].find(({ kind }) => kind === "driver").id);
  await page.keyboard.press("/");
  await page.keyboard.type(id.slice(-8));
  await page.locator("#matches [role=option]").first().waitFor();
  await page.keyboard.press("Enter");
  await until("the inspector shows it", async () => (await page.evaluate(() => globalThis.outrider.inspector.id)) === id);
});

test("an unknown actor is a clear answer", { timeout: 60_000 }, async () => {
  await page.goto(`${node.url}#order-${"0".repeat(32)}`);
  await until("it says so", async () => /does not show it/.test(await page.locator("#inspector").textContent()));
});

test("a cut connection shows, and comes back by itself", { timeout: 90_000 }, async () => {
  await openLive();
  await page.evaluate(() => {
    globalThis.isCut = true;
    globalThis.openSockets.forEach((socket) => socket.close());
  });
  await until("the badge says reconnecting", async () => (await state()) === "reconnecting");
  assert.match(await page.locator("#badge").textContent(), /Reconnecting/);
  await page.screenshot({ path: `${SHOTS}reconnecting.png` });
  await page.evaluate(() => (globalThis.isCut = false));
  await isLive();
  await page.evaluate(() => {
    globalThis.frames = 0;
    globalThis.outrider.board.addEventListener("marks", () => (globalThis.frames += 1));
  });
  await until("the board goes on", () => page.evaluate(() => globalThis.frames > 2));
});

test("rubbish instead of a token is refused in words, and a good one then does", { timeout: 60_000 }, async () => {
  const good = (await (await fetch(`${node.url}demo/token`)).json()).token;
  await page.route("**/demo/token", (route) => route.fulfill({ status: 404, body: "" }));
  await page.goto(node.url);
  await page.locator("#sign-in[open]").waitFor();
  await page.fill("#token", "rubbish");
  await page.keyboard.press("Enter");
  await until("it says why", async () => /refused this token/.test(await page.locator("#sign-in-error").textContent()));
  await page.screenshot({ path: `${SHOTS}sign-in.png` });
  await page.fill("#token", good);
  await page.keyboard.press("Enter");
  await isLive();
});

test("on a phone the map stays usable and the panels are a tap away", { timeout: 60_000 }, async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  await openLive();
  assert.ok(await page.locator("#overview").isVisible());
  await page.locator(".tabs [data-tab=activity]").click();
  assert.ok(await page.locator("#activity").isVisible());
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, `${overflow} px too wide`);
  await page.screenshot({ path: `${SHOTS}phone.png` });
});
