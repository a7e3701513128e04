// One client of a node, for as long as an app lives.
//
//   connecting ─► live ─► (cut off, silent) waiting ─► connecting …
//        └─ token refused twice ─► refused           close(), gone on elsewhere ─► closed
//
// Whatever happens to the socket: a command is asked for, with the same id, until it is answered; what was missed
// is heard after the client has come back; what must arrive is acknowledged when the app has heard it.

import type {
  ClientFrame, Code, CommandId, Done, Fix, Point, Principal, Push, Refused, Resume, ServerFrame, Topic, Wish, ZoneId,
} from "./frames.js";
import { mintCommandId, onceMore } from "./ids.js";
import { Shown } from "./shown.js";
import { EventSocket } from "./stream.js";

const SUBPROTOCOL = "outrider.v1.json";
const BACKOFF_MS = { first: 250, most: 15_000 };
/** Whoever was cut off while nobody waited for it comes back within so long: first those who have a job. */
const REST_MS = 20_000;
/** Without an answer for this long, a command is asked for again. */
const ANSWER_MS = 8_000;
/** Nothing at all for this long after something that is answered was said: the way leads nowhere, however long a node may be silent. */
const UNHEARD_MS = 20_000;
/**
 * So many heartbeats after a command was done, the node has noticed what became of its client: if it says nothing of how often
 * to be heard, that is as before.
 */
const BEATS_NOTICED = 2;
/** How long a socket may take to be welcomed. */
const WELCOME_MS = 15_000;
/** Most commands that are under way at once; a node refuses more than 16. */
const IN_FLIGHT_MAX = 8;
/** Most topics that were left and are left once more after a drop: a node allows so many frames at once. */
const LEFT_MAX = 16;
/** So many WebSockets in a row that came to nothing: the network breaks them, and streams may pass. */
const WEBSOCKETS_MAX = 3;
/** The topic of oneself, as a key. */
const ME = JSON.stringify("me" satisfies Topic);
/** Refusals that say "later" and not "no". What is quarantined waits for a person, which may be long. */
const PASSING: ReadonlySet<Code> = new Set<Code>(["busy", "rate_limited", "unavailable", "draining"]);
/**
 * Refusals of what will have passed, or be known, in a moment, if they say how long that is: a driver's last position may come after
 * what it wished there.
 */
const NOT_YET: ReadonlySet<Code> = new Set<Code>(["too_early", "too_far"]);
/** How often that is wished once more, and how long it may take; beyond it, the app should know. */
const ONCE_MORE_MAX = 3;
const NOT_YET_MS = 2_000;
const CLOSE = {
  normal: 1000, brokenRule: 1002, withoutAWord: 1006, notUtf8: 1007, policy: 1008, tooLarge: 1009, restart: 1012,
  comeBack: 4000, unauthenticated: 4401, elsewhere: 4409,
};
/** The same words would end the same way. */
const TO_BE_MENDED: ReadonlySet<number> = new Set([CLOSE.brokenRule, CLOSE.notUtf8, CLOSE.policy, CLOSE.tooLarge]);

