// What a client says first, to a node that is played here.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../dist/index.js";

/** A socket of which one sees what is said; `open` and `hears` play the node. */
class Socket {
  static all = [];
  readyState = 0;
  said = [];

  constructor() {
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

  breaks() {
    this.readyState = 3;
    this.onclose({ code: 1006 });
  }
}

const hello = (session) => ({ hello: { session, server_time: Date.now(), heartbeat_ms: 15_000, frame_bytes_max: 65_536, frames_per_s: 50 } });
const welcome = (resumed) => ({ welcome: { principal: "dispatcher", expires_at: Date.now() + 60_000, resumed } });

async function next(n) {
  for (let turns = 0; Socket.all.length < n && turns < 200; turns += 1) await new Promise((resolve) => setTimeout(resolve, 20));
  return Socket.all[n - 1];
}

test("who begins says at once what it follows, and once; who goes on waits to hear what stands", async () => {
  const client = new Client({ url: "ws://node/v1/ws", token: () => "a-token", WebSocket: Socket });
  try {
    client.subscribe("board");
    client.subscribe({ order: "order-1" });
    client.connect();
    const first = await next(1);
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
    const second = await next(2);
    second.open();
    assert.deepEqual(second.said.splice(0), [{ identify: { token: "a-token", resume: { session: "session-1", heard: 3 } } }]);
    second.hears(hello("session-2"));
    second.hears(welcome(false));
    assert.deepEqual(second.said, [{ subscribe: "board" }, { subscribe: "me" }]);
  } finally {
    client.close();
  }
});

/** A client that was let in and told how often to be heard, and then broke; chance is always `random`. */
async function brokenOff(random, heartbeat_ms) {
  const client = new Client({ url: "ws://node/v1/ws", token: () => "a-token", WebSocket: Socket, random: () => random });
  const n = Socket.all.length + 1;
  client.connect();
  const socket = await next(n);
  socket.open();
  socket.hears(hello(`session-${n}`));
  socket.hears(welcome(false));
  socket.hears({ heartbeat: { server_time: Date.now(), heartbeat_ms } });
  socket.breaks();
  return client;
}

test("whoever is cut off at rest lets those who have a job come back first, until it wants something", async () => {
  const AT_REST = 110_000;
  const [busy, resting, lucky] = [await brokenOff(0.9, null), await brokenOff(0.9, AT_REST), await brokenOff(0, AT_REST)];
  const wants = [
    (client) => void client.command({ set_duty: "off" }).catch(() => {}),
    (client) => client.subscribe({ order: "order-1" }),
    (client) => client.retryNow(),
  ];
  const roused = await Promise.all(wants.map(() => brokenOff(0.9, AT_REST)));
  try {
    assert.ok(busy.retryInMs < 400, `${busy.retryInMs}`);
    assert.ok(resting.retryInMs > 13_000 && resting.retryInMs <= 15_000, `${resting.retryInMs}`);
    assert.ok(lucky.retryInMs < 400, `${lucky.retryInMs}`);
    const n = Socket.all.length;
    wants.forEach((want, i) => want(roused[i]));
    for (const client of roused) assert.ok(client.retryInMs < 400, `${client.retryInMs}`);
    await next(n + roused.length);
    assert.equal(resting.state, "waiting");
  } finally {
    for (const client of [busy, resting, lucky, ...roused]) client.close();
  }
});
