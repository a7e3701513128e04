// What the page's tests stand on: a node (the real one if OUTRIDER_BIN names it), a browser, waiting.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { startMock } from "./mock.mjs";

const FLAGS = [
  "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
];

/** Starts what is tested; resolves to {url, close, cancel}: `cancel` calls an order off, and says whether it could. */
export async function startNode() {
  const binary = process.env.OUTRIDER_BIN;
  return binary ? startDemo(binary) : startMock();
}

async function startDemo(binary) {
  const data = await mkdtemp(join(tmpdir(), "outrider-e2e-"));
  const port = await freePort();
  const node = spawn(binary, ["demo", "--for", "10m"], {
    env: { ...process.env, OUTRIDER_GATEWAY__LISTEN: `127.0.0.1:${port}`, OUTRIDER_JOURNAL__DIR: data },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [node.stdout, node.stderr]) stream.on("data", (text) => (said = (said + text).slice(-4000)));
  let hasEnded = false;
  const ended = new Promise((resolve) => node.on("exit", () => resolve((hasEnded = true))));
  const url = `http://127.0.0.1:${port}/`;
  const close = async () => {
    node.kill("SIGTERM");
    const late = setTimeout(() => node.kill("SIGKILL"), 15_000);
    await ended;
    clearTimeout(late);
    await rm(data, { recursive: true, force: true });
  };
  try {
    await until("the demo answers", async () => {
      if (hasEnded) throw new Error(`the demo ended:\n${said}`);
      return (await fetch(`${url}demo/token`).catch(() => null))?.ok;
    }, 60_000);
  } catch (error) {
    await close();
    throw new Error(`${error.message}\n${said}`);
  }
  const cancel = async (id) => {
    const { token } = await (await fetch(`${url}demo/token`)).json();
    const answer = await fetch(`${url}v1/orders/${id}/actions`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ cancel: { reason: "a test asks for it" } }),
    });
    return answer.ok;
  };
  return { url, close, cancel };
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
