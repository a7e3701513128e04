// The one connection to the node, and what has come of it: who we are, whether what is shown is true now, the board,
// what is followed, who calls for help, and what was asked for and not answered yet.
//
//   connecting ─► live ─► (silent) stale ─► reconnecting ─► connecting …
//        └─ token refused ─► refused              gone on elsewhere ─► closed

import {
  Client, RefusedError, mintCommandId,
  type Attending, type ClientState, type Done, type IncidentView, type Principal, type Refused, type ServerFrame, type Topic, type Viewport, type Wish,
} from "@outrider/client";
import { Board } from "./board.js";

/** Each is answered; so a node is known to be silent after about two of them. */
const HEARTBEAT_EVERY_MS = 2000;
const STALE_AFTER_MS = 6000;
/** Whoever waits for longer wants to hear that it did not work. */
const GIVE_UP_AFTER_MS = 20_000;
/** A wish that was refused or done is shown for so long. */
const TOLD_FOR_MS = 8000;

export type Trust = "connecting" | "live" | "stale" | "reconnecting" | "refused" | "closed";
/** What is told of something followed: its view, or why there is none. */
export type Told = { view: unknown } | { refused: Refused };

/** Something that was asked for: shown as if it were so until the node says that it is not. */
export interface Asked {
  readonly id: string;
  /** About which actor, in display form. */
  readonly actor: string;
  /** What, as the catalogue's key of the action. */
  readonly what: string;
  readonly wish: Wish;
  readonly since: number;
  state: "asked" | "done" | "refused";
  refused?: Refused;
}

type Changed = "trust" | "incidents" | "asked";

interface Followed {
  topic: Topic;
  listeners: Set<(told: Told) => void>;
  told: Told | null;
}

const VIEWS = ["order", "rescue", "driver", "incident", "run"] as const;

export class Live {
  readonly client: Client;
  readonly board = new Board();
  /** Who calls for help, by incident. */
  readonly incidents = new Map<string, IncidentView>();
  /** What was asked for lately, newest last. */
  asked: readonly Asked[] = [];
  trust: Trust = "connecting";
  principal: Principal | null = null;
  /** Of which regions it is told; none, of everywhere. */
  regions: readonly string[] = [];
  /** Why the node last said no to this token. */
  reason = "";

  /** Which of them somebody here has just said to see to, by how often they had been escalated then. */
  readonly #heeding = new Map<string, { escalations: number }>();
  /** What of the board is followed: all of it, or a viewport. Nothing until somebody looks. */
  #looking: Topic | null = null;
  /** This connection, as others see it. */
  #session = "";
  readonly #followed = new Map<string, Followed>();
  readonly #listeners: Record<Changed, Set<() => void>> = { trust: new Set(), incidents: new Set(), asked: new Set() };

