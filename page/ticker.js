// What happened, newest first; each line leads to whom it happened.

import { byId, h } from "./dom.js";
import { describeId } from "./describe.js";
import { glyphOf } from "./glyph.js";
import { kindOf, spokenEvent } from "./status.js";

const LINES_MAX = 60;
/** More at once than this cannot be read; the counters tell the rest. */
const AT_ONCE = 6;
const FILTERS = [
  { label: "Jobs", takes: (kind) => kind === "order" || kind === "rescue" },
  { label: "Rescues", takes: (kind) => kind === "rescue" },
  { label: "Drivers", takes: (kind) => kind === "driver" },
  { label: "All", takes: () => true },
];
const GOOD = /complet|delivered|finish|solved|fixed/;
const BAD = /cancel|fail|no_driver|no_show|reject|lost|expired|unreachable|declin|at_risk|breach|incident|forced/;

export class Ticker {
  #list = byId("ticker");
  #board;
  #onpick;
  #filter = FILTERS[0];
  #kept = [];

  /** `onpick(id)` is called with the actor of a line that was pressed. */
  constructor(board, onpick) {
    this.#board = board;
    this.#onpick = onpick;
    const chips = FILTERS.map((filter) => h("button", {
      type: "button", "aria-pressed": String(filter === this.#filter),
      onclick: ({ currentTarget }) => {
        this.#filter = filter;
        chips.forEach((chip) => chip.setAttribute("aria-pressed", String(chip === currentTarget)));
        this.#relist();
      },
    }, filter.label));
    byId("activity-filter").append(...chips);
    board.addEventListener("happenings", ({ detail }) => this.#take(detail));
  }

  #take({ happenings, isPast }) {
    if (isPast) this.#kept = [];
    this.#kept = [...happenings.toReversed(), ...this.#kept].slice(0, 400);
    // Whoever is reading does not want the lines to run away.
    if (this.#list.matches(":hover") || this.#list.contains(document.activeElement)) return;
    if (isPast) return this.#relist();
    const wanted = happenings.filter(({ actor }) => this.#filter.takes(kindOf(actor)));
    // Rescues are never left out in favour of something else.
    const told = wanted.length <= AT_ONCE ? wanted
      : [...wanted].sort((a, b) => rank(a) - rank(b)).slice(0, AT_ONCE).sort((a, b) => a.at - b.at);
    for (const happening of told) this.#list.prepend(this.#line(happening, true));
    while (this.#list.children.length > LINES_MAX) this.#list.lastElementChild.remove();
    this.#empty();
  }

  #relist() {
    const wanted = this.#kept.filter(({ actor }) => this.#filter.takes(kindOf(actor)));
    this.#list.replaceChildren(...wanted.slice(0, LINES_MAX).map((it) => this.#line(it, false)));
    this.#empty();
  }

  #empty() {
    byId("ticker-empty").hidden = this.#list.children.length > 0;
  }

  #line({ at, actor, what }, isNew) {
    const { title, sort, colour, status } = describeId(actor, this.#board);
    // That it ended is half the news; how it did is what its status says.
    const said = what === "ended" && status && sort !== "driver" ? status : spokenEvent(what);
    const ended = said === status && { good: "good", bad: "bad" }[colour];
    const tone = ended ? ended : GOOD.test(what) ? "good" : BAD.test(what) ? "bad" : "plain";
    return h("li", { class: isNew ? "is-new" : null },
      h("button", { type: "button", title: actor, onclick: () => this.#onpick(actor) },
        glyphOf(sort, sort === "driver" || sort === "rider" ? "away" : colour === "good" || colour === "bad" ? sort : colour),
        h("span", { class: `what t-${tone}` }, said),
        h("span", { class: "whom" }, title),
        h("time", { datetime: new Date(at).toISOString() }, clock(at))));
  }
}

function rank({ actor }) {
  return { rescue: 0, order: 1, driver: 2 }[kindOf(actor)] ?? 3;
}

/** `14:03:27` in the viewer's time zone. */
export function clock(at) {
  return new Date(at).toLocaleTimeString("en-GB");
}
