// The city as this page knows it: full boards and diffs folded into marks, counters and happenings.

import { stageOf } from "./status.js";

const RATE_WINDOW_MS = 15_000;
const HISTORY_MS = 120_000;

/** Emits `marks` {changed, gone}, `counters`, `happenings` and `gap` (subscribe again). */
export class Board extends EventTarget {
  /** Marks by id, each {kind, id, status, …} as the node sent it. */
  marks = new Map();
  counters = { drivers: {}, rides: {}, deliveries: {}, rescues: {} };
  /** Has anything arrived yet? */
  isKnown = false;

  #seq = 0;
  /** How many requests there had been, by when: [{at, total}], oldest first. */
  #totals = [];

  /** Takes in a board frame. */
  apply(frame) {
    if (frame.full) {
      this.isKnown = true;
    } else if (!this.isKnown || frame.seq < this.#seq || frame.seq > this.#seq + 1) {
      // What we missed cannot be guessed; a full board comes after subscribing again.
      if (this.isKnown) this.dispatchEvent(new Event("gap"));
      this.isKnown = false;
      return;
    }
    this.#seq = frame.seq;

    const changed = [];
    for (const tagged of frame.marks) {
      const mark = untagged(tagged);
      if (mark) {
        this.marks.set(mark.id, mark);
        changed.push(mark);
      }
    }
    const gone = frame.full ? this.#notAmong(new Set(changed.map((mark) => mark.id))) : frame.gone;
    for (const id of gone) this.marks.delete(id);

    this.counters = frame.counters;
    this.#sample(frame.server_time);
    this.#emit("marks", { changed, gone });
    this.#emit("counters", null);
    this.#emit("happenings", { happenings: frame.happenings, isPast: frame.full });
  }

  /** How many jobs of one column of the counters are at each stage. */
  stages(column) {
    const kind = column === "rescues" ? "rescue" : "order";
    const counts = { searching: 0, active: 0, completed: 0, cancelled: 0, no_driver: 0 };
    for (const [status, n] of Object.entries(this.counters[column] ?? {})) {
      counts[stageOf(kind, status)] += n;
    }
    return counts;
  }

  /** Requests a minute over time: [{at, rate}], oldest first; at most two minutes. */
  rates() {
    const rates = [];
    let from = 0;
    for (const { at, total } of this.#totals) {
      while (this.#totals[from].at < at - RATE_WINDOW_MS) from += 1;
      const start = this.#totals[from];
      // The first seconds say little: a rate needs some time to be one.
      if (at - start.at >= 3000) rates.push({ at, rate: ((total - start.total) * 60_000) / (at - start.at) });
    }
    return rates;
  }

  #notAmong(ids) {
    return [...this.marks.keys()].filter((id) => !ids.has(id));
  }

  #sample(at) {
    let total = 0;
    for (const column of ["rides", "deliveries", "rescues"]) {
      for (const n of Object.values(this.counters[column] ?? {})) total += n;
    }
    const last = this.#totals.at(-1);
    // A smaller total means another node, or one that started anew.
    if (last && (total < last.total || at < last.at)) this.#totals = [];
    if (!last || at - last.at >= 900) this.#totals.push({ at, total });
    while (this.#totals[0]?.at < at - HISTORY_MS - RATE_WINDOW_MS) this.#totals.shift();
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function untagged(tagged) {
  for (const kind of ["driver", "order", "rescue"]) {
    if (!tagged[kind]) continue;
    const mark = tagged[kind];
    // An order names its sort ("ride") where a mark names what it is a mark of.
    return kind === "order" ? { ...mark, sort: mark.kind, kind } : { ...mark, kind };
  }
  return null;
}