/** A socket as browsers have it, and `ws` for Node. */
export interface SocketLike {
  readyState: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  /** With a `code`, and, if somebody said how long to wait before the next attempt, `retryAfterMs`. */
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export type SocketType = new (url: string, subprotocol: string) => SocketLike;

export interface ClientOptions {
  /** `wss://…/v1/ws`: of any node, or of what stands before them. */
  url: string;
  /** A bearer token; asked for whenever one is needed. */
  token: () => string | Promise<string>;
  /** The socket to use; the platform's own, if absent. */
  WebSocket?: SocketType;
  /**
   * How: by WebSocket, by server-sent events and posts (`sse`: `/v1/sse` beside the `url`), or, if absent, `auto`: by
   * events once several WebSockets in a row have come to nothing.
   */
  transport?: "auto" | "websocket" | "sse";
  /** For `sse`; the platform's own, if absent. */
  fetch?: typeof fetch;
  /** How long a command that is only told "later" is asked for, in milliseconds; for ever, if absent. */
  giveUpAfter?: number;
  /**
   * Most time between two heartbeats, in milliseconds; half of what the node asks for, if absent. Each is answered, so a
   * screen that must notice soon that nothing comes any more asks more often.
   */
  heartbeatEvery?: number;
  /** Between 0 and 1; for tests. */
  random?: () => number;
}

export type ClientState = "idle" | "connecting" | "live" | "waiting" | "refused" | "closed";

export interface ClientEvents {
  /** It has become live, or is not any more. */
  state: (state: ClientState) => void;
  /** It is let in. `resumed`: nothing was missed that is not said now; if not, everything is told anew. */
  welcome: (welcome: { principal: Principal; resumed: boolean; regions: readonly ZoneId[] }) => void;
  /** Any frame of the node, answers to commands among them. */
  frame: (frame: ServerFrame) => void;
  /** Something that must arrive; acknowledged when all listeners have returned. Each comes once. */
  push: (push: Push) => void;
}

/** A command that was refused for good. */
export class RefusedError extends Error {
  constructor(readonly refused: Refused) {
    super(refused.message);
    this.name = "RefusedError";
  }

  get code(): Code {
    return this.refused.code;
  }
}

interface Pending {
  readonly id: CommandId;
  /** As which it is asked for: another one once it was refused for a moment. */
  saidAs: CommandId;
  onceMore: number;
  readonly wish: Wish;
  readonly since: number;
  /** When it may be asked for again; 0: at once. */
  again: number;
  isUnderWay: boolean;
  resolve(done: Done): void;
  reject(error: Error): void;
}

/** Whoever follows one of these has been told by this frame that it is known. */
function topicsOf(frame: ServerFrame): Topic[] {
  if ("order" in frame) return [{ order: frame.order.id }];
  if ("rescue" in frame) return [{ rescue: frame.rescue.id }];
  if ("incident" in frame) return [{ incident: frame.incident.id }];
  if ("run" in frame) return [{ run: frame.run.id }];
  if ("driver" in frame) return [{ driver: frame.driver.id }, "me"];
  if ("rider" in frame) return ["me"];
  if ("actor" in frame) return [{ actor: frame.actor.actor }];
  if ("region" in frame) return [{ region: frame.region.region }];
  return "board" in frame ? ["board"] : [];
}

export class Client {
  readonly #options: ClientOptions;
  readonly #Socket: SocketType | undefined;
  readonly #random: () => number;
  readonly #listeners: { [Name in keyof ClientEvents]: Set<ClientEvents[Name]> } = {
    state: new Set(), welcome: new Set(), frame: new Set(), push: new Set(),
  };
  readonly #pending = new Map<CommandId, Pending>();
  readonly #topics = new Map<string, Topic>();
  /** Of these nothing has been heard yet: whether the node knows of them is not sure. */
  readonly #unsure = new Set<string>();
  /** What this socket asked for before it was welcomed. */
  readonly #ahead = new Set<string>();
  /** Those that were left; a session that goes on may not know. */
  readonly #left = new Map<string, Topic>();
  /** Where a driver is that nobody could be told yet, and when it was by our own clock. */
  #position: { told: Omit<Fix, "sampled_at"> & { sampled_at?: number }; since: number } | null = null;
  readonly #heardPushes = new Set<number>();
  readonly #shown = new Shown();

