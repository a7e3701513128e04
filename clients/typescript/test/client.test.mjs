// The client in Node, against a real node and a network that breaks.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import WebSocket from "ws";
import { Client, RefusedError, mintCommandId } from "../dist/index.js";
import { DRIVER, RIDE, RIDER, orders, startNode, startProxy, until } from "./stage.mjs";

/** Silence is noticed within a second, whoever's it is, and nobody rests. */
const QUICK = {
  OUTRIDER_GATEWAY__SESSION__HEARTBEAT: "400ms",
  OUTRIDER_GATEWAY__SESSION__HEARTBEAT_AT_REST_MAX: "0s",
};

let node;
let token;
before(async () => {
  node = await startNode(QUICK);
  token = await node.token("rider", RIDER);
});
after(() => node?.close());

/** On a node that knows nothing of the jobs of other tests. */
async function alone(body) {
  const other = await startNode(QUICK);
  try {
    await body(other);
  } finally {
    await other.close();
  }
}

async function staged(body, { at = node, ...options } = {}) {
  const proxy = await startProxy(at.port);
  const client = new Client({ url: proxy.url, token: () => token, WebSocket, ...options });
  const welcomes = [];
  client.on("welcome", (welcome) => welcomes.push(welcome));
  try {
    await body({ at, client, proxy, welcomes });
  } finally {
    client.close();
    await proxy.close();
  }
}

/** With a rider who has no other jobs: more of them would not all be said again after a gap. */
const stagedAlone = (body) => alone(async (at) => {
  const riding = await at.token("rider", RIDER);
  await staged(body, { at, token: () => riding });
});

test("a command is answered with what it did, or with why not", () => staged(async ({ client }) => {
  client.connect();
  const done = await client.command(RIDE);
  assert.match(done.actor, /^order-[0-9a-f]{32}$/);
  const nowhere = { order: { id: "order-0192f3c8aaaa7000800000000000cccc", action: { cancel: { reason: "x" } } } };
  await assert.rejects(client.command(nowhere), (error) => error instanceof RefusedError && error.code === "not_found");
  assert.equal(client.pending, 0);
}));

test("what is wished without a connection is asked for when there is one", () => staged(async ({ client, proxy }) => {
  proxy.open(false);
  const done = client.command(RIDE);
  client.connect();
  await until("it tries again", () => client.state === "waiting");
  proxy.open(true);
  assert.match((await done).actor, /^order-/);
}));

test("a screen that asks often knows how far the node is, how long it has been silent, and when it tries again", () => staged(async ({ client, proxy }) => {
  assert.equal(client.roundTripMs, null);
  client.connect();
  await until("a heartbeat is answered", () => client.roundTripMs !== null);
  assert.ok(client.roundTripMs >= 0 && client.roundTripMs < 5000, String(client.roundTripMs));
  proxy.hang();
  await until("the silence is seen", () => client.silentMs > 300);
  proxy.open(false);
  await until("it waits for its next attempt", () => client.state === "waiting" && client.retryInMs > 0);
}, { heartbeatEvery: 100 }));

test("however often the connection breaks, each command happens once", () => staged(async ({ client, proxy, welcomes }) => {
  const before = (await orders(node, RIDER)).length;
  client.connect();
  proxy.slow(5);
  const answers = [];
  for (let n = 0; n < 40; n += 1) {
    answers.push(client.command(RIDE));
    if (n % 14 === 5) proxy.truncate();
    if (n % 7 === 3) {
      await until("it is live", () => client.state === "live");
      proxy.cut();
      await until("it is away", () => client.state !== "live");
    }
  }
  const actors = (await Promise.all(answers)).map(({ actor }) => actor);
  assert.equal(new Set(actors).size, 40);
  assert.equal((await orders(node, RIDER)).length, before + 40);
  assert.ok(welcomes.length > 4, "it came back again and again");
  assert.ok(welcomes.slice(1).some(({ resumed }) => resumed), JSON.stringify(welcomes));
}));

/** A later version; or the same one, if something else is expected of it, which no version says. */
function goesOn(last, view) {
  const expected = ({ eta, queue }) => JSON.stringify([eta ?? null, queue ?? null]);
  const isNews = !last || view.version > last.version || view.version === last.version && expected(view) !== expected(last);
  assert.ok(isNews, `${view.id} went from ${JSON.stringify(last)} to ${JSON.stringify(view)}`);
}

