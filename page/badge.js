// Whether what is shown is true now; never silently stale.

import { byId, say } from "./dom.js";
import { clock } from "./ticker.js";

const SPOKEN = {
  live: "Live", stale: "The node is silent; what is shown may be old", reconnecting: "Connection lost, reconnecting",
  refused: "Signed out", connecting: "Connecting",
};

export class Badge {
  #socket;
  #badge = byId("badge");

  constructor(socket) {
    this.#socket = socket;
    socket.addEventListener("state", () => {
      this.#show();
      say(byId("announce"), SPOKEN[socket.state]);
    });
    this.#badge.addEventListener("click", () => socket.retryNow());
    setInterval(() => this.#show(), 500);
    this.#show();
  }

  #show() {
    const { state, silentMs, roundTripMs, retryAt } = this.#socket;
    const wait = Math.max(0, Math.ceil((retryAt - performance.now()) / 1000));
    const text = {
      connecting: "Connecting…",
      live: roundTripMs === null ? "Live" : `Live · ${roundTripMs < 10 ? roundTripMs.toFixed(1) : Math.round(roundTripMs)} ms`,
      stale: `Stale · ${Math.round(silentMs / 1000)} s old`,
      reconnecting: wait > 0 ? `Reconnecting in ${wait} s` : "Reconnecting…",
      refused: "Signed out",
    }[state];
    this.#badge.dataset.state = state;
    this.#badge.title = state === "reconnecting" ? "Press to try now" : SPOKEN[state];
    say(byId("badge-text"), text);
    document.body.classList.toggle("is-old", state === "stale" || state === "reconnecting");
    say(byId("clock"), clock(this.#socket.serverNow));
  }
}
