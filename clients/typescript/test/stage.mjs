// What the tests stand on: a real node, and a way to it that breaks.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const BINARY = process.env.OUTRIDER_BIN ?? new URL("../../../target/release/outrider", import.meta.url).pathname;

/** Starts a node; resolves to {port, url, token, close}. */
export async function startNode(settings = {}) {
  const data = await mkdtemp(join(tmpdir(), "outrider-client-"));
  const env = {
    ...process.env,
    OUTRIDER_JOURNAL__DIR: data,
    OUTRIDER_GATEWAY__LISTEN: "127.0.0.1:0",
    OUTRIDER_GATEWAY__SESSION__COMMANDS_PER_S: "1000",
    OUTRIDER_GATEWAY__SESSION__COMMANDS_BURST: "1000",
    OUTRIDER_GATEWAY__SESSION__FRAMES_PER_S: "1000",
    OUTRIDER_GATEWAY__SESSION__FRAMES_BURST: "1000",
    ...settings,
  };
  const node = spawn(BINARY, ["serve"], { env, stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise((resolve) => node.on("exit", resolve));
  const port = await new Promise((resolve, reject) => {
    node.stdout.on("data", (text) => {
      const address = /http:\/\/127\.0\.0\.1:(\d+)\//.exec(String(text));
      if (address) resolve(Number(address[1]));
    });
    node.on("exit", (code) => reject(new Error(`the node ended with ${code}`)));
    node.on("error", reject);
  });
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    async token(role, id = "", ttl = "1h") {
      const { stdout } = await run(BINARY, ["token", "--role", role, "--id", id, "--ttl", ttl], { env });
      return stdout.trim();
    },
    async close() {
      node.kill("SIGTERM");
      const late = setTimeout(() => node.kill("SIGKILL"), 10_000);
      await ended;
      clearTimeout(late);
      await rm(data, { recursive: true, force: true });
    },
  };
}

/** A way to `port` that can be cut, made to hang, slowed down, and broken in the middle of a frame. */
export async function startProxy(port) {
  const ways = new Set();
  let delay = 0;
  let isHanging = false;
  let truncates = false;
  let isOpen = true;
  let refusesUpgrades = false;
  const server = createServer((near) => {
    if (!isOpen) return near.destroy();
    const far = connect(port, "127.0.0.1");
    const way = { near, far, end: () => { near.destroy(); far.destroy(); ways.delete(way); } };
    ways.add(way);
    const pass = (from, to) => from.on("data", (bytes) => {
      if (isHanging) return;
      if (refusesUpgrades && from === near && /\r\nupgrade: websocket\r\n/i.test(String(bytes))) {
        near.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
      }
      setTimeout(() => {
        if (to.destroyed) return;
        if (truncates && to === near && bytes.length > 40) {
          truncates = false;
          to.write(bytes.subarray(0, bytes.length - 20), way.end);
        } else {
          to.write(bytes);
        }
      }, delay);
    });
    pass(near, far);
    pass(far, near);
    for (const end of [near, far]) {
      end.on("error", way.end);
      end.on("close", way.end);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `ws://127.0.0.1:${server.address().port}/v1/ws`,
    /** All connections break. */
    cut: () => ways.forEach((way) => way.end()),
    /** Nothing comes through any more, and nobody is told; new connections do. */
    hang() {
      isHanging = true;
      setTimeout(() => { ways.forEach((way) => { way.near.removeAllListeners("data"); way.far.removeAllListeners("data"); }); isHanging = false; }, 50);
    },
    /** The next frame to the client comes in part, and then nothing. */
    truncate: () => (truncates = true),
    slow: (ms) => (delay = ms),
    /** Requests come through, and WebSockets do not; or they do again. */
    refuseUpgrades: (does) => (refusesUpgrades = does),
    /** Nobody comes through, or somebody does again. */
    open: (is) => (isOpen = is),
    close() {
      ways.forEach((way) => way.end());
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Resolves once `check` is truthy; fails after `patience` milliseconds, saying what for. */
export async function until(what, check, patience = 20_000) {
  const end = performance.now() + patience;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (performance.now() > end) throw new Error(`not within ${patience} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Orders of a rider, as the node has them. */
export async function orders(node, rider) {
  const token = await node.token("rider", rider);
  const answer = await fetch(`${node.url}/v1/orders?limit=100`, { headers: { authorization: `Bearer ${token}` } });
  return (await answer.json()).items;
}

export const RIDER = "rider-0192f3c8aaaa7000800000000000aaaa";
export const DRIVER = "driver-0192f3c8aaaa7000800000000000bbbb";
export const RIDE = { place_order: { kind: "delivery", stops: [{ at: { lat: -1.95, lon: 30.06 } }, { at: { lat: -1.93, lon: 30.1 } }] } };
