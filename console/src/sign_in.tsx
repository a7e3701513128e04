// A person brings a token, for a role that may look and act.

import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { useApp } from "./app.js";
import { t } from "./words.js";

/** `reason`: why the last token did not do. */
export function SignIn({ reason }: { reason: string }): JSX.Element {
  const { token } = useApp();
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    dialog.current!.showModal();
    field.current!.focus();
  }, []);
  const bring = (event: SubmitEvent): void => {
    event.preventDefault();
    const text = field.current!.value.trim();
    if (text) token.bring(text);
  };
  return (
    // Escape would leave an empty page behind.
    <dialog ref={dialog} id="sign-in" class="sign-in" aria-labelledby="sign-in-title" onCancel={(event) => event.preventDefault()}>
      <form onSubmit={bring}>
        <svg class="sign-in-mark" viewBox="0 0 24 24" aria-hidden="true"><path d="M12 2.500 20.500 21 12 16.600 3.500 21Z" /></svg>
        <h2 id="sign-in-title">{t("sign_in.title")}</h2>
        <p>{t("sign_in.says")}</p>
        <p class="hint"><code>outrider token --role dispatcher</code></p>
        <label for="token">{t("sign_in.token")}</label>
        <input ref={field} id="token" type="password" autocomplete="off" spellcheck={false} required aria-invalid={reason !== ""} aria-describedby="sign-in-error" />
        <p id="sign-in-error" class="error" role="alert">{reason ? t("sign_in.refused", { reason }) : ""}</p>
        <button type="submit" class="primary">{t("sign_in.go")}</button>
      </form>
    </dialog>
  );
}
