// How much script the console costs with a large city: 10,000 moving drivers and 2,000 orders, in Chromium without a
// graphics card, over the whole city (crowds) and in a district (each by itself).
//
//   frame_ms          script in one frame: what draws (mean, and the quantiles of frames)
//   gl_ms             how much of it is calls of WebGL, which wait where the processor draws
//   script_ms_per_s   all script of a second, of the node's frames that are read and folded and the queue that is sorted, too
//   at_60_ms          the same for each frame of a screen that shows sixty
//
//   node frames.mjs [--drivers 10000] [--jobs 2000] [--seconds 20] [--most 3]
//
// Exits with 1 if half of all frames, or all script for each sixtieth of a second, take more than `--most` milliseconds. The
// slowest frames are told and not judged: where the processor draws, some wait for it, and on a busy machine for everybody else.

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { startMock } from "./mock.mjs";
import { startBrowser, until } from "./nodes.mjs";

const SHOTS = fileURLToPath(new URL("../target/e2e/", import.meta.url));
const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
const [drivers, jobs, seconds, most] = [option("drivers", 10_000), option("jobs", 2000), option("seconds", 20), option("most", 3)];

await mkdir(SHOTS, { recursive: true });
const mock = await startMock({ drivers, jobs });
const browser = await startBrowser();
try {
  const page = await (await browser.newContext({ viewport: { width: 1366, height: 768 } })).newPage();
  await page.addInitScript(measure);
  await page.goto(`${mock.url}console/`);
  await until("everybody is on the map", () => page.evaluate((n) => globalThis.outrider?.live.board.marks.size >= n, drivers + jobs), 60_000);
  const told = {};
  for (const [name, zoom] of [["city", null], ["district", 0.2]]) {
    if (zoom) await page.evaluate((it) => globalThis.outrider.camera.flyTo(0, 0, it), zoom);
    // The first seconds are compilation and the full board.
    await new Promise((resolve) => setTimeout(resolve, 4000));
    await page.evaluate(() => globalThis.spent.begin());
    await new Promise((resolve) => setTimeout(resolve, seconds * 500));
    told[name] = await page.evaluate(() => globalThis.spent.end());
    await page.screenshot({ path: `${SHOTS}frames-${name}.png` });
  }
  console.log(JSON.stringify({ drivers, jobs, ...told }));
  const worst = Math.max(...Object.values(told).flatMap((it) => [it.at_60_ms, it.frame_ms.p50]));
  if (worst > most) {
    console.error(`${worst.toFixed(2)} ms of script a frame, more than ${most}`);
    process.exitCode = 1;
  }
} finally {
  await browser.close();
  mock.close();
}

/** Runs in the page, before it: adds up all script, and what of it draws, frame by frame. */
function measure() {
  let [all, drawing, gl, frames, isOn, drawn, began, marks, depth] = [0, 0, 0, [], false, 0, 0, 0, 0];
  const timed = (call, isDrawing = false) => function (...given) {
    if (depth > 0) return call.apply(this, given);
    depth += 1;
    const start = performance.now();
    try {
      return call.apply(this, given);
    } finally {
      const took = performance.now() - start;
      all += took;
      if (isDrawing) drawing += took;
      depth -= 1;
    }
  };
  const raf = globalThis.requestAnimationFrame.bind(globalThis);
  globalThis.requestAnimationFrame = (call) => raf(timed(call, true));
  for (const name of ["setTimeout", "setInterval"]) {
    const set = globalThis[name].bind(globalThis);
    globalThis[name] = (call, ...rest) => set(typeof call === "function" ? timed(call) : call, ...rest);
  }
  // Preact draws in microtasks.
  const then = Promise.prototype.then;
  Promise.prototype.then = function (yes, no) {
    return then.call(this, typeof yes === "function" ? timed(yes) : yes, typeof no === "function" ? timed(no) : no);
  };
  const methods = Object.entries(Object.getOwnPropertyDescriptors(WebGL2RenderingContext.prototype)).filter(([name, { value }]) => name !== "constructor" && typeof value === "function");
  for (const [name, { value: call }] of methods) {
    WebGL2RenderingContext.prototype[name] = function (...given) {
      const start = performance.now();
      try {
        return call.apply(this, given);
      } finally {
        gl += performance.now() - start;
      }
    };
  }
  const message = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
  Object.defineProperty(WebSocket.prototype, "onmessage", {
    ...message,
    set(call) {
      const read = call && timed(call);
      message.set.call(this, read && ((event) => {
        marks += event.data.split('"status":').length - 1;
        return read(event);
      }));
    },
  });
  const tick = () => {
    const n = globalThis.outrider?.marks?.frames ?? 0;
    // Only frames in which the map was drawn are frames.
    if (isOn && n > drawn) frames.push({ drawing, gl });
    if (n > drawn) [drawing, gl, drawn] = [0, 0, n];
    raf(tick);
  };
  raf(tick);
  globalThis.spent = {
    begin() {
      [all, drawing, gl, frames, isOn, marks, began, drawn] = [0, 0, 0, [], true, 0, performance.now(), globalThis.outrider.marks.frames];
    },
    end() {
      isOn = false;
      const took = (performance.now() - began) / 1000;
      const round = (value) => Number(value.toFixed(2));
      const summed = (times) => {
        const sorted = times.sort((a, b) => a - b);
        const at = (q) => round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]);
        return { mean: round(sorted.reduce((a, b) => a + b, 0) / sorted.length), p50: at(0.5), p95: at(0.95), p99: at(0.99) };
      };
      return {
        frame_ms: summed(frames.map((it) => it.drawing)), gl_ms: summed(frames.map((it) => it.gl)), script_ms_per_s: round(all / took), at_60_ms: round(all / took / 60),
        fps: round(frames.length / took), marks_per_s: Math.round(marks / took),
      };
    },
  };
}
