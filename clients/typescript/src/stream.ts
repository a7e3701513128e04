// A socket for networks that break WebSockets: it hears server-sent events, and says what it says by posting it.

import type { Resume } from "./frames.js";
import type { SocketLike } from "./client.js";

const OPENING = 0;
const OPEN = 1;
const CLOSED = 3;
/** What a close code cannot be: the connection broke. */
const BROKEN = 1006;
const UNAUTHENTICATED = 4401;
/** Codes with which a client does not mean to come back. */
const GOODBYES = [1000, 1001];
/** Most frames of one post, and most bytes: a node takes 64 of them, and 64 KiB. */
const POST_MAX = { frames: 32, chars: 16_000 };
/** How often in a row a post may fail before the connection counts as broken. */
const TRIES_MAX = 4;
const TRY_AGAIN_MS = 250;

export interface StreamOptions {
  /** `https://…/v1/sse`. */
  readonly url: string;
  readonly token: string;
  readonly resume: Resume | null;
  readonly fetch: typeof fetch;
}

export class EventSocket implements SocketLike {
  readyState = OPENING;
  onopen: ((event: any) => void) | null = null;
  onmessage: ((event: any) => void) | null = null;
  onclose: ((event: any) => void) | null = null;
  onerror: ((event: any) => void) | null = null;

  readonly #options: StreamOptions;
  readonly #abort = new AbortController();
  /** Where frames are posted; known from `hello` on. */
  #session: string | null = null;
  #token: string;
  #waiting: string[] = [];
  #isPosting = false;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#token = options.token;
    void this.#listen();
  }

  send(text: string): void {
    if (this.readyState !== OPEN) return;
    // A newer token is good at once, and a node believes no post by one that has expired.
    if (text.startsWith('{"identify":')) {
      this.#token = (JSON.parse(text) as { identify: { token: string } }).identify.token;
    }
    this.#waiting.push(text);
    void this.#post();
  }

  close(code = 1000): void {
    if (this.readyState === CLOSED) return;
    const session = this.#session;
    if (session && GOODBYES.includes(code)) {
      this.#ask("DELETE", `/${session}`, { keepalive: true }).catch(() => {});
    }
    this.#closed(code);
  }

  async #listen(): Promise<void> {
    const { resume } = this.#options;
    const headers = { accept: "text/event-stream", ...(resume && { "last-event-id": `${resume.session}:${resume.heard}` }) };
    try {
      const answer = await this.#ask("GET", "", { headers, signal: this.#abort.signal });
      if (!answer.ok || !answer.body) {
        return this.#closed(answer.status === 401 ? UNAUTHENTICATED : BROKEN, retryAfterMs(answer));
      }
      if (this.readyState === CLOSED) return;
      this.readyState = OPEN;
      this.onopen?.({});
      const reader = answer.body.getReader();
      const text = new TextDecoder();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        const events = (rest + text.decode(value, { stream: true })).split("\n\n");
        rest = events.pop() ?? "";
        for (const event of events) this.#event(event);
      }
    } catch {
      // Whatever it was, the connection is over.
    }
    this.#closed(BROKEN);
  }

  #event(event: string): void {
    if (this.readyState !== OPEN) return;
    let type = "message";
    const data: string[] = [];
    for (const line of event.split("\n")) {
      const [, name, value = ""] = /^(\w+): ?(.*)$/.exec(line) ?? [];
      if (name === "event") type = value;
      if (name === "data") data.push(value);
    }
    if (data.length === 0) return;
    if (type === "goodbye") return this.#closed((JSON.parse(data.join("\n")) as { code: number }).code);
    if (type !== "message") return;
    const frame = data.join("\n");
    if (!this.#session) {
      try {
        this.#session = (JSON.parse(frame) as { hello: { session: string } }).hello.session;
      } catch {
        return this.#closed(BROKEN);
      }
    }
    this.onmessage?.({ data: frame });
    void this.#post();
  }

  /** Posts what waits, in its order: one post at a time. */
  async #post(): Promise<void> {
    if (this.#isPosting || !this.#session) return;
    this.#isPosting = true;
    for (let n = 0; this.#waiting.length > 0 && this.readyState === OPEN; ) {
      let chars = 0;
      const frames = this.#waiting.filter((frame, nth) => {
        chars += frame.length;
        return nth === 0 || (nth < POST_MAX.frames && chars < POST_MAX.chars);
      });
      let wait = TRY_AGAIN_MS * 2 ** n;
      try {
        const headers = { "content-type": "application/x-ndjson" };
        const answer = await this.#ask("POST", `/${this.#session}`, { headers, body: frames.join("\n") });
        if (answer.ok) {
          this.#waiting.splice(0, frames.length);
          n = 0;
          continue;
        }
        if (answer.status === 401) this.#closed(UNAUTHENTICATED);
        // There is no such stream any more, or it says on itself what is wrong.
        else if (answer.status < 500 && answer.status !== 429) this.#closed(BROKEN);
        wait = Math.max(wait, retryAfterMs(answer));
      } catch {
        // Perhaps it arrived: said again, it happens once.
      }
      n += 1;
      if (n >= TRIES_MAX) this.#closed(BROKEN);
      else await new Promise((resolve) => setTimeout(resolve, wait));
    }
    this.#isPosting = false;
  }

  #ask(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const headers = { ...(init.headers as Record<string, string>), authorization: `Bearer ${this.#token}` };
    const { fetch, url } = this.#options;
    return fetch(url + path, { ...init, method, headers, cache: "no-store", credentials: "omit" });
  }

  #closed(code: number, retryAfterMs = 0): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#waiting = [];
    this.#abort.abort();
    this.onclose?.({ code, retryAfterMs });
  }
}

/** How long a node asks to wait, in milliseconds; 0, if it does not say so. */
function retryAfterMs(answer: Response): number {
  // It may be a date, which nodes do not say.
  return Number(answer.headers.get("retry-after")) * 1_000 || 0;
}
