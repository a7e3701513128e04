// What is asked once, over HTTP, and answered in JSON or refused in words.

import type { Refused } from "@outrider/client";

/** Nobody looks at an answer that took longer. */
const PATIENCE_MS = 10_000;

export type Answer<T> = { ok: T } | { refused: Refused };

export class Rest {
  readonly #token: () => Promise<string>;

  constructor(token: () => Promise<string>) {
    this.#token = token;
  }

  get<T>(path: string): Promise<Answer<T>> {
    return this.#ask<T>("GET", path);
  }

  post<T>(path: string, body?: unknown): Promise<Answer<T>> {
    return this.#ask<T>("POST", path, body);
  }

  /** Text, such as what Prometheus reads; null if there is none. */
  async text(path: string): Promise<string | null> {
    try {
      const answer = await fetch(at(path), { signal: AbortSignal.timeout(PATIENCE_MS) });
      return answer.ok ? await answer.text() : null;
    } catch {
      return null;
    }
  }

  async #ask<T>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
    try {
      const headers: Record<string, string> = { authorization: `Bearer ${await this.#token()}` };
      if (body !== undefined) headers["content-type"] = "application/json";
      const answer = await fetch(at(path), {
        method, headers, signal: AbortSignal.timeout(PATIENCE_MS), ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      const said = text === "" ? null : JSON.parse(text);
      return answer.ok ? { ok: said as T } : { refused: said as Refused };
    } catch (error) {
      return { refused: { code: "unavailable", message: String(error instanceof Error ? error.message : error) } };
    }
  }
}

/** The console is one folder below the node's root, wherever that is. */
export function at(path: string): string {
  return new URL(`..${path}`, document.baseURI).href;
}
