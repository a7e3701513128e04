// What a client says first, and when it comes back: to a node and by a clock that are played here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../dist/index.js";

/** A socket of which one sees what is said; `open` and `hears` play the node. */
class Socket {
  static all = [];
  readyState = 0;
  said = [];

  constructor(url) {
    this.url = url;
    Socket.all.push(this);
  }

  send(text) {
    this.said.push(JSON.parse(text));
  }

  open() {
    this.readyState = 1;
    this.onopen();
  }

  hears(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }

  close() {
    this.readyState = 3;
  }

  breaks(code = 1006) {
    this.readyState = 3;
    this.onclose({ code });
  }
}

const hello = (session) => ({ hello: { session, server_time: Date.now(), heartbeat_ms: 15_000, frame_bytes_max: 65_536, frames_per_s: 50 } });
const welcome = (resumed) => ({ welcome: { principal: "dispatcher", expires_at: Date.now() + 60_000, resumed } });
const heartbeat = (heartbeat_ms) => ({ heartbeat: { server_time: Date.now(), heartbeat_ms } });

/** Time passes when the test says so, and then whatever is due is done. */
function playTime(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_800_000_000_000 });
  return async (ms) => {
    const done = () => new Promise((resolve) => setImmediate(resolve));
    await done();
    for (let left = ms; left > 0; left -= 50) {
      t.mock.timers.tick(Math.min(50, left));
      await done();
    }
  };
}

test("who begins says at once what it follows, and once; who goes on waits to hear what stands", async (t) => {
  const pass = playTime(t);
  const url = "ws://node/v1/ws";
  const sockets = () => Socket.all.filter((socket) => socket.url === url);
  const client = new Client({ url, token: () => "a-token", WebSocket: Socket });
  try {
    client.subscribe("board");
    client.subscribe({ order: "order-1" });
    client.connect();
    await pass(0);
    const [first] = sockets();
    first.open();
    assert.deepEqual(first.said.splice(0), [{ identify: { token: "a-token" } }, { subscribe: "board" }, { subscribe: { order: "order-1" } }]);

    // What is wanted otherwise meanwhile is said when it is let in.
    client.unsubscribe({ order: "order-1" });
    client.subscribe("me");
    client.unsubscribe({ order: "order-2" });
    assert.deepEqual(first.said, []);
    first.hears(hello("session-1"));
    first.hears(welcome(false));
    assert.deepEqual(first.said.splice(0), [{ unsubscribe: { order: "order-1" } }, { subscribe: "me" }]);

    first.hears({ rider: { id: "rider-1", version: 1 } });
    first.breaks();
    await pass(500);
    const [, second] = sockets();
    second.open();
    assert.deepEqual(second.said.splice(0), [{ identify: { token: "a-token", resume: { session: "session-1", heard: 3 } } }]);
    second.hears(hello("session-2"));
    second.hears(welcome(false));
    assert.deepEqual(second.said, [{ subscribe: "board" }, { subscribe: "me" }]);
  } finally {
    client.close();
  }
});

/** How long it is until the next heartbeat of whoever is at rest, in milliseconds. */
const BEAT = 55_000;
const AT_REST = 2 * BEAT;
/** When it comes back if chance is always `CHANCE`: soon, or, after a rest, late. */
const CHANCE = 0.9;
const SOON = 350;
const LATE = 18_000;

/** Clients that were let in and told how often to be heard, each with a node of its own. */
async function staged(t, body) {
  const pass = playTime(t);
  const clients = [];
  const letIn = async (heartbeat_ms = AT_REST, random = CHANCE) => {
    const url = `ws://node-${Socket.all.length}/v1/ws`;
    const client = new Client({ url, token: () => "a-token", WebSocket: Socket, random: () => random });
    clients.push(client);
    client.connect();
    await pass(0);
    const sockets = () => Socket.all.filter((socket) => socket.url === url);
    const [socket] = sockets();
    socket.open();
    socket.hears(hello("session-1"));
    socket.hears(welcome(false));
    socket.hears(heartbeat(heartbeat_ms));
    socket.said.splice(0);
    return { client, socket, sockets };
  };
  try {
    await body({ letIn, pass });
  } finally {
    for (const client of clients) client.close();
  }
}

/** Asks for something; nobody waits for what comes of it. */
const command = (client) => void client.command({ set_duty: "off" }).catch(() => {});
const DONE = { ok: { actor: "driver-1", version: 1 } };
const ORDER = { order: "order-1" };