test("what was missed is heard after the client has come back, in order and once", () => staged(async ({ client, proxy, welcomes }) => {
  const versions = new Map();
  const pushes = [];
  client.on("frame", (frame) => {
    const view = frame.order;
    if (!view) return;
    goesOn(versions.get(view.id), view);
    versions.set(view.id, view);
  });
  client.on("push", (push) => pushes.push(push));
  client.connect();
  const { actor } = await client.command(RIDE);
  await until("its order is shown", () => versions.has(actor));
  proxy.open(false);
  proxy.cut();
  await until("it is away", () => client.state === "waiting");
  const shown = versions.get(actor).version;
  // Somebody else acts for the rider meanwhile.
  const answer = await fetch(`${node.url}/v1/orders/${actor}/actions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ cancel: { reason: "changed_mind" } }),
  });
  assert.equal(answer.status, 200, await answer.text());
  proxy.open(true);
  await until("what was missed is said", () => versions.get(actor).version > shown);
  assert.equal(welcomes.at(-1).resumed, true);
}));

test("what is subscribed to in a tunnel is told after it", () => stagedAlone(async ({ client, proxy, welcomes }) => {
  const told = [];
  client.connect();
  client.on("frame", (frame) => "rider" in frame && told.push(frame.rider.version));
  await client.command(RIDE);
  await until("it has heard of itself", () => told.length > 0);
  proxy.open(false);
  proxy.cut();
  await until("it is away", () => client.state !== "live");
  const before = told.length;
  client.subscribe("me");
  proxy.open(true);
  await until("it has come back", () => welcomes.length >= 2);
  assert.equal(welcomes[1].resumed, true);
  await until("it is told of itself once more", () => told.length > before);
}));

test("a way that leads nowhere is noticed", () => stagedAlone(async ({ client, proxy, welcomes }) => {
  client.connect();
  await until("it is live", () => client.state === "live");
  proxy.hang();
  await until("it is live again", () => welcomes.length >= 2);
  assert.equal(welcomes[1].resumed, true);
  assert.match((await client.command(RIDE)).actor, /^order-/);
}));

test("topics are followed again where a session does not go on", async () => {
  const forgetful = await startNode({ OUTRIDER_GATEWAY__RESUME_WITHIN: "0s" });
  const proxy = await startProxy(forgetful.port);
  const [riding, watching] = [await forgetful.token("rider", RIDER), await forgetful.token("dispatcher")];
  const rider = new Client({ url: proxy.url, token: () => riding, WebSocket });
  const staff = new Client({ url: proxy.url, token: () => watching, WebSocket });
  const welcomes = [];
  let status = "";
  staff.on("welcome", (welcome) => welcomes.push(welcome));
  staff.on("frame", (frame) => (status = frame.order?.status ?? status));
  try {
    rider.connect();
    staff.connect();
    const { actor } = await rider.command(RIDE);
    staff.subscribe({ order: actor });
    await until("it is shown", () => status === "searching");
    proxy.cut();
    await until("it is back", () => welcomes.length >= 2);
    assert.equal(welcomes[1].resumed, false);
    await rider.command({ order: { id: actor, action: { cancel: { reason: "changed_mind" } } } });
    await until("its end is shown", () => status === "cancelled_by_rider");
  } finally {
    rider.close();
    staff.close();
    await proxy.close();
    await forgetful.close();
  }
});

test("a network that refuses WebSockets is spoken through all the same, and left when it lets them pass", () => stagedAlone(async ({ at, client, proxy, welcomes }) => {
  proxy.refuseUpgrades(true);
  const versions = new Map();
  client.on("frame", (frame) => {
    const view = frame.order;
    if (!view) return;
    goesOn(versions.get(view.id), view);
    assert.equal(view.stops.length, 2, "views are whole");
    versions.set(view.id, view);
  });
  client.connect();
  const answers = [];
  for (let n = 0; n < 20; n += 1) {
    answers.push(client.command(RIDE));
    if (n % 7 === 3) {
      await until("it is live", () => client.state === "live");
      assert.equal(client.transport, "sse");
      proxy.cut();
      await until("it is away", () => client.state !== "live");
    }
  }
  const actors = (await Promise.all(answers)).map(({ actor }) => actor);
  assert.equal(new Set(actors).size, 20);
  assert.equal((await orders(at, RIDER)).length, 20);
  assert.ok(welcomes.slice(1).every(({ resumed }) => resumed), JSON.stringify(welcomes));
  await until("each is shown", () => actors.every((actor) => versions.has(actor)));
  // Longer than a node waits for somebody who says nothing.
  const n = welcomes.length;
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  assert.equal(welcomes.length, n, "its heartbeats are heard");

  proxy.refuseUpgrades(false);
  proxy.cut();
  await until("it waits", () => client.state === "waiting");
  client.retryNow();
  await until("it is back", () => client.state === "live");
  assert.equal(client.transport, "websocket");
  assert.equal(welcomes.at(-1).resumed, true, "it is the same session");
}));

test("a driver works by events and posts", () => alone(async (at) => {
  const [driving, token] = [await at.token("driver", DRIVER), await at.token("rider", RIDER)];
  await staged(async ({ client, proxy }) => {
    const pushes = [];
    client.on("push", (push) => pushes.push(Object.keys(push)[0]));
    client.connect();
    await client.command({ driver: { action: { set_duty: { duty: "on", vehicle: { kind: "moto", capacity_g: 50_000, skills: [] } } } } });
    client.position({ lat: -1.95, lon: 30.06 }, { accuracy_m: 5 });
    assert.equal(client.transport, "sse");
    const offered = new Promise((resolve) => client.on("push", (push) => push.offer && resolve(push.offer)));
    const riding = new Client({ url: proxy.url, token: () => token, WebSocket });
    riding.connect();
    const { actor } = await riding.command({ place_order: { ...RIDE.place_order, kind: "ride" } });
    const offer = await offered;
    await client.command({ driver: { action: { accept_offer: { offer: offer.id } } } });
    await until("it is the driver's", () => pushes.includes("assigned"));
    await riding.command({ order: { id: actor, action: { cancel: { reason: "changed_mind" } } } });
    await until("it is not any more", () => pushes.includes("released"));
    await client.command({ driver: { action: { set_duty: { duty: "off" } } } });
    riding.close();
  }, { at, token: () => driving, transport: "sse" });
}));

test("a token that is not believed ends a stream too, and goodbye is said", async () => {
  let n = 0;
  const url = `ws://127.0.0.1:${node.port}/v1/ws`;
  const asked = new Client({ url, transport: "sse", token: () => { n += 1; return "a.b.c"; } });
  asked.connect();
  await until("it is refused", () => asked.state === "refused");
  assert.equal(n, 2);
  asked.close();
  const client = new Client({ url, transport: "sse", token: () => token });
  const ends = [];
  client.on("state", (state) => ends.push(state));
  client.connect();
  await until("it is live", () => client.state === "live");
  client.close();
  assert.equal(ends.at(-1), "closed");
});

test("a driver hears each push once and acknowledges it", async () => {
  const driving = await node.token("driver", DRIVER);
  await staged(async ({ client, proxy }) => {
    const offers = [];
    client.on("push", (push) => push.offer && offers.push(push.offer.id));
    client.connect();
    await client.command({ driver: { action: { set_duty: { duty: "on", vehicle: { kind: "moto", capacity_g: 50_000, skills: [] } } } } });
    client.position({ lat: -1.95, lon: 30.06 }, { accuracy_m: 5 });
    const riding = new Client({ url: proxy.url, token: () => token, WebSocket });
    riding.connect();
    await riding.command({ place_order: { ...RIDE.place_order, kind: "ride" } });
    await until("it is offered", () => offers.length > 0);
    proxy.cut();
    await until("it is back", () => client.state === "live" && client.pending === 0);
    // Longer than a push that is not acknowledged waits to be said again.
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    assert.equal(offers.length, new Set(offers).size);
    riding.close();
  }, { token: () => driving });
});

test("a token that is not believed ends it, after a second one", async () => {
  let n = 0;
  const asked = new Client({ url: `ws://127.0.0.1:${node.port}/v1/ws`, WebSocket, token: () => { n += 1; return "a.b.c"; } });
  asked.connect();
  await until("it is refused", () => asked.state === "refused");
  assert.equal(n, 2);
  asked.close();
});

test("a session outlasts its token", async () => {
  const long = await node.token("rider", RIDER, "1h");
  const short = await node.token("rider", RIDER, "6s");
  let current = short;
  await staged(async ({ client, welcomes }) => {
    client.connect();
    await until("it is live", () => client.state === "live");
    current = long;
    await client.renew();
    await new Promise((resolve) => setTimeout(resolve, 7_500));
    assert.equal(client.state, "live");
    assert.equal(welcomes.length, 1, "nothing began anew");
  }, { token: () => current });
});

test("ids are UUIDv7 in display form and sort by time", () => {
  const ids = [1, 2_000, Date.now()].map((now) => mintCommandId(now));
  for (const id of ids) assert.match(id, /^command-[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
  assert.deepEqual([...ids].sort(), ids);
});