  /** `token` is asked for at each connect. */
  constructor(url: string, token: () => Promise<string>) {
    this.client = new Client({ url, token, heartbeatEvery: HEARTBEAT_EVERY_MS, giveUpAfter: GIVE_UP_AFTER_MS });
    this.client.on("state", (state) => this.#became(state));
    this.client.on("welcome", ({ principal, resumed, regions }) => {
      // Those that still call are told anew; of those that do no more, a session that begins says nothing.
      if (!resumed) this.#forgetIncidents();
      const isNew = principal !== this.principal || regions.join() !== this.regions.join();
      this.principal = principal;
      this.regions = regions;
      this.reason = "";
      this.#judge();
      if (isNew) this.#emit("trust");
    });
    this.client.on("frame", (frame) => this.#hear(frame));
    this.client.on("push", (push) => {
      if ("incident" in push) this.#incident(push.incident);
      if ("incident_heeded" in push) this.#heeded(push.incident_heeded.incident);
    });
    this.board.on("gap", () => {
      if (this.#looking === null) return;
      this.client.unsubscribe(this.#looking);
      this.client.subscribe(this.#looking);
    });
    setInterval(() => this.#judge(), 500);
    addEventListener("online", () => this.client.retryNow());
  }

  get isAdmin(): boolean {
    return this.principal === "admin";
  }

  /** Is it staff of everywhere, and not of some regions only? */
  get isEverywhere(): boolean {
    return (this.principal === "admin" || this.principal === "dispatcher") && this.regions.length === 0;
  }

  /** Connects, after a refusal too. */
  connect(): void {
    this.client.connect();
  }

  on(what: Changed, listener: () => void): () => void {
    this.#listeners[what].add(listener);
    return () => this.#listeners[what].delete(listener);
  }

  /** Looks at this part of the map from now on; the queue is the whole board's all the same. */
  look(viewport: Viewport): void {
    this.#look({ viewport });
  }

  /** Who else of staff has this job open. */
  others(job: string): readonly Attending[] {
    return (this.board.attending.get(job) ?? []).filter(({ session }) => session !== this.#session);
  }

  #look(topic: Topic): void {
    const before = this.#looking;
    this.#looking = topic;
    this.client.subscribe(topic);
    // Only now: what has been shown is not forgotten in between.
    if (before !== null && JSON.stringify(before) !== JSON.stringify(topic)) this.client.unsubscribe(before);
  }

  /** Follows something until the returned function is called. Several may follow the same. */
  follow(topic: Topic, listener: (told: Told) => void): () => void {
    const key = JSON.stringify(topic);
    let followed = this.#followed.get(key);
    if (!followed) {
      this.#followed.set(key, followed = { topic, listeners: new Set(), told: null });
      this.client.subscribe(topic);
    } else if (followed.told) {
      listener(followed.told);
    }
    const it = followed;
    it.listeners.add(listener);
    return () => {
      it.listeners.delete(listener);
      if (it.listeners.size > 0 || this.#followed.get(key) !== it) return;
      this.#followed.delete(key);
      this.client.unsubscribe(topic);
    };
  }

  /** Asks for what was refused or lost once more. */
  again(topic: Topic): void {
    if (this.#followed.has(JSON.stringify(topic))) this.client.subscribe(topic);
  }

  /** Wants something of an actor; shown as if it were so until the node says no. */
  async ask(actor: string, what: string, wish: Wish): Promise<Done | null> {
    const asked: Asked = { id: mintCommandId(this.client.serverNow), actor, what, wish, since: Date.now(), state: "asked" };
    this.#ask([...this.asked, asked]);
    try {
      const done = await this.client.command(wish, asked.id);
      this.#settle(asked, "done");
      return done;
    } catch (error) {
      const refused: Refused = error instanceof RefusedError ? error.refused : { code: "internal", message: String(error) };
      this.#settle(asked, "refused", refused);
      return null;
    }
  }

  /**
   * Those that call: those that somebody here has just said to see to do so no more, unless that is refused, or they are escalated.
   * Without a connection, and without an answer for long, nobody may have heard it, and they go on.
   */
  get calling(): readonly IncidentView[] {
    const isHeard = this.trust === "live";
    return [...this.incidents.values()].filter(({ id, escalations }) => !isHeard || this.#heeding.get(id)?.escalations !== escalations);
  }

  /** Sees to an incident. */
  async heed({ id, escalations }: IncidentView): Promise<void> {
    const heeding = { escalations };
    const callsOn = (): void => {
      // It may be over, or somebody has said so again.
      if (this.#heeding.get(id) !== heeding) return;
      this.#heeding.delete(id);
      this.#emit("incidents");
    };
    this.#heeding.set(id, heeding);
    this.#emit("incidents");
    const late = setTimeout(callsOn, GIVE_UP_AFTER_MS);
    const done = await this.ask(id, "act.ack", { incident: { id, action: { ack: {} } } });
    clearTimeout(late);
    if (done === null) callsOn();
  }

  /** What was asked of an actor and is not answered yet, newest last. */
  underWay(actor: string): readonly Asked[] {
    return this.asked.filter((it) => it.actor === actor && it.state === "asked");
  }

  dismiss(id: string): void {
    this.#ask(this.asked.filter((it) => it.id !== id));
  }

  #settle(asked: Asked, state: "done" | "refused", refused?: Refused): void {
    asked.state = state;
    if (refused) asked.refused = refused;
    this.#ask([...this.asked]);
    // A refusal stays until somebody has read it.
    if (state === "done") setTimeout(() => this.dismiss(asked.id), TOLD_FOR_MS / 2);
    else setTimeout(() => this.dismiss(asked.id), TOLD_FOR_MS * 4);
  }

  #ask(asked: readonly Asked[]): void {
    this.asked = asked.slice(-12);
    this.#emit("asked");
  }

  #hear(frame: ServerFrame): void {
    if ("hello" in frame) {
      this.#session = frame.hello.session;
    } else if ("board" in frame) {
      this.board.apply(frame.board);
    } else if ("refused" in frame) {
      // A node of an older build knows no viewports.
      if (frame.refused.code === "malformed" && this.#looking !== "board" && !this.board.isKnown) this.#look("board");
    } else if ("actor" in frame) {
      this.#tell({ actor: frame.actor.actor }, { view: frame.actor });
    } else if ("unsubscribed" in frame) {
      this.#tell(frame.unsubscribed.topic, { refused: frame.unsubscribed.refused });
    } else if ("goodbye" in frame) {
      this.reason = frame.goodbye.refused.message;
    } else {
      for (const kind of VIEWS) {
        const view = (frame as Record<string, { id: string } | undefined>)[kind];
        if (!view) continue;
        if (kind === "incident") this.#incident(view as IncidentView);
        this.#tell({ [kind]: view.id } as Topic, { view });
      }
    }
  }

  #tell(topic: Topic, told: Told): void {
    const followed = this.#followed.get(JSON.stringify(topic));
    if (!followed) return;
    followed.told = told;
    for (const listener of [...followed.listeners]) listener(told);
  }

  #incident(incident: IncidentView): void {
    const known = this.incidents.get(incident.id);
    if (known && known.version > incident.version) return;
    if (incident.calling) this.incidents.set(incident.id, incident);
    else this.#hush(incident.id);
    this.#emit("incidents");
  }

  #heeded(id: string): void {
    if (this.#hush(id)) this.#emit("incidents");
  }

  #forgetIncidents(): void {
    this.#heeding.clear();
    if (this.incidents.size === 0) return;
    this.incidents.clear();
    this.#emit("incidents");
  }

  #hush(id: string): boolean {
    this.#heeding.delete(id);
    return this.incidents.delete(id);
  }

  #became(state: ClientState): void {
    if (state === "refused") this.principal = null;
    this.#judge();
  }

  #judge(): void {
    const { state, silentMs } = this.client;
    const trust: Trust = state === "refused" || state === "closed" ? state
      : state === "live" ? (silentMs > STALE_AFTER_MS ? "stale" : "live")
      : this.principal === null ? "connecting" : "reconnecting";
    if (trust === this.trust) return;
    this.trust = trust;
    this.#emit("trust");
  }

  #emit(what: Changed): void {
    for (const listener of [...this.#listeners[what]]) listener();
  }
}