test("whoever is cut off at rest lets those who have a job come back first, until it wants something", (t) => staged(t, async ({ letIn, pass }) => {
  const [busy, resting, lucky] = [await letIn(null), await letIn(), await letIn(AT_REST, 0)];
  const wants = [
    command,
    (client) => client.subscribe(ORDER),
    (client) => client.position({ lat: -1.95, lon: 30.06 }),
    (client) => client.rouse(),
    (client) => client.retryNow(),
  ];
  const roused = [];
  for (const want of wants) roused.push({ want, ...(await letIn()) });
  for (const { socket } of [busy, resting, lucky, ...roused]) socket.breaks();
  assert.equal(busy.client.retryInMs, SOON);
  assert.equal(resting.client.retryInMs, LATE);
  assert.equal(lucky.client.retryInMs, 125);
  for (const { client, want } of roused) {
    assert.equal(client.retryInMs, LATE);
    want(client);
    assert.ok(client.retryInMs <= SOON, `${client.retryInMs}`);
  }
  await pass(SOON + 50);
  for (const { want, sockets } of roused) assert.equal(sockets().length, 2, String(want));
  assert.equal(resting.client.state, "waiting");
  assert.equal(resting.sockets().length, 1);
  await pass(LATE);
  assert.equal(resting.sockets().length, 2);
}));

test("whoever wanted something before it was cut off is not at rest, until it is known to have arrived", (t) => staged(t, async ({ letIn, pass }) => {
  const view = { rider: { id: "rider-1", version: 1 } };
  const cases = [
    { wants: command, heard: [], comes: SOON },
    { wants: (client) => client.subscribe("me"), heard: [], comes: SOON },
    { wants: (client) => client.subscribe("me"), heard: [view], comes: LATE },
    // Of a rider who never ordered there is nothing to tell.
    { wants: (client) => client.subscribe("me"), heard: [heartbeat(null)], comes: LATE },
    { wants: (client) => client.subscribe(ORDER), heard: [heartbeat(null)], comes: SOON },
    { wants: (client) => client.subscribe(ORDER), heard: [{ order: { id: "order-1", version: 1 } }], comes: LATE },
  ];
  for (const { wants, heard, comes } of cases) {
    const { client, socket } = await letIn();
    wants(client);
    // As long as it takes until it asks whether that arrived.
    await pass(300);
    for (const frame of heard) socket.hears(frame);
    socket.breaks();
    assert.equal(client.retryInMs, comes, `${wants} ${JSON.stringify(heard)}`);
  }
}));

test("whoever has just got something done is not at rest until it is told so again", (t) => staged(t, async ({ letIn }) => {
  const [done, told, asBefore] = [await letIn(), await letIn(), await letIn()];
  for (const { client, socket } of [done, told, asBefore]) {
    const answered = client.command({ set_duty: "off" });
    const { id } = socket.said.find((frame) => frame.command).command;
    socket.hears({ result: { id, outcome: DONE } });
    assert.deepEqual(await answered, DONE.ok);
    // That it is heard is no news of how often it is to be.
    socket.hears(heartbeat(undefined));
  }
  told.socket.hears(heartbeat(2 * AT_REST));
  // At the longest interval there is never another one to be told.
  asBefore.socket.hears(heartbeat(undefined));
  for (const { socket } of [done, told, asBefore]) socket.breaks();
  assert.equal(done.client.retryInMs, SOON);
  assert.equal(told.client.retryInMs, LATE);
  assert.equal(asBefore.client.retryInMs, LATE);
}));

test("whoever is told to go at rest goes then, and whoever must be mended takes its time", (t) => staged(t, async ({ letIn }) => {
  for (const [code, wait] of [[1012, SOON], [1013, SOON], [4401, SOON], [4408, SOON], [1002, 15_000], [1007, 15_000], [1008, 15_000], [1009, 15_000]]) {
    const { client, socket } = await letIn();
    socket.breaks(code);
    assert.ok(client.retryInMs >= wait && client.retryInMs <= wait + SOON, `${code}: ${client.retryInMs}`);
  }
}));

