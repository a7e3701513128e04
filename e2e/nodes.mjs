// What the console's tests stand on: real nodes, and a browser.

import { execFile, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
  // Of a page that a test answers for itself, browsers do not know that it comes from here.
  "--disable-features=LocalNetworkAccessChecks",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
];
const run = promisify(execFile);

/** A node with a crowd, which gives a dispatcher's token away. */
export function startDemo() {
  return startNode(["demo", "--for", "10m"], "demo/token");
}

/** A node with nobody on it, which is killed and started again at will and remembers; `more` are settings of its own. */
export function startQuiet(more = {}) {
  return startNode(["serve"], "health/ready", more);
}

/**
 * Starts nodes that share a database of their own in OUTRIDER_TEST_POSTGRES, the broker of OUTRIDER_TEST_NATS and a key. Resolves
 * to {nodes, close}; null, if there are no such servers.
 */
export async function startCluster(names) {
  const { OUTRIDER_TEST_POSTGRES: server, OUTRIDER_TEST_NATS: nats, OUTRIDER_BIN: binary } = process.env;
  if (!server || !nats) return null;
  const dir = await mkdtemp(join(tmpdir(), "outrider-e2e-"));
  const name = `console_${randomBytes(6).toString("hex")}`;
  await run("psql", ["--no-psqlrc", "--quiet", "--dbname", server, "--command", `CREATE DATABASE ${name}`]);
  const key = join(dir, "key.pem");
  await writeFile(key, generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  const shared = {
    OUTRIDER_JOURNAL__KIND: "postgres", OUTRIDER_JOURNAL__URL: server.replace("/postgres?", `/${name}?`), OUTRIDER_AUTH__KEY_FILE: key,
    OUTRIDER_CLUSTER__NATS: nats, OUTRIDER_CLUSTER__NAME: name, OUTRIDER_CLUSTER__SETTLE: "100ms",
  };
  await run(binary, ["migrate"], { env: { ...process.env, ...shared, OUTRIDER_JOURNAL__DIR: dir } });
  const nodes = await Promise.all(names.map((node) => startNode(["serve"], "health/ready", { ...shared, OUTRIDER_CLUSTER__NODE: node })));
  const close = async () => {
    await Promise.all(nodes.map((node) => node.close()));
    await run("psql", ["--no-psqlrc", "--quiet", "--dbname", server, "--command", `DROP DATABASE ${name} WITH (FORCE)`]);
    await rm(dir, { recursive: true, force: true });
  };
  return { nodes, close };
}

/**
 * Starts the program that OUTRIDER_BIN names, and waits until `ready` is answered. Resolves to {url, token, ask, signal, kill,
 * start, close}: `token(role, id)` signs one, `ask(token, path, body)` asks over HTTP, `signal` sends one, `kill` ends it with
 * SIGKILL and `start` starts it where it was.
 */
async function startNode(args, ready, more = {}) {
  const binary = process.env.OUTRIDER_BIN;
  if (!binary) throw new Error("OUTRIDER_BIN must name the program that is tested");
  const data = await mkdtemp(join(tmpdir(), "outrider-e2e-"));
  const port = await freePort();
  const env = { ...process.env, OUTRIDER_GATEWAY__LISTEN: `127.0.0.1:${port}`, OUTRIDER_JOURNAL__DIR: data, ...more };
  const url = `http://127.0.0.1:${port}/`;
  let [node, ended, said] = [null, null, ""];

  const start = async () => {
    node = spawn(binary, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [node.stdout, node.stderr]) stream.on("data", (text) => (said = (said + text).slice(-4000)));
    ended = new Promise((resolve) => node.on("exit", resolve));
    await until(`the node answers ${ready}`, async () => {
      if (node.exitCode !== null) throw new Error(`the node ended:\n${said}`);
      return (await fetch(`${url}${ready}`).catch(() => null))?.ok;
    }, 60_000);
  };
  const end = async (signal) => {
    if (node.exitCode !== null || node.signalCode !== null) return;
    node.kill(signal);
    const late = setTimeout(() => node.kill("SIGKILL"), 15_000);
    await ended;
    clearTimeout(late);
  };
  const close = async () => {
    await end("SIGTERM");
    await rm(data, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await close();
    throw new Error(`${error.message}\n${said}`);
  }
  return {
    url, close, start,
    kill: () => end("SIGKILL"),
    signal: (name) => node.kill(name),
    token: async (role, id) => {
      // A demo keeps its key with its journal.
      const dir = args[0] === "demo" ? join(data, "demo") : data;
      const { stdout } = await run(binary, ["token", "--role", role, ...(id ? ["--id", id] : [])], { env: { ...env, OUTRIDER_JOURNAL__DIR: dir } });
      return stdout.trim();
    },
    ask: async (token, path, body) => {
      const answer = await fetch(`${url}${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return { status: answer.status, body: await answer.json().catch(() => null) };
    },
  };
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export function startBrowser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/** Resolves once `check` is truthy; fails after `patience` milliseconds, saying what for. */
export async function until(what, check, patience = 20_000) {
  const end = performance.now() + patience;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (performance.now() > end) throw new Error(`not within ${patience} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
