// One actor, whole, as it changes: what it is, everything it remembers, and what led there.

import { byId, h, say } from "./dom.js";
import { describe, describeId } from "./describe.js";
import { glyphOf } from "./glyph.js";
import { kindOf, short, spokenEvent } from "./status.js";
import { clock } from "./ticker.js";

const EVENTS_MAX = 40;
const ID = /^(order|rescue|driver|rider|offer|merchant|command|session)-[0-9a-f]{32}$/;

/** Emits `open` and `close`. */
export class Inspector extends EventTarget {
  #root = byId("inspector");
  #socket;
  #board;
  #map;
  #id = null;
  #view = null;
  #refused = null;
  #events = [];
  #folded = new Set();
  /** When each part of the state last changed, by its path. */
  #changedAt = new Map();
  #parts = null;
  #cameFrom = null;
  /** Its mark when it was last on the map: what ended is still a ride. */
  #mark = null;

  constructor(socket, board, map) {
    super();
    this.#socket = socket;
    this.#board = board;
    this.#map = map;
    socket.addEventListener("frame", ({ detail }) => this.#hear(detail));
    board.addEventListener("marks", ({ detail }) => {
      if (this.#id && (detail.gone.includes(this.#id) || detail.changed.some(({ id }) => id === this.#id))) this.#head();
    });
    map.addEventListener("follow", () => this.#head());
    setInterval(() => this.#tick(), 500);
  }

  get id() {
    return this.#id;
  }

  /** Follows another actor. */
  open(id) {
    if (id === this.#id) return;
    if (this.#id) this.#socket.send({ unsubscribe: { actor: this.#id } });
    else this.#cameFrom = document.activeElement;
    this.#id = id;
    this.#view = null;
    this.#mark = null;
    this.#refused = null;
    this.#events = [];
    this.#changedAt.clear();
    this.#build();
    this.subscribe();
    this.dispatchEvent(new Event("open"));
  }

  close() {
    if (!this.#id) return;
    this.#socket.send({ unsubscribe: { actor: this.#id } });
    this.#id = null;
    this.#root.hidden = true;
    this.#root.replaceChildren();
    this.#parts = null;
    // The keyboard goes back to where it was before the inspector came.
    if (this.#cameFrom?.isConnected) this.#cameFrom.focus({ preventScroll: true });
    this.dispatchEvent(new Event("close"));
  }

  /** Asks the node for the actor, again after a reconnect. */
  subscribe() {
    if (this.#id) this.#socket.send({ subscribe: { actor: this.#id } });
  }

  #hear(frame) {
    if (frame.actor && frame.actor.actor === this.#id) {
      this.#refused = null;
      this.#take(frame.actor);
    } else if (frame.unsubscribed?.topic?.actor === this.#id && this.#id) {
      this.#refused = frame.unsubscribed.refused;
      this.#show();
    }
  }

  #take(view) {
    const before = this.#view;
    this.#view = view;
    if (before) {
      const now = performance.now();
      markChanges(before.state, view.state, "", (path) => this.#changedAt.set(path, now));
    }
    // After a reconnect the same version may come again.
    if (!before || view.version > before.version) {
      const first = view.version - view.events.length;
      view.events.forEach((what, i) => this.#events.unshift({ what, version: first + i + 1, at: this.#socket.serverNow }));
      this.#events.length = Math.min(this.#events.length, EVENTS_MAX);
    }
    this.#show();
  }

  #build() {
    const kind = kindOf(this.#id) ?? "actor";
    const parts = {
      glyph: h("span", { class: "inspector-glyph" }),
      title: h("h2", {}, ""),
      status: h("span", { class: "pill" }),
      facts: h("dl", { class: "facts" }),
      state: h("div", { class: "tree" }),
      events: h("ol", { class: "events" }),
      body: h("div", { class: "inspector-body" }),
      follow: h("button", { type: "button", class: "ghost", onclick: () => this.#map.follow(this.#map.following === this.#id ? null : this.#id) }, "Follow"),
      deadline: null,
    };
    this.#parts = parts;
    const copy = h("button", {
      type: "button", class: "id", title: "Copy the id",
      onclick: async () => {
        await navigator.clipboard?.writeText(this.#id).catch(() => {});
        copy.classList.add("is-copied");
        setTimeout(() => copy.classList.remove("is-copied"), 1200);
      },
    }, this.#id);
    const find = h("button", { type: "button", class: "ghost", onclick: () => this.#map.show(this.#id) }, "Show");
    this.#root.replaceChildren(
      h("header", { class: "inspector-head" },
        parts.glyph,
        h("div", { class: "inspector-name" }, parts.title, parts.status),
        h("button", { type: "button", class: "close", "aria-label": "Close the inspector", title: "Close (Esc)", onclick: () => this.close() }, "×")),
      h("div", { class: "inspector-tools" }, copy, kind === "rider" ? null : find, kind === "driver" ? parts.follow : null),
      parts.body);
    this.#root.hidden = false;
    this.#root.setAttribute("aria-busy", "true");
    this.#show();
  }

  #head() {
    if (!this.#parts) return;
    this.#mark = this.#board.marks.get(this.#id) ?? this.#mark;
    const { title, status, colour, sort } = this.#mark ? describe(this.#mark) : describeId(this.#id, this.#board);
    this.#parts.glyph.replaceChildren(glyphOf(sort, colour));
    say(this.#parts.title, title);
    say(this.#parts.status, status);
    this.#parts.status.className = `pill c-${colour}`;
    this.#parts.status.hidden = !status;
    const isFollowed = this.#map.following === this.#id;
    say(this.#parts.follow, isFollowed ? "Following" : "Follow");
    this.#parts.follow.setAttribute("aria-pressed", String(isFollowed));
  }

  #show() {
    if (!this.#parts) return;
    this.#head();
    const { body } = this.#parts;
    if (this.#refused) {
      this.#root.setAttribute("aria-busy", "false");
      body.replaceChildren(h("p", { class: "empty is-bad", role: "alert" }, `The node does not show it: ${this.#refused.message}.`));
      return;
    }
    if (!this.#view) {
      body.replaceChildren(h("div", { class: "skeleton", "aria-label": "Loading" }, ...Array.from({ length: 7 }, () => h("span"))));
      return;
    }
    this.#root.setAttribute("aria-busy", "false");
    const focused = document.activeElement?.closest?.("#inspector [data-path]")?.dataset.path;
    const { version, shard, deadline, state } = this.#view;
    const mark = this.#mark;
    this.#parts.deadline = deadline ? h("span", { class: "countdown" }, "") : null;
    const facts = [
      ["Version", String(version)],
      ["Shard", String(shard)],
      ["Next act", this.#parts.deadline ?? "none planned"],
    ];
    if (mark?.driver) facts.push(["Driver", this.#link(mark.driver)]);
    if (mark?.kind === "driver" && mark.jobs.length > 0) {
      facts.push(["Jobs", h("span", { class: "links" }, ...mark.jobs.map((job) => this.#link(job.order ?? job.rescue)))]);
    }
    this.#parts.facts.replaceChildren(...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    this.#parts.state.replaceChildren(...this.#rows(state, ""));
    this.#parts.events.replaceChildren(...this.#events.map(({ what, version: n, at }, i) => h("li", { class: i === 0 ? "is-latest" : null },
      h("span", { class: "n" }, `v${n}`), h("span", { class: "what" }, spokenEvent(what)), h("time", {}, clock(at)))));
    if (!this.#parts.state.isConnected) {
      body.replaceChildren(
        this.#parts.facts,
        h("h3", {}, "State"), this.#parts.state,
        h("h3", {}, "Events since you look"), this.#parts.events,
        h("p", { class: "empty events-empty" }, "None yet: it stands still."));
    }
    if (focused) this.#root.querySelector(`[data-path="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    this.#tick();
  }

  #tick() {
    const countdown = this.#parts?.deadline;
    if (!countdown || !this.#view?.deadline) return;
    const left = this.#view.deadline - this.#socket.serverNow;
    say(countdown, left > 0 ? `in ${span(left)}` : "due");
    countdown.classList.toggle("is-soon", left < 10_000);
  }

  /** The rows of an object or a list; nested ones fold. */
  #rows(value, path) {
    const entries = Array.isArray(value) ? value.map((it, i) => [i, it]) : Object.entries(value ?? {});
    if (value === null || typeof value !== "object") return [this.#leaf("", value, path)];
    return entries.map(([key, it]) => {
      const at = `${path}/${key}`;
      if (it === null || typeof it !== "object") return this.#leaf(key, it, at);
      const size = Object.keys(it).length;
      if (isSmall(it)) return this.#pair(key, it, at);
      if (size === 0) return this.#leaf(key, Array.isArray(it) ? "[ ]" : "{ }", at, "none");
      const fold = h("details", { open: !this.#folded.has(at), class: this.#glow(at) },
        h("summary", { "data-path": at }, h("span", { class: "key" }, keyName(key)), h("span", { class: "size" }, Array.isArray(it) ? `${size} item${size === 1 ? "" : "s"}` : "")),
        h("div", { class: "branch" }, ...this.#rows(it, at)));
      fold.addEventListener("toggle", () => (fold.open ? this.#folded.delete(at) : this.#folded.add(at)));
      return fold;
    });
  }

  #leaf(key, value, path, sort) {
    return h("div", { class: `leaf ${this.#glow(path)}` },
      h("span", { class: "key" }, keyName(key)), this.#value(key, value, sort));
  }

  /** A point, an amount, a tagged id: two plain values read better on one line. */
  #pair(key, value, path) {
    const isPoint = "lat" in value && "lon" in value;
    const parts = Object.entries(value).map(([name, it]) => h("span", { class: `part ${this.#glow(`${path}/${name}`)}` },
      isPoint || kindOf(it) ? null : h("span", { class: "key" }, keyName(name)), this.#value(name, it)));
    return h("div", { class: "leaf" }, h("span", { class: "key" }, keyName(key)), h("span", { class: "pair" }, ...parts));
  }

  #value(key, value, sort) {
    if (value === null) return h("span", { class: "v v-none" }, "none");
    if (typeof value === "boolean") return h("span", { class: "v v-bool" }, value ? "yes" : "no");
    if (typeof value === "number") {
      const isMoment = value > 1e12 && value < 1e13;
      return h("span", { class: isMoment ? "v v-time" : "v v-number", title: isMoment ? new Date(value).toISOString() : null }, isMoment ? clock(value) : figure(value));
    }
    if (ID.test(value)) return kindOf(value) ? this.#link(value) : h("span", { class: "v", title: value }, `${value.split("-")[0]} ${short(value)}`);
    return h("span", { class: sort === "none" ? "v v-none" : "v v-text" }, String(value));
  }

  #link(id) {
    return h("button", { type: "button", class: "link", title: id, "data-path": `link:${id}`, onclick: () => this.open(id) }, `${kindOf(id)} ${short(id)}`);
  }

  #glow(path) {
    const at = this.#changedAt.get(path);
    if (at === undefined) return "";
    const age = performance.now() - at;
    return age < 400 ? "is-changed" : "";
  }
}

/** Calls `say` with the path of each part that differs. */
function markChanges(before, after, path, say) {
  const isTree = (it) => it !== null && typeof it === "object";
  if (!isTree(before) || !isTree(after)) {
    if (before !== after) say(path);
    return;
  }
  for (const key of Object.keys(after)) {
    if (key in before) markChanges(before[key], after[key], `${path}/${key}`, say);
    else say(`${path}/${key}`);
  }
}

function isSmall(it) {
  const values = Object.values(it);
  return !Array.isArray(it) && values.length > 0 && values.length <= 2
    && values.every((value) => value === null || typeof value !== "object") && values.join("").length < 44;
}

function keyName(key) {
  return typeof key === "number" ? `${key + 1}.` : String(key).replaceAll("_", " ");
}

function figure(value) {
  return Number.isInteger(value) ? String(value) : value.toFixed(5).replace(/0+$/, "");
}

/** `1 min 20 s`. */
function span(ms) {
  const s = Math.ceil(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}