test("how long a node asks to wait is waited, but for a network that is back", (t) => staged(t, async ({ letIn, pass }) => {
  for (const code of [1012, 1006]) {
    const { client, socket, sockets } = await letIn();
    socket.hears({ goodbye: { refused: { code: "draining", message: "this node is leaving", retry_after_ms: 5_000 } } });
    socket.breaks(code);
    assert.equal(client.retryInMs, 5_000 + SOON);
    client.rouse();
    assert.equal(client.retryInMs, 5_000 + SOON);
    client.retryNow();
    await pass(0);
    assert.equal(sockets().length, 2);
  }
}));

test("how long a node asks to wait is waited, too, where it says nothing more and the socket stays", (t) => staged(t, async ({ letIn, pass }) => {
  const { client, socket, sockets } = await letIn(null);
  socket.hears({ goodbye: { refused: { code: "busy", message: "too many are here", retry_after_ms: 5_000 } } });
  await pass(30_000);
  assert.equal(client.state, "waiting");
  assert.equal(sockets().length, 1);
  await pass(5_000);
  assert.equal(sockets().length, 2);
}));

test("how long a node asks to wait is waited where there are no WebSockets, too", async (t) => {
  const pass = playTime(t);
  for (const [status, said, wait] of [[503, "7", 7_000], [429, "2", 2_000], [503, "Wed, 21 Oct 2026 07:28:00 GMT", 0], [503, null, 0]]) {
    const answer = () => new Response("{}", { status, headers: said ? { "retry-after": said } : {} });
    const client = new Client({ url: "ws://node/v1/ws", transport: "sse", token: () => "a-token", fetch: async () => answer(), random: () => CHANCE });
    client.connect();
    await pass(0);
    assert.equal(client.state, "waiting");
    assert.equal(client.retryInMs, wait + SOON, `${status} ${said}`);
    client.close();
  }
});

test("a session that goes on elsewhere is not taken back", (t) => staged(t, async ({ letIn, pass }) => {
  const { client, socket, sockets } = await letIn();
  const asked = client.command({ set_duty: "off" });
  socket.breaks(4409);
  await assert.rejects(asked, /closed/);
  assert.equal(client.state, "closed");
  await pass(60_000);
  assert.equal(sockets().length, 1);
}));

test("a way that died at rest is noticed when something is said, and not when it would have been said anyway", (t) => staged(t, async ({ letIn, pass }) => {
  const said = [(client) => client.subscribe(ORDER), (client) => client.position({ lat: -1.95, lon: 30.06 })];
  for (const say of said) {
    const { client, socket } = await letIn();
    await pass(BEAT - 1_000);
    assert.deepEqual(socket.said, []);
    say(client);
    await pass(300);
    assert.ok(socket.said.length === 2 && "heartbeat" in socket.said[1], JSON.stringify(socket.said));
    await pass(19_000);
    assert.equal(client.state, "live");
    await pass(1_500);
    assert.notEqual(client.state, "live", "it would have been silent for half a minute more");
    assert.equal(socket.readyState, 3);
    client.close();
  }
}));

test("a way that died at rest while nothing was said is noticed by the next heartbeat, and left to others first", (t) => staged(t, async ({ letIn, pass }) => {
  const { client, socket } = await letIn();
  await pass(BEAT + 300);
  assert.ok(socket.said.length === 1 && "heartbeat" in socket.said[0], JSON.stringify(socket.said));
  await pass(19_500);
  assert.equal(client.state, "live");
  await pass(1_000);
  assert.equal(client.state, "waiting");
  assert.ok(client.retryInMs > LATE - 1_500, `${client.retryInMs}`);
}));

test("whoever knows of nothing is at rest, too, where its way died without a word", (t) => staged(t, async ({ letIn, pass }) => {
  const { client, socket } = await letIn();
  client.subscribe("me");
  await pass(300);
  socket.hears(heartbeat(null));
  await pass(BEAT + 19_500);
  assert.equal(client.state, "live");
  await pass(1_000);
  assert.equal(client.state, "waiting");
  assert.ok(client.retryInMs > LATE - 1_500, `${client.retryInMs}`);
}));

test("what is not answered puts off no heartbeat, and many positions at rest ask no more often than is usual", (t) => staged(t, async ({ letIn, pass }) => {
  for (const heartbeat_ms of [null, AT_REST]) {
    const { client, socket } = await letIn(heartbeat_ms);
    for (let n = 0; n < 30; n += 1) {
      client.position({ lat: -1.95, lon: 30.06 });
      await pass(1_000);
      socket.hears(heartbeat(undefined));
    }
    const beats = socket.said.filter((frame) => "heartbeat" in frame).length;
    assert.ok(beats >= 3 && beats <= 5, `${beats} in 30 s`);
    client.close();
  }
}));

