// What changed of a view makes it whole again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Shown } from "../dist/shown.js";

const changed = (from, version, fields = {}) => ({ changed: { order: { id: "order-1", from, version, ...fields } } });
const whole = (version, fields = {}) => ({ order: { id: "order-1", version, status: "searching", driver: null, ...fields } });

test("what changed makes the one view from the other", () => {
  const shown = new Shown();
  assert.deepEqual(shown.whole(whole(1)).frame, whole(1));
  assert.deepEqual(shown.whole(changed(1, 2, { status: "assigned", driver: "driver-1" })).frame, whole(2, { status: "assigned", driver: "driver-1" }));
  assert.deepEqual(shown.whole(changed(2, 3, { driver: null })).frame, whole(3, { status: "assigned" }));
  const eta = { at: 1, arrival: { s: 60, low_s: 30, high_s: 90 } };
  assert.deepEqual(shown.whole(changed(3, 3, { eta })).frame, whole(3, { status: "assigned", eta }));
  assert.deepEqual(shown.whole(changed(3, 3, { eta: null })).frame, whole(3, { status: "assigned", eta: null }), "expected no more");
  const beat = { heartbeat: { server_time: 1 } };
  assert.equal(shown.whole(beat).frame, beat);
});

test("what was not shown, or not last, is asked for anew", () => {
  const shown = new Shown();
  const missing = { missing: { order: "order-1" } };
  assert.deepEqual(shown.whole(changed(1, 2)), missing);
  shown.whole(whole(3));
  assert.deepEqual(shown.whole(changed(1, 2)), missing);
  assert.deepEqual(shown.whole(changed(3, 4)), missing, "it is not to be trusted any more");
  assert.deepEqual(shown.whole({ changed: { rider: { id: "rider-1", from: 1, version: 2, jobs: [] } } }), { missing: "me" });
  shown.whole(whole(3));
  shown.forget();
  assert.deepEqual(shown.whole(changed(3, 4)), missing);
});

test("no more is kept than a client may be shown", () => {
  const shown = new Shown();
  for (let n = 0; n < 1_000; n += 1) shown.whole({ rider: { id: `rider-${n}`, version: 1, jobs: [] } });
  const again = (n) => shown.whole({ changed: { rider: { id: `rider-${n}`, from: 1, version: 1 } } });
  assert.ok("frame" in again(999));
  assert.ok("frame" in again(900));
  assert.ok("missing" in again(800));
});
