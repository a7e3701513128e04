// What is asked once, over HTTP, and answered in JSON or refused in words.

import type { Code, Refused } from "@outrider/client";

/** Nobody looks at an answer that took longer. */
const PATIENCE_MS = 10_000;

export type Answer<T> = { ok: T } | { refused: Refused };

/** Refusals that a later try may not meet: what is known meanwhile is old, and not wrong. */
const PASSING: readonly Code[] = ["unavailable", "busy", "rate_limited", "draining", "internal"];

/** Is it one of those? */
export function isPassing({ code }: Refused): boolean {
  return PASSING.includes(code);
}

/** What is known of something that is asked for again and again. */
export interface Latest<T> {
  answer: Answer<T>;
  /** When it was answered, in milliseconds since 1970. */
  at: number;
  /** Why the last try did not do, if it did not. */
  missed: Refused | null;
}

/** What is known once `answer` has come: a good answer is not forgotten for one that will pass. */
export function latestOf<T>(before: Latest<T> | null, answer: Answer<T>, at: number): Latest<T> {
  const isKept = before !== null && "ok" in before.answer && "refused" in answer && isPassing(answer.refused);
  return isKept ? { ...before, missed: answer.refused } : { answer, at, missed: null };
}

/** Something that is to be otherwise. */
export interface Change {
  method: "POST" | "PUT" | "DELETE";
  path: string;
  body?: unknown;
  /** As of which version (`If-Match`): who does not know the latest one is refused. */
  version?: number;
  /** By which a repeat is known (`Idempotency-Key`). */
  key?: string;
}

export class Rest {
  readonly #token: () => Promise<string>;

  constructor(token: () => Promise<string>) {
    this.#token = token;
  }

  get<T>(path: string): Promise<Answer<T>> {
    return this.#ask<T>("GET", path);
  }

  post<T>(path: string, body?: unknown): Promise<Answer<T>> {
    return this.#ask<T>("POST", path, { body });
  }

  change<T>({ method, path, ...more }: Change): Promise<Answer<T>> {
    return this.#ask<T>(method, path, more);
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

  async #ask<T>(method: string, path: string, { body, version, key }: Omit<Change, "method" | "path"> = {}): Promise<Answer<T>> {
    try {
      const headers: Record<string, string> = { authorization: `Bearer ${await this.#token()}` };
      if (body !== undefined) headers["content-type"] = "application/json";
      if (version !== undefined) headers["if-match"] = `"${version}"`;
      if (key !== undefined) headers["idempotency-key"] = key;
      const answer = await fetch(at(path), {
        method, headers, signal: AbortSignal.timeout(PATIENCE_MS), ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      if (answer.ok) return { ok: (text === "" ? null : JSON.parse(text)) as T };
      // Who stands between may answer for a node that is not there, and not in JSON.
      const isOurs = answer.headers.get("content-type")?.includes("json") === true;
      return { refused: isOurs ? JSON.parse(text) as Refused : { code: "unavailable", message: `${answer.status} ${answer.statusText}`.trim() } };
    } catch (error) {
      return { refused: { code: "unavailable", message: String(error instanceof Error ? error.message : error) } };
    }
  }
}

/** The console is one folder below the node's root, wherever that is. */
export function at(path: string): string {
  return new URL(`..${path}`, document.baseURI).href;
}
