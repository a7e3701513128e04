// The one WebSocket to the node: says who we are, keeps it alive, and comes back when it falls.
//
//   connecting ─► live ─► (silent) stale ─► (silent for long) reconnecting ─► connecting …
//        └─ token refused ─► refused

const SUBPROTOCOL = "outrider.v1.json";
const HEARTBEAT_MS = 2000;
const STALE_AFTER_MS = 6000;
const GIVE_UP_AFTER_MS = 20_000;
const BACKOFF_MS = { first: 500, most: 15_000 };
const CLOSE_UNAUTHENTICATED = 4401;
// Says that whoever closes means to go on where it was.
const COME_BACK = 4000;

/** Emits `state` when it changes and `frame` for each frame of the node. */
export class Socket extends EventTarget {
  /** connecting, live, stale, reconnecting or refused. */
  state = "connecting";
  /** Why the node last said no, for people. */
  reason = "";
  /** When the next attempt starts, by `performance.now()`. */
  retryAt = 0;
  /** How far the node's clock is ahead of ours, in milliseconds. */
  clockAheadMs = 0;
  /** How long a heartbeat takes there and back, in milliseconds. */
  roundTripMs = null;

  #url;
  #token = null;
  #socket = null;
  #attempts = 0;
  #lastHeard = 0;
  #heartbeatSent = null;
  #heartbeatMs = HEARTBEAT_MS;
  #retry = null;
  #isRefused = false;
  // This session, and how many of its frames have come; and where to go on after a drop.
  #here = null;
  #at = null;

  constructor(url) {
    super();
    this.#url = url;
    setInterval(() => this.#watch(), 1000);
    addEventListener("online", () => this.retryNow());
  }

  /** How long ago the node last said anything, in milliseconds. */
  get silentMs() {
    return performance.now() - this.#lastHeard;
  }

  /** The node's clock, in milliseconds since the Unix epoch. */
  get serverNow() {
    return Date.now() + this.clockAheadMs;
  }

  /** Connects as the bearer of `token`. */
  open(token) {
    this.#token = token;
    this.#attempts = 0;
    this.#connect();
  }

  /** Sends a frame, if there is anyone to send it to. */
  send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  /** Ends the wait for the next attempt. */
  retryNow() {
    if (this.#retry !== null) this.#connect();
  }

  #connect() {
    clearTimeout(this.#retry);
    this.#retry = null;
    this.#drop();
    this.#isRefused = false;
    this.#heartbeatSent = null;
    this.#lastHeard = performance.now();
    this.#become(this.#attempts === 0 ? "connecting" : "reconnecting");

    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    const resume = this.#at ?? undefined;
    this.#here = null;
    socket.onopen = () => this.send({ identify: { token: this.#token, resume } });
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ code }) => this.#closed(code);
  }

  #hear(text) {
    this.#lastHeard = performance.now();
    if (typeof text !== "string") return;
    if (this.#here) this.#here.heard += 1;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    const serverTime = frame.hello?.server_time ?? frame.heartbeat?.server_time ?? frame.board?.server_time;
    if (serverTime) this.clockAheadMs = serverTime - Date.now();
    if (frame.hello) this.#here = { session: frame.hello.session, heard: 1 };
    const heartbeatMs = frame.hello?.heartbeat_ms ?? frame.heartbeat?.heartbeat_ms;
    if (heartbeatMs) this.#heartbeatMs = Math.min(HEARTBEAT_MS, heartbeatMs / 2);
    if (frame.heartbeat && this.#heartbeatSent !== null) {
      this.roundTripMs = performance.now() - this.#heartbeatSent;
      this.#heartbeatSent = null;
    }
    // Told again until it is here. What a page has no place for is no reason to hear it for ever.
    if (frame.push) this.send({ ack: { n: frame.push.n } });
    if (frame.goodbye) {
      this.reason = frame.goodbye.refused?.message ?? "";
      this.#isRefused ||= isAboutWho(frame.goodbye.refused);
    }
    if (frame.refused) {
      // An older node does not know how to go on where another one was.
      if (this.state !== "live") this.#at = null;
      this.reason = frame.refused.message ?? "";
      this.#isRefused ||= this.state !== "live" && isAboutWho(frame.refused);
    }
    if (frame.welcome) {
      this.#at = this.#here;
      this.#attempts = 0;
      this.reason = "";
      this.#become("live");
      this.#beat();
    } else if (this.state === "stale") {
      this.#become("live");
    }
    this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  #closed(code) {
    this.#socket = null;
    if (this.#isRefused || code === CLOSE_UNAUTHENTICATED) {
      this.#become("refused");
      return;
    }
    this.#comeBack();
  }

  #comeBack() {
    const ceiling = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.#attempts);
    // A restarted node must not meet all its viewers in the same instant.
    const wait = ceiling * (0.5 + Math.random() / 2);
    this.#attempts += 1;
    this.retryAt = performance.now() + wait;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), wait);
    this.#become("reconnecting");
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(COME_BACK);
  }

  #watch() {
    if (this.#retry !== null || this.state === "refused" || !this.#socket) return;
    if (this.silentMs > GIVE_UP_AFTER_MS) {
      this.#drop();
      this.#comeBack();
    } else if (this.state === "live" && this.silentMs > STALE_AFTER_MS) {
      this.#become("stale");
    }
  }

  #beat() {
    const socket = this.#socket;
    const beat = () => {
      if (this.#socket !== socket) return;
      this.#heartbeatSent ??= performance.now();
      this.send({ heartbeat: { heard: this.#at?.heard } });
      setTimeout(beat, this.#heartbeatMs);
    };
    beat();
  }

  #become(state) {
    if (this.state === state && state !== "reconnecting") return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

function isAboutWho(refused) {
  return refused?.code === "unauthenticated" || refused?.code === "forbidden";
}
