// What was shown, as it was last: what changed of it makes it whole again.

import type { Changed, ServerFrame, Topic } from "./frames.js";

/** Most views that are kept: more than a node lets one session follow. */
const SHOWN_MAX = 128;
const KINDS = ["order", "rescue", "driver", "rider", "run"] as const;

interface View {
  readonly id: string;
  readonly version: number;
}

export class Shown {
  /** The latest last. */
  readonly #views = new Map<string, View>();

  /** The same frame, or the whole view it changes; a topic, if that was not shown and must be asked for. */
  whole(frame: ServerFrame): { frame: ServerFrame } | { missing: Topic } {
    if ("changed" in frame) return this.#changed(frame.changed);
    for (const kind of KINDS) {
      const view = (frame as Record<string, View | undefined>)[kind];
      if (view) this.#keep(view);
    }
    return { frame };
  }

  /** Everything is told anew. */
  forget(): void {
    this.#views.clear();
  }

  #changed(changed: Changed): { frame: ServerFrame } | { missing: Topic } {
    const [kind, { from, ...fields }] = Object.entries(changed)[0] as [(typeof KINDS)[number], View & { from: number }];
    const was = this.#views.get(fields.id);
    if (was?.version !== from) {
      this.#views.delete(fields.id);
      return { missing: kind === "rider" ? "me" : ({ [kind]: fields.id } as Topic) };
    }
    const view = { ...was, ...fields };
    this.#keep(view);
    return { frame: { [kind]: view } as unknown as ServerFrame };
  }

  #keep(view: View): void {
    this.#views.delete(view.id);
    this.#views.set(view.id, view);
    for (const oldest of this.#views.keys()) {
      if (this.#views.size <= SHOWN_MAX) break;
      this.#views.delete(oldest);
    }
  }
}