test("what is refused for a moment is wished again as another command, three times, and what is refused for longer is not", (t) => staged(t, async ({ letIn, pass }) => {
  const { client, socket } = await letIn(null);
  const said = () => socket.said.filter((frame) => frame.command).map((frame) => frame.command.id);
  const refuses = (id, refused) => socket.hears({ result: { id, outcome: { refused: { message: "", ...refused } } } });
  const ends = [];
  const id = "command-0192f3c8aaaa70008000fffffffffffe";
  client.command({ driver: { action: { set_duty: { duty: "off" } } } }, id).catch((error) => ends.push(error.code));
  const asked = [id, "command-0192f3c8aaaa70008000ffffffffffff", "command-0192f3c8aaaa70008000000000000000", "command-0192f3c8aaaa70008000000000000001"];
  for (let n = 0; n < asked.length; n += 1) {
    assert.deepEqual(said(), asked.slice(0, n + 1));
    refuses(asked[n], { code: "too_far", retry_after_ms: 500 });
    await pass(450);
    assert.equal(said().length, n + 1, "not before it was told to");
    await pass(350);
  }
  assert.deepEqual([said(), ends, client.pending], [asked, ["too_far"], 0]);
  for (const refused of [{ code: "too_far" }, { code: "too_early", retry_after_ms: 60_000 }, { code: "too_early", retry_after_ms: 0 }]) {
    client.command({ driver: { action: { set_duty: { duty: "off" } } } }).catch((error) => ends.push(error.code));
    refuses(said().at(-1), refused);
    await pass(0);
    assert.equal(ends.at(-1), refused.code);
  }
}));

test("without a connection the latest position waits, and is said before any command", (t) => staged(t, async ({ letIn, pass }) => {
  const { client, socket, sockets } = await letIn(null);
  socket.breaks();
  const place = (lat) => client.position({ lat, lon: 30.06 }, { sampled_at: 1_800_000_000_000 + lat });
  const arrive = { order: { id: "order-1", action: { arrive: {} } } };
  place(1);
  client.command(arrive).catch(() => {});
  place(2);
  await pass(SOON + 50);
  const [, again] = sockets();
  again.open();
  again.hears(hello("session-2"));
  assert.ok(!again.said.some((frame) => frame.position), "not before it is let in");
  again.hears(welcome(true));
  const said = again.said.filter((frame) => frame.position ?? frame.command);
  assert.deepEqual(said.map((frame) => frame.position ?? frame.command.wish), [{ sampled_at: 1_800_000_000_002, at: { lat: 2, lon: 30.06 } }, arrive]);
  // Once.
  again.breaks();
  await pass(1_000);
  const [, , third] = sockets();
  third.open();
  third.hears(hello("session-3"));
  third.hears(welcome(true));
  assert.ok(!third.said.some((frame) => frame.position));
}));

test("a position that was taken before the node's clock was known is said by that clock", async (t) => {
  const pass = playTime(t);
  const url = "ws://clock/v1/ws";
  const client = new Client({ url, token: () => "a-token", WebSocket: Socket });
  try {
    const taken = Date.now();
    client.position({ lat: 1, lon: 30.06 });
    client.connect();
    await pass(0);
    const [socket] = Socket.all.filter((socket) => socket.url === url);
    socket.open();
    await pass(1_000);
    const { hello: first } = hello("session-1");
    socket.hears({ hello: { ...first, server_time: Date.now() + 600_000 } });
    socket.hears(welcome(false));
    const said = socket.said.filter((frame) => frame.position).map((frame) => frame.position.sampled_at);
    assert.deepEqual(said, [taken + 600_000]);
  } finally {
    client.close();
  }
});

test("what waits for a person is said at once, and what passes is waited for", (t) => staged(t, async ({ letIn, pass }) => {
  const { client, socket } = await letIn(null);
  const ends = [];
  for (const code of ["quarantined", "busy", "rate_limited", "unavailable", "draining"]) {
    client.command({ driver: { action: { set_duty: { duty: "off" } } } }).catch((error) => ends.push(error.code));
    const { id } = socket.said.filter((frame) => frame.command).at(-1).command;
    socket.hears({ result: { id, outcome: { refused: { code, message: "" } } } });
  }
  await pass(0);
  assert.deepEqual([ends, client.pending], [["quarantined"], 4]);
}));
