// The counters: how much is asked for, how it goes, and what the drivers are doing.

import { byId, h, say } from "./dom.js";
import { glyph } from "./glyph.js";
import { DRIVER, JOBS_LEGEND, STAGES } from "./status.js";

const COLUMNS = ["rides", "deliveries", "rescues"];
const WORKING = ["busy", "partly_busy"];
const ON_DUTY = ["available", "offered", "busy", "partly_busy", "on_break", "unreachable"];
/** Statuses that are listed only when somebody has them. */
const RARE = ["on_break", "unreachable", "offline", "blocked", "partly_busy"];
const CLASSES = { searching: "s-searching", active: "s-active", completed: "s-completed", cancelled: "s-cancelled", no_driver: "s-no-driver" };

export class Overview {
  #board;
  #cells = {};
  #drivers = {};
  #number = new Intl.NumberFormat("en");

  /** `onhide(status, isHidden)` is told which drivers the viewer wants off the map. */
  constructor(board, onhide) {
    this.#board = board;
    this.#build(onhide);
    board.addEventListener("counters", () => this.#show());
  }

  #build(onhide) {
    for (const { key, label } of STAGES) {
      const cells = COLUMNS.map((column) => {
        const cell = h("td", {}, "–");
        this.#cells[`${column}.${key}`] = cell;
        return cell;
      });
      byId("jobs").append(h("tr", { class: CLASSES[key] }, h("th", { scope: "row" }, label), ...cells));
    }
    for (const [status, { label, colour, shape }] of Object.entries(DRIVER)) {
      const count = h("span", { class: "count" }, "0");
      const toggle = h("button", {
        type: "button", "aria-pressed": "true", title: `Show or hide: ${label}`,
        onclick: () => {
          const isShown = toggle.getAttribute("aria-pressed") !== "true";
          toggle.setAttribute("aria-pressed", String(isShown));
          onhide(status, !isShown);
        },
      }, glyph(shape, colour), h("span", { class: "name" }, label), count);
      const item = h("li", {}, toggle);
      const bar = h("span", { class: `b-${colour}` });
      byId("drivers").append(item);
      byId("drivers-bar").append(bar);
      this.#drivers[status] = { item, count, bar };
    }
    for (const { label, colour, shape } of JOBS_LEGEND) {
      byId("legend").append(h("li", {}, glyph(shape, colour), h("span", { class: "name" }, label)));
    }
  }

  #show() {
    const total = { completed: 0, no_driver: 0, cancelled: 0 };
    for (const column of COLUMNS) {
      const stages = this.#board.stages(column);
      for (const { key } of STAGES) {
        const cell = this.#cells[`${column}.${key}`];
        say(cell, this.#number.format(stages[key]));
        cell.classList.toggle("is-zero", stages[key] === 0);
        if (key in total) total[key] += stages[key];
      }
    }
    const ended = total.completed + total.no_driver + total.cancelled;
    // A share of a handful is chance.
    say(byId("fulfilled"), ended >= 10 ? `${Math.round((100 * total.completed) / ended)} %` : "–");

    const drivers = this.#board.counters.drivers;
    const count = (statuses) => statuses.reduce((sum, status) => sum + (drivers[status] ?? 0), 0);
    const onDuty = count(ON_DUTY);
    say(byId("on-duty"), this.#number.format(onDuty));
    say(byId("working"), onDuty > 0 ? `${Math.round((100 * count(WORKING)) / onDuty)} %` : "0 %");
    for (const [status, { item, count: cell, bar }] of Object.entries(this.#drivers)) {
      const n = drivers[status] ?? 0;
      say(cell, this.#number.format(n));
      item.hidden = n === 0 && RARE.includes(status);
      bar.style.flexGrow = ON_DUTY.includes(status) ? String(n) : "0";
    }
    this.#spark();
  }

  #spark() {
    const rates = this.#board.rates();
    const last = rates.at(-1);
    say(byId("rate"), last ? this.#number.format(Math.round(last.rate)) : "–");
    if (rates.length < 2) return;
    const most = Math.max(10, ...rates.map(({ rate }) => rate)) * 1.15;
    // A young page draws what it has over the whole width.
    const span = Math.min(120_000, Math.max(10_000, last.at - rates[0].at));
    const [first, width, height] = [last.at - span, 240, 44];
    const points = rates.map(({ at, rate }) => {
      const x = Math.max(0, ((at - first) / span) * width);
      return `${x.toFixed(1)} ${(height - 2 - (rate / most) * (height - 6)).toFixed(1)}`;
    });
    const line = `M${points.join("L")}`;
    byId("spark-line").setAttribute("d", line);
    byId("spark-area").setAttribute("d", `${line}L${width} ${height}L${points[0].split(" ")[0]} ${height}Z`);
  }
}
