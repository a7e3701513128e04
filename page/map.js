// The map as something to touch: drag, wheel, pinch and keys move the camera; a click picks a mark.

import { byId, say } from "./dom.js";
import { niceStep } from "./ground.js";
import { describe } from "./describe.js";

const PAN_PX = 80;
const CLICK_PX = 5;

/** Emits `pick` {id} when a mark is chosen; id is null for bare ground. */
export class MapView extends EventTarget {
  #root = byId("map");
  #tip = byId("tip");
  #camera;
  #vehicles;
  #board;
  #pointers = new Map();
  #travelled = 0;
  #hovered = null;
  #following = null;
  #hoverAt = null;

  constructor(camera, vehicles, board) {
    super();
    this.#camera = camera;
    this.#vehicles = vehicles;
    this.#board = board;
    new ResizeObserver(() => camera.resize(this.#root.clientWidth, this.#root.clientHeight)).observe(this.#root);
    camera.addEventListener("change", () => this.#scale());
    this.#listen();
    requestAnimationFrame(() => this.#frame());
  }

  /** Keeps a mark in the middle until the viewer moves the map; null lets go. */
  follow(id) {
    this.#following = id;
    this.dispatchEvent(new Event("follow"));
  }

  get following() {
    return this.#following;
  }

  /** Brings a mark into view. */
  show(id) {
    const at = this.#vehicles.where(id);
    if (at) this.#camera.flyTo(at[0], at[1], Math.max(this.#camera.zoom, 0.22));
  }

  #listen() {
    const root = this.#root;
    root.addEventListener("pointerdown", (event) => {
      if (event.target.closest("button") || event.button > 0) return;
      root.setPointerCapture(event.pointerId);
      if (this.#pointers.size === 0) this.#travelled = 0;
      this.#pointers.set(event.pointerId, this.#at(event));
      this.#hover(null);
    });
    root.addEventListener("pointermove", (event) => this.#moved(event));
    root.addEventListener("pointerup", (event) => {
      const wasAlone = this.#pointers.size === 1;
      if (!this.#pointers.delete(event.pointerId)) return;
      if (wasAlone && this.#travelled < CLICK_PX) {
        const [x, y] = this.#at(event);
        const id = this.#vehicles.pick(x, y, event.pointerType === "touch" ? 22 : 12);
        this.dispatchEvent(new CustomEvent("pick", { detail: { id } }));
      }
    });
    root.addEventListener("pointercancel", (event) => this.#pointers.delete(event.pointerId));
    root.addEventListener("pointerleave", () => {
      this.#hoverAt = null;
      this.#hover(null);
    });
    root.addEventListener("wheel", (event) => {
      event.preventDefault();
      // A wheel that counts lines says 3 where one that counts pixels says 100.
      const pixels = event.deltaY * (event.deltaMode === 1 ? 33 : 1);
      this.#camera.zoomAt(Math.exp(-Math.max(-240, Math.min(240, pixels)) * 0.0022), ...this.#at(event));
    }, { passive: false });
    root.addEventListener("dblclick", (event) => {
      if (!event.target.closest("button")) this.#camera.zoomAt(2, ...this.#at(event));
    });
    root.addEventListener("keydown", (event) => this.#pressed(event));
    byId("zoom-in").addEventListener("click", () => this.#camera.zoomAt(1.6));
    byId("zoom-out").addEventListener("click", () => this.#camera.zoomAt(1 / 1.6));
    byId("zoom-fit").addEventListener("click", () => this.#fit());
  }

  #fit() {
    this.follow(null);
    this.#camera.fit();
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pans = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (pans[event.key]) {
      this.follow(null);
      this.#camera.pan(...pans[event.key].map((n) => n * PAN_PX));
    } else if (event.key === "+" || event.key === "=") {
      this.#camera.zoomAt(1.4);
    } else if (event.key === "-" || event.key === "_") {
      this.#camera.zoomAt(1 / 1.4);
    } else if (event.key === "0") {
      this.#fit();
    } else {
      return;
    }
    event.preventDefault();
  }

  #moved(event) {
    const at = this.#at(event);
    const before = this.#pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") this.#hoverAt = event.target.closest("button") ? null : at;
      return;
    }
    this.#pointers.set(event.pointerId, at);
    const [dx, dy] = [at[0] - before[0], at[1] - before[1]];
    this.#travelled += Math.hypot(dx, dy);
    if (this.#pointers.size === 1) {
      if (this.#travelled < CLICK_PX) return;
      this.follow(null);
      this.#camera.pan(dx, dy);
      return;
    }
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) return;
    const [far, wasFar] = [apart(at, other), apart(before, other)];
    this.follow(null);
    this.#camera.pan(dx / 2, dy / 2);
    if (wasFar > 10) this.#camera.zoomAt(far / wasFar, (at[0] + other[0]) / 2, (at[1] + other[1]) / 2);
  }

  #frame() {
    if (this.#following) {
      const at = this.#vehicles.where(this.#following);
      if (at) this.#camera.follow(...at);
    }
    if (this.#hoverAt && this.#pointers.size === 0) this.#hover(this.#vehicles.pick(...this.#hoverAt, 9));
    requestAnimationFrame(() => this.#frame());
  }

  #hover(id) {
    const mark = id && this.#board.marks.get(id);
    this.#root.classList.toggle("is-over", Boolean(mark));
    this.#tip.hidden = !mark;
    if (!mark) {
      this.#hovered = null;
      return;
    }
    const { title, status } = describe(mark);
    if (this.#hovered !== id) this.#hovered = id;
    say(this.#tip, `${title} · ${status}`);
    const [x, y] = this.#vehicles.where(id);
    const left = Math.min(this.#camera.width - this.#tip.offsetWidth - 8, Math.max(8, this.#camera.screenX(x) - this.#tip.offsetWidth / 2));
    const above = this.#camera.screenY(y) - this.#tip.offsetHeight - 14;
    this.#tip.style.transform = `translate(${left}px, ${above < 8 ? above + this.#tip.offsetHeight + 30 : above}px)`;
  }

  #scale() {
    const metres = niceStep(60 / this.#camera.zoom);
    byId("scale-bar").style.width = `${metres * this.#camera.zoom}px`;
    say(byId("scale-text"), metres >= 1000 ? `${metres / 1000} km` : `${metres} m`);
  }

  #at(event) {
    const box = this.#root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}

function apart(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}
