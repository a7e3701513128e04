// Views that nobody needs for the first look at the queue: they come in a file of their own, once that look has been had, or as
// soon as somebody wants one of them.

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Loading } from "./ui.js";
import { t } from "./words.js";

type Views = typeof import("./views.js");

let views: Views | null = null;
let coming: Promise<Views> | null = null;

/** Fetches them, unless they are here or on their way. Rejects if they cannot be had; they may be asked for again then. */
export function fetchViews(): Promise<Views> {
  coming ??= import("./views.js").then((them) => (views = them)).catch((error: unknown) => {
    coming = null;
    throw error;
  });
  return coming;
}

/** Shows one of them; until it is here, that it comes, or that it cannot. */
export function Later({ children }: { children: (views: Views) => JSX.Element }): JSX.Element {
  const [here, setHere] = useState(views);
  const [isMissing, setMissing] = useState(false);
  useEffect(() => {
    if (!here) fetchViews().then((them) => setHere(() => them), () => setMissing(true));
  }, []);
  if (here) return children(here);
  if (!isMissing) return <Loading rows={8} />;
  return (
    <div class="refusal" role="alert">
      <strong>{t("view.missing")}</strong>
      {/* A node of another build has a page of its own, with views that go with it; and some browsers remember that a file could not be had. */}
      <button type="button" class="ghost" onClick={() => location.reload()}>{t("again")}</button>
    </div>
  );
}
