// Who else has a job open: so that two dispatchers see each other before they act, and not only what came of it.

import type { JSX } from "preact";
import { useApp, useHeard } from "../app.js";
import { short } from "../status.js";
import { Icon } from "../ui.js";
import { t, word } from "../words.js";

/** `dispatcher 3f2a1b, admin 77c0de`: nobody has a name but by connection. */
export function useOthers(job: string): string {
  const { live } = useApp();
  useHeard((again) => live.board.on("attending", again), [job]);
  return live.others(job).map(({ by, session }) => `${word("kind", String(by)).toLowerCase()} ${short(session)}`).join(", ");
}

/** Says so, where one is about to act. */
export function Others({ job }: { job: string }): JSX.Element | null {
  const who = useOthers(job);
  return who === "" ? null : <p class="others" role="status"><Icon name="eye" />{t("job.others", { who })}</p>;
}
