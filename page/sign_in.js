// Where the token comes from: a demo gives one away, otherwise a person brings one.

import { byId, say } from "./dom.js";

const KEY = "outrider.token";

export class SignIn {
  #dialog = byId("sign-in");

  /** A token to start with: the demo's, this tab's last one, or one the person types now. */
  async token() {
    return (await this.#demoToken()) ?? sessionStorage.getItem(KEY) ?? this.ask("");
  }

  /** Asks the person, with why the last token did not do. */
  ask(reason) {
    sessionStorage.removeItem(KEY);
    const field = byId("token");
    field.value = "";
    field.setAttribute("aria-invalid", String(reason !== ""));
    say(byId("sign-in-error"), reason);
    if (!this.#dialog.open) this.#dialog.showModal();
    field.focus();
    return new Promise((resolve) => {
      byId("sign-in-form").onsubmit = (event) => {
        event.preventDefault();
        const token = field.value.trim();
        if (!token) return;
        sessionStorage.setItem(KEY, token);
        this.#dialog.close();
        resolve(token);
      };
      // Escape would leave an empty page behind.
      this.#dialog.oncancel = (event) => event.preventDefault();
    });
  }

  async #demoToken() {
    try {
      const answer = await fetch("demo/token", { headers: { accept: "application/json" }, cache: "no-store" });
      return answer.ok ? ((await answer.json()).token ?? null) : null;
    } catch {
      return null;
    }
  }
}
