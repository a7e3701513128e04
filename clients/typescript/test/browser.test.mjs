// The client in Chromium: the browser's own WebSocket, a real node, and a network that breaks.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { RIDE, RIDER, orders, startNode, startProxy } from "./stage.mjs";

/** Serves the built client to a page of its own. */
async function startSite() {
  const server = createServer(async (request, response) => {
    if (request.url === "/") {
      response.setHeader("content-type", "text/html");
      return response.end("<!doctype html><title>client</title>");
    }
    try {
      const file = await readFile(new URL(`../dist${request.url}`, import.meta.url));
      response.setHeader("content-type", "text/javascript");
      response.end(file);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, close: () => new Promise((resolve) => server.close(resolve)) };
}

test("in a browser, however slow the connection is and however often it breaks, each command happens once", async () => {
  const site = await startSite();
  const node = await startNode({ OUTRIDER_GATEWAY__ORIGINS: JSON.stringify([site.url]) });
  const proxy = await startProxy(node.port);
  // Some of what is said is on its way whenever it breaks.
  proxy.slow(30);
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage();
    await page.goto(site.url);
    const token = await node.token("rider", RIDER);
    await page.exposeFunction("cut", () => proxy.cut());
    await page.exposeFunction("truncate", () => proxy.truncate());
    const heard = await page.evaluate(async ({ url, token, wish }) => {
      const { Client } = await import("/index.js");
      const client = new Client({ url, token: () => token });
      const welcomes = [];
      client.on("welcome", ({ resumed }) => welcomes.push(resumed));
      client.connect();
      const answers = [];
      for (let n = 0; n < 20; n += 1) {
        answers.push(client.command(wish));
        while (n % 6 === 3 && client.state !== "live") await new Promise((resolve) => setTimeout(resolve, 10));
        if (n % 6 === 3) await globalThis.cut();
        if (n === 13) await globalThis.truncate();
      }
      const actors = (await Promise.all(answers)).map(({ actor }) => actor);
      client.close();
      return { actors, welcomes };
    }, { url: proxy.url, token, wish: RIDE });
    assert.equal(new Set(heard.actors).size, 20);
    assert.equal((await orders(node, RIDER)).length, 20);
    assert.ok(heard.welcomes.slice(1).includes(true), JSON.stringify(heard.welcomes));
  } finally {
    await browser.close();
    await proxy.close();
    await node.close();
    await site.close();
  }
});