  #state: ClientState = "idle";
  #socket: SocketLike | null = null;
  /** Where to go on after a drop. */
  #at: Resume | null = null;
  /** This socket's session, and how many of its frames have come. */
  #here: Resume | null = null;
  #attempts = 0;
  /** Of which regions the token was with which it was welcomed last. */
  #isOf = "[]";
  /** WebSockets in a row that were not welcomed. */
  #websocketsLost = 0;
  #refusals = 0;
  #heartbeatMs = 20_000;
  /** What `hello` said it is: a longer one means that nobody waits for this client. */
  #heartbeatUsualMs = 20_000;
  #lastHeard = 0;
  /** When something that is answered was said last. */
  #lastAsked = 0;
  /** When something was said that is answered, if nothing was heard since. */
  #askedAt: number | null = null;
  /** By when something that is answered is to be said, for what was said at rest is not. */
  #beatBy = Infinity;
  /** A command was done, and the node has not told since how often to be heard: somebody may wait now, until so many heartbeats have come. */
  #beatsUnsure = 0;
  /** A heartbeat came since what this socket tells of oneself was asked for. */
  #isMeAnswered = false;
  /** What was said last. */
  #goodbye: Refused | null = null;
  #openedAt = 0;
  #clockAheadMs = 0;
  /** When a heartbeat was said that is not answered yet; 0: none. */
  #beatAt = 0;
  #roundTripMs: number | null = null;
  #retryAt = 0;
  /** When it would try again if its app wanted something. */
  #retryIfWantedAt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #ticker: ReturnType<typeof setInterval> | undefined;

  constructor(options: ClientOptions) {
    const Socket = options.WebSocket ?? (globalThis as { WebSocket?: SocketType }).WebSocket;
    if (!Socket && options.transport !== "sse") throw new Error("this platform has no WebSocket: give one, such as that of the package `ws`");
    this.#options = options;
    this.#Socket = Socket;
    this.#random = options.random ?? Math.random;
  }

