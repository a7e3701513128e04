// The page's board folds what the node tells into what the node has.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Board } from "../page/board.js";
import { kindOf, stageOf } from "../page/status.js";

const driver = (id, status = "available") => ({ driver: { id, at: { lat: 0, lon: 0 }, status, jobs: [] } });
const frame = (seq, marks, more = {}) => ({
  seq, full: false, server_time: 1000 * seq, marks, gone: [], happenings: [],
  counters: { drivers: {}, rides: {}, deliveries: {}, rescues: {} }, ...more,
});

function known() {
  const board = new Board();
  board.apply(frame(7, [driver("driver-1")], { full: true }));
  return board;
}

test("a full board in several frames is one board", () => {
  const board = known();
  board.apply(frame(7, [driver("driver-2")]));
  assert.deepEqual([...board.marks.keys()], ["driver-1", "driver-2"]);
});

test("a diff changes and removes", () => {
  const board = known();
  board.apply(frame(8, [driver("driver-2", "busy")], { gone: ["driver-1"] }));
  assert.deepEqual([...board.marks.values()].map(({ id, status }) => [id, status]), [["driver-2", "busy"]]);
});

test("a gap asks for everything again, once, and until then nothing is believed", () => {
  const board = known();
  let gaps = 0;
  board.addEventListener("gap", () => (gaps += 1));
  board.apply(frame(9, [driver("driver-9")]));
  assert.equal(gaps, 1);
  assert.equal(board.isKnown, false);
  assert.ok(!board.marks.has("driver-9"));
  board.apply(frame(10, []));
  assert.equal(gaps, 1, "the answer to the first is on its way");
  board.apply(frame(10, [driver("driver-3")], { full: true }));
  assert.deepEqual([...board.marks.keys()], ["driver-3"]);
});

test("an order keeps its sort beside its kind", () => {
  const board = known();
  board.apply(frame(8, [{ order: { id: "order-1", kind: "ride", status: "searching" } }]));
  assert.deepEqual(board.marks.get("order-1"), { id: "order-1", kind: "order", sort: "ride", status: "searching" });
});

test("requests a minute follow the counters", () => {
  const board = new Board();
  for (let s = 0; s <= 30; s += 1) {
    board.apply(frame(s, [], { full: s === 0, counters: { drivers: {}, rides: { searching: 2 * s }, deliveries: {}, rescues: {} } }));
  }
  assert.equal(Math.round(board.rates().at(-1).rate), 120);
});

test("stages cover what the node says, and what it will say one day ends badly", () => {
  assert.equal(stageOf("order", "en_route_pickup"), "active");
  assert.equal(stageOf("rescue", "escalated"), "searching");
  assert.equal(stageOf("order", "cancelled_by_rider"), "cancelled");
  assert.equal(stageOf("order", "constructor"), "cancelled");
});

test("only whole ids are ids", () => {
  assert.equal(kindOf(`order-${"0".repeat(32)}`), "order");
  assert.equal(kindOf("order-1"), null);
});
