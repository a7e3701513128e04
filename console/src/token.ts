// Where the token comes from: a demo gives one away, otherwise a person brings one. It stays in this tab.

import { at } from "./rest.js";

const KEY = "outrider.token";

export class Token {
  #token: string | null = sessionStorage.getItem(KEY);
  #waiting: ((token: string) => void)[] = [];
  /** Is somebody waiting for a person to bring one? */
  isWanted = false;
  onwanted: () => void = () => {};
  /** Whether a demo gives one is known when this is done: nobody is asked before. */
  #given: Promise<void> = this.#fromDemo();

  /** The token, once there is one. */
  async get(): Promise<string> {
    await this.#given;
    if (this.#token) return this.#token;
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.isWanted) return;
      this.isWanted = true;
      this.onwanted();
    });
  }

  /** The token is good no longer; a demo that has begun anew gives another one. */
  renew(): void {
    sessionStorage.removeItem(KEY);
    this.#token = null;
    this.#given = this.#fromDemo();
  }

  /** Takes what a demo gives, unless somebody has signed in. */
  async #fromDemo(): Promise<void> {
    if (this.#token) return;
    try {
      // As browsers ask who were told that this comes next (src/gateway/console.rs): asked for otherwise, it would be asked for twice.
      const answer = await fetch(at("/demo/token"));
      const { token } = answer.ok ? await answer.json() : { token: null };
      if (typeof token === "string") this.#use(token);
    } catch {
      // Not a demo.
    }
  }

  bring(token: string): void {
    sessionStorage.setItem(KEY, token);
    this.#use(token);
  }

  forget(): void {
    sessionStorage.removeItem(KEY);
    this.#token = null;
  }

  #use(token: string): void {
    this.#token = token;
    this.isWanted = false;
    for (const resolve of this.#waiting.splice(0)) resolve(token);
    this.onwanted();
  }
}
