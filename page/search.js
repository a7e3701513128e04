// Finds a mark by any part of its id.

import { byId, h } from "./dom.js";
import { describe } from "./describe.js";
import { glyphOf } from "./glyph.js";
import { kindOf } from "./status.js";

const MATCHES_MAX = 8;

export class Search {
  #query = byId("query");
  #list = byId("matches");
  #board;
  #onpick;
  #ids = [];
  #active = -1;

  constructor(board, onpick) {
    this.#board = board;
    this.#onpick = onpick;
    this.#query.addEventListener("input", () => this.#search());
    this.#query.addEventListener("focus", () => this.#search());
    this.#query.addEventListener("blur", () => setTimeout(() => this.#close(), 120));
    this.#query.addEventListener("keydown", (event) => this.#pressed(event));
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#choose(this.#ids[Math.max(0, this.#active)]);
    });
    document.addEventListener("keydown", (event) => {
      const isTyping = event.target.closest?.("input, textarea, dialog");
      if (event.key === "/" && !isTyping) {
        event.preventDefault();
        this.#query.focus();
        this.#query.select();
      }
    });
  }

  #search() {
    const text = this.#query.value.trim().toLowerCase();
    this.#ids = text.length < 2 ? [] : this.#matching(text);
    this.#active = this.#ids.length > 0 ? 0 : -1;
    if (text.length < 2) return this.#close();
    const options = this.#ids.map((id, i) => {
      const mark = this.#board.marks.get(id);
      const { title, status, colour, sort } = mark ? describe(mark) : { title: id, status: "not on the map", colour: "away", sort: kindOf(id) };
      return h("li", { role: "option", id: `match-${i}`, "aria-selected": String(i === this.#active), onpointerdown: () => this.#choose(id) },
        glyphOf(sort, colour), h("span", { class: "name" }, title), h("span", { class: "status" }, status));
    });
    this.#list.replaceChildren(...(options.length > 0 ? options : [h("li", { class: "none", role: "presentation" }, "Nothing on the map has this id.")]));
    this.#list.hidden = false;
    this.#query.setAttribute("aria-expanded", "true");
    this.#point();
  }

  #matching(text) {
    if (kindOf(text)) return [text];
    const words = text.split(/[\s-]+/);
    const found = [];
    for (const mark of this.#board.marks.values()) {
      const hay = `${mark.id} ${mark.sort ?? ""} ${mark.status} ${mark.issue ?? ""}`;
      if (words.every((word) => hay.includes(word))) found.push(mark.id);
      if (found.length === MATCHES_MAX) break;
    }
    return found;
  }

  #pressed(event) {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (this.#ids.length > 0) this.#active = (this.#active + step + this.#ids.length) % this.#ids.length;
      this.#point();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      this.#query.value = "";
      this.#close();
      this.#query.blur();
    }
  }

  #point() {
    [...this.#list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === this.#active)));
    if (this.#active >= 0) this.#query.setAttribute("aria-activedescendant", `match-${this.#active}`);
    else this.#query.removeAttribute("aria-activedescendant");
  }

  #choose(id) {
    if (!id) return;
    this.#query.value = "";
    this.#query.blur();
    this.#close();
    this.#onpick(id);
  }

  #close() {
    this.#list.hidden = true;
    this.#query.setAttribute("aria-expanded", "false");
    this.#query.removeAttribute("aria-activedescendant");
  }
}