  /** How it speaks to the node, or is about to. */
  get transport(): "websocket" | "sse" {
    const { transport = "auto" } = this.#options;
    if (this.#socket) return this.#socket instanceof EventSocket ? "sse" : "websocket";
    if (transport === "auto") return this.#websocketsLost < WEBSOCKETS_MAX ? "websocket" : "sse";
    return transport;
  }

  get state(): ClientState {
    return this.#state;
  }

  /** The node's clock, in milliseconds since 1970. */
  get serverNow(): number {
    return Date.now() + this.#clockAheadMs;
  }

  /** How long ago the node last said anything, in milliseconds. */
  get silentMs(): number {
    return Date.now() - this.#lastHeard;
  }

  /** How long the last heartbeat took there and back, in milliseconds; null before the first. */
  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  /** How long it still waits until the next attempt, in milliseconds. */
  get retryInMs(): number {
    return this.#state === "waiting" ? Math.max(0, this.#retryAt - Date.now()) : 0;
  }

  /** How many commands wait for their answers. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Listens; returns what ends it. */
  on<Name extends keyof ClientEvents>(name: Name, listener: ClientEvents[Name]): () => void {
    this.#listeners[name].add(listener);
    return () => this.#listeners[name].delete(listener);
  }

  /** Connects, and stays connected until `close`. */
  connect(): void {
    if (this.#socket || this.#state === "connecting") return;
    this.#refusals = 0;
    this.#ticker ??= setInterval(() => this.#tick(), 250);
    void this.#open();
  }

  /** Says goodbye. Commands that were not answered are rejected: their outcome is not known. */
  close(): void {
    clearTimeout(this.#retry);
    clearInterval(this.#ticker);
    this.#ticker = undefined;
    this.#at = this.#position = null;
    this.#drop(CLOSE.normal);
    this.#become("closed");
    this.#giveUp();
  }

  #giveUp(): void {
    for (const pending of this.#pending.values()) pending.reject(new Error("closed before there was an answer"));
    this.#pending.clear();
  }

  /**
   * Wants something. Resolves once it is done and durable, rejects with a `RefusedError` if it is not: however often
   * the connection breaks meanwhile, it happens once. Pass the `id` of a wish that was not answered before the app
   * ended to ask for the same again.
   */
  command(wish: Wish, id: CommandId = mintCommandId(this.serverNow)): Promise<Done> {
    const known = this.#pending.get(id);
    if (known) return Promise.reject(new Error(`${id} is under way already`));
    return new Promise<Done>((resolve, reject) => {
      this.#pending.set(id, { id, saidAs: id, onceMore: 0, wish, since: Date.now(), again: 0, isUnderWay: false, resolve, reject });
      this.rouse();
      this.#ask();
    });
  }

  /** Follows something, now and after every drop. Its views come as frames. */
  subscribe(topic: Topic): void {
    const key = JSON.stringify(topic);
    this.#topics.set(key, topic);
    this.#unsure.add(key);
    if (key === ME) this.#isMeAnswered = false;
    this.#left.delete(key);
    this.rouse();
    if (this.#state === "live") this.#say({ subscribe: topic });
  }

  unsubscribe(topic: Topic): void {
    const key = JSON.stringify(topic);
    this.#forget(key);
    this.#left.set(key, topic);
    for (const oldest of this.#left.keys()) if (this.#left.size > LEFT_MAX) this.#left.delete(oldest);
    if (this.#state === "live") this.#say({ unsubscribe: topic });
  }

  /** Says where a driver is. Only the latest counts: without a connection that one waits, and is said before any command. */
  position(at: Point, more: Omit<Fix, "at" | "sampled_at"> & { sampled_at?: number } = {}): void {
    this.#position = { told: { ...more, at }, since: Date.now() };
    this.rouse();
    this.#sayPosition();
  }

  #sayPosition(): void {
    if (this.#state !== "live" || this.#socket?.readyState !== 1 || !this.#position) return;
    const { told, since } = this.#position;
    this.#position = null;
    // How far ahead the node's clock is may have become known only meanwhile.
    this.#say({ position: { ...told, sampled_at: told.sampled_at ?? Math.round(since + this.#clockAheadMs) } });
  }

  /** Shows a newer token, so that the session outlasts the old one. */
  async renew(): Promise<void> {
    const token = await this.#options.token();
    if (this.#state === "live") this.#say({ identify: { token } });
  }

  /**
   * Ends the wait for the next attempt, also one that a node asked for: the network is back, says the platform. For nothing
   * else; see `rouse`.
   */
  retryNow(): void {
    // It may be another one.
    this.#websocketsLost = 0;
    if (this.#state === "waiting") void this.#open();
  }

  /**
   * Somebody takes the phone out: whoever was cut off while nobody waited for it lets others come back first no longer. How
   * long a node asked it to wait, it does. Commands, positions and subscriptions say so by themselves.
   */
  rouse(): void {
    if (this.#state !== "waiting" || this.#retryAt <= this.#retryIfWantedAt) return;
    this.#retryAt = this.#retryIfWantedAt;
    this.#retryThen();
  }

  async #open(): Promise<void> {
    clearTimeout(this.#retry);
    this.#drop(CLOSE.comeBack);
    this.#become("connecting");
    let token: string;
    try {
      token = await this.#options.token();
    } catch {
      return this.#comeBack();
    }
    if (this.#state !== "connecting" || this.#socket) return;
    const resume = this.#at;
    const socket = this.#connected(token, resume);
    this.#socket = socket;
    this.#here = null;
    this.#ahead.clear();
    this.#openedAt = this.#lastHeard = this.#lastAsked = Date.now();
    this.#askedAt = this.#goodbye = null;
    this.#beatBy = Infinity;
    this.#beatsUnsure = 0;
    this.#isMeAnswered = false;
    this.#heartbeatMs = this.#heartbeatUsualMs;
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket) this.#hear(data);
    };
    socket.onerror = () => {};
    socket.onclose = ({ code, retryAfterMs }) => {
      if (this.#socket === socket) this.#closed(code, retryAfterMs);
    };
  }

  #connected(token: string, resume: Resume | null): SocketLike {
    const { url, fetch = globalThis.fetch } = this.#options;
    if (this.transport === "sse" || !this.#Socket) {
      // Should that come to nothing too, it was not the WebSockets: the next one is one again.
      this.#websocketsLost = WEBSOCKETS_MAX - 1;
      const events = url.replace(/^ws/, "http").replace(/\/ws(?=$|\?)/, "/sse").replace(/\?.*$/, "");
      // Browsers let nobody but the window call theirs.
      return new EventSocket({ url: events, token, resume, fetch: fetch.bind(globalThis) });
    }
    this.#websocketsLost += 1;
    const socket = new this.#Socket(url, SUBPROTOCOL);
    socket.onopen = () => {
      this.#say({ identify: resume ? { token, resume } : { token } });
      // Whoever begins need not wait for the welcome: what is said meanwhile is read right after it. Of what may go on it is not known yet what still stands.
      if (resume) return;
      for (const [key, topic] of this.#topics) {
        this.#ahead.add(key);
        this.#say({ subscribe: topic });
      }
    };
    return socket;
  }

  #hear(data: unknown): void {
    this.#lastHeard = Date.now();
    this.#askedAt = null;
    if (this.#here) this.#here.heard += 1;
    let frame: ServerFrame;
    try {
      frame = JSON.parse(String(data)) as ServerFrame;
    } catch {
      // Not whole: what follows cannot be trusted either, and is said again.
      if (this.#here) this.#here.heard -= 1;
      this.#drop(CLOSE.comeBack);
      return this.#comeBack();
    }
    const shown = this.#shown.whole(frame);
    // The app would see something that is not so. Not of a node that keeps its word.
    if ("missing" in shown) return this.#say({ subscribe: shown.missing });
    frame = shown.frame;
    if ("hello" in frame) {
      const { session, heartbeat_ms: every, server_time: time } = frame.hello;
      this.#here = { session, heard: 1 };
      this.#heartbeatMs = this.#heartbeatUsualMs = every;
      this.#clockAheadMs = time - Date.now();
    } else if ("heartbeat" in frame) {
      const { server_time: time, heartbeat_ms: every } = frame.heartbeat;
      this.#heartbeatMs = every ?? this.#heartbeatMs;
      this.#beatsUnsure = every ? 0 : Math.max(0, this.#beatsUnsure - 1);
      this.#isMeAnswered = true;
      this.#clockAheadMs = time - Date.now();
      if (this.#beatAt > 0) this.#roundTripMs = performance.now() - this.#beatAt;
      this.#beatAt = 0;
    } else if ("welcome" in frame) {
      this.#welcomed(frame.welcome);
    } else if ("result" in frame) {
      this.#answered(frame.result.id, frame.result.outcome);
    } else if ("push" in frame) {
      const { n, push } = frame.push;
      if (!this.#heardPushes.has(n)) {
        this.#heardPushes.add(n);
        this.#emit("push", push);
      }
      this.#say({ ack: { n } });
    } else if ("goodbye" in frame) {
      this.#goodbye = frame.goodbye.refused;
    } else if ("refused" in frame && this.#state === "connecting") {
      // An older node does not know how to go on where another one was: begin anew.
      this.#at = null;
    } else if ("unsubscribed" in frame) {
      this.#forget(JSON.stringify(frame.unsubscribed.topic));
    }
    for (const topic of topicsOf(frame)) this.#unsure.delete(JSON.stringify(topic));
    // A board does not say of which viewport it is; there is one at a time.
    if ("board" in frame) for (const [key, topic] of this.#topics) if (typeof topic === "object" && "viewport" in topic) this.#unsure.delete(key);
    this.#emit("frame", frame);
  }

  #welcomed({ principal, resumed, regions = [] }: { principal: Principal; resumed?: boolean | null; regions?: ZoneId[] }): void {
    const isOf = JSON.stringify(regions);
    if (this.#state === "live") {
      // The answer to a newer token: nothing begins, but it may be of other regions.
      if (isOf !== this.#isOf) this.#emit("welcome", { principal, resumed: true, regions });
      this.#isOf = isOf;
      return;
    }
    this.#isOf = isOf;
    this.#at = this.#here;
    this.#beatAt = 0;
    this.#attempts = this.#refusals = 0;
    this.#websocketsLost = this.transport === "sse" ? WEBSOCKETS_MAX : 0;
    if (!resumed) {
      this.#shown.forget();
      this.#heardPushes.clear();
      // A session that begins knows of nothing that was left, but for what it was asked ahead.
      for (const key of this.#left.keys()) if (!this.#ahead.has(key)) this.#left.delete(key);
    }
    for (const topic of this.#left.values()) this.#say({ unsubscribe: topic });
    for (const [key, topic] of this.#topics) {
      if (resumed ? this.#unsure.has(key) : !this.#ahead.has(key)) this.#say({ subscribe: topic });
    }
    // What was under way may or may not have happened: asked again, it is answered, and happens once.
    for (const pending of this.#pending.values()) [pending.isUnderWay, pending.again] = [false, 0];
    this.#become("live");
    this.#emit("welcome", { principal, resumed: resumed === true, regions });
    // Before commands: "I am there" must not overtake where one is.
    this.#sayPosition();
    this.#ask();
  }

  #forget(key: string): void {
    this.#topics.delete(key);
    this.#unsure.delete(key);
  }

  #answered(id: CommandId, outcome: { ok: Done } | { refused: Refused }): void {
    const pending = [...this.#pending.values()].find(({ saidAs }) => saidAs === id);
    if (!pending) return;
    if ("refused" in outcome) {
      const { refused } = outcome;
      const isTooLong = Date.now() - pending.since > (this.#options.giveUpAfter ?? Infinity);
      if (PASSING.has(refused.code) && !isTooLong) {
        pending.isUnderWay = false;
        pending.again = Date.now() + (refused.retry_after_ms ?? 250) * (1 + this.#random());
        return;
      }
      const wait = refused.retry_after_ms ?? Infinity;
      // What is over in no time at all waits for somebody, not for a moment to pass.
      if (NOT_YET.has(refused.code) && wait > 0 && wait <= NOT_YET_MS && pending.onceMore < ONCE_MORE_MAX) {
        // The answer to this one is kept: the same again would be answered the same.
        pending.saidAs = onceMore(pending.saidAs);
        pending.onceMore += 1;
        pending.isUnderWay = false;
        pending.again = Date.now() + wait;
        return;
      }
      this.#pending.delete(pending.id);
      pending.reject(new RefusedError(refused));
    } else {
      // It may have a job now, and the node notices a little later.
      this.#beatsUnsure = BEATS_NOTICED;
      this.#pending.delete(pending.id);
      pending.resolve(outcome.ok);
    }
    this.#ask();
  }

  /** Asks for what was not answered, in the order in which it was wished. */
  #ask(): void {
    if (this.#state !== "live") return;
    const now = Date.now();
    let n = 0;
    for (const pending of this.#pending.values()) {
      if (pending.isUnderWay && now < pending.again) {
        n += 1;
      } else if (n < IN_FLIGHT_MAX && now >= pending.again) {
        n += 1;
        pending.isUnderWay = true;
        pending.again = now + ANSWER_MS;
        this.#say({ command: { id: pending.saidAs, wish: pending.wish } });
      }
    }
  }

  #say(frame: ClientFrame): void {
    if (this.#socket?.readyState !== 1) return;
    const now = Date.now();
    // What is not answered puts off no heartbeat: only an answer shows that the way still leads somewhere. At rest the next
    // one may be minutes away, and whoever says something does not want to know that late whether it arrived.
    if ("heartbeat" in frame || "command" in frame) {
      this.#lastAsked = now;
      this.#askedAt ??= now;
      this.#beatBy = Infinity;
    } else if (this.#isSeldomHeard && "subscribe" in frame) {
      this.#beatBy = now;
    } else if (this.#isSeldomHeard && "position" in frame) {
      // However many there are: as often as usual is enough.
      this.#beatBy = Math.min(this.#beatBy, Math.max(now, this.#lastAsked + this.#heartbeatUsualMs / 2));
    }
    this.#socket.send(JSON.stringify(frame));
  }

  #tick(): void {
    const now = Date.now();
    if (this.#state === "connecting" && this.#socket && now - this.#openedAt > WELCOME_MS) {
      this.#drop(CLOSE.comeBack);
      return this.#comeBack({ atLeast: this.#askedToWaitMs });
    }
    if (this.#state !== "live") return;
    // A node says something at least once in a heartbeat.
    const isUnheard = this.#askedAt !== null && now - this.#askedAt > UNHEARD_MS;
    if (isUnheard || now - this.#lastHeard > this.#heartbeatMs * 2.5) {
      this.#drop(CLOSE.comeBack);
      return this.#comeBack({ atLeast: this.#askedToWaitMs, isCutOff: true });
    }
    const beatAt = this.#lastAsked + Math.min(this.#heartbeatMs / 2, this.#options.heartbeatEvery ?? Infinity);
    if (now >= Math.min(beatAt, this.#beatBy)) {
      if (this.#beatAt === 0) this.#beatAt = performance.now();
      this.#say({ heartbeat: { heard: this.#here?.heard ?? null } });
    }
    this.#ask();
  }

  #closed(code: number, retryAfterMs = 0): void {
    this.#socket = null;
    if (code === CLOSE.elsewhere) {
      // Somebody else has its place.
      this.#at = null;
      this.#end("closed");
      return this.#giveUp();
    }
    if (code === CLOSE.unauthenticated) {
      this.#refusals += 1;
      // One token may have expired on its way; the next one is another.
      if (this.#refusals >= 2) return this.#end("refused");
    }
    // Others are there, and wait for this one.
    if (code === CLOSE.restart) this.#attempts = 0;
    const atLeast = Math.max(retryAfterMs, this.#askedToWaitMs, TO_BE_MENDED.has(code) ? BACKOFF_MS.most : 0);
    this.#comeBack({ atLeast, isCutOff: code === CLOSE.withoutAWord });
  }

  /** It does not come back by itself. */
  #end(state: "refused" | "closed"): void {
    clearInterval(this.#ticker);
    this.#ticker = undefined;
    this.#become(state);
  }

  /** How long the node's goodbye asked it to wait. */
  get #askedToWaitMs(): number {
    return this.#goodbye?.retry_after_ms ?? 0;
  }

  /** The node lets it be silent for longer than usual. */
  get #isSeldomHeard(): boolean {
    return this.#heartbeatMs > this.#heartbeatUsualMs;
  }

  /** Nobody waits for it, and its app for nothing: all that it wants was said, and heard. */
  get #isAtRest(): boolean {
    // Of oneself nothing is told as long as there is nothing: that a heartbeat came since must do, also where the next one was not answered.
    const isSure = (key: string): boolean => key === ME && this.#isMeAnswered;
    const isHeard = this.#pending.size === 0 && !this.#position && [...this.#unsure].every(isSure) && this.#beatsUnsure === 0;
    return this.#state === "live" && this.#isSeldomHeard && isHeard && !this.#goodbye;
  }

  /**
   * The next attempt, after `atLeast` milliseconds. Who is told to go, by a close code or a goodbye, goes then; who was cut
   * off without a word may be one of very many, and at rest lets those who have a job come back first.
   */
  #comeBack({ atLeast = 0, isCutOff = false } = {}): void {
    const ceiling = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** this.#attempts);
    this.#attempts += 1;
    // Everybody who was cut off at once must not come back at once.
    const wait = atLeast + ceiling * (0.5 + this.#random());
    const now = Date.now();
    this.#retryIfWantedAt = now + wait;
    this.#retryAt = now + (isCutOff && this.#isAtRest ? Math.max(wait, REST_MS * this.#random()) : wait);
    this.#retryThen();
    this.#become("waiting");
  }

  #retryThen(): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => void this.#open(), Math.max(0, this.#retryAt - Date.now()));
  }

  #drop(code: number): void {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {};
    socket.close(code);
  }

  #become(state: ClientState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit("state", state);
  }

  #emit<Name extends keyof ClientEvents>(name: Name, ...values: Parameters<ClientEvents[Name]>): void {
    for (const listener of this.#listeners[name]) {
      try {
        (listener as (...values: Parameters<ClientEvents[Name]>) => void)(...values);
      } catch (error) {
        // A fault of the app is the app's to see, and keeps nobody else from hearing.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
