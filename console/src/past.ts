// What has happened since the console was opened, for whoever looks at it later.

import type { Happening } from "@outrider/client";
import type { Board } from "./board.js";

export const KEPT_MAX = 400;

/** What happened, and how often in a row. */
export type Line = Happening & { n: number; times: number };

/** What has happened since the console was opened, also while nobody looked. */
const memory = new WeakMap<Board, { lines: Line[]; n: number }>();

export function remember(board: Board): void {
  const kept: { lines: Line[]; n: number } = { lines: [], n: 0 };
  memory.set(board, kept);
  board.on("happenings", ({ happenings, isPast }) => {
    const lines = isPast ? [] : [...kept.lines];
    for (const it of happenings) {
      const last = lines[0];
      if (last?.actor === it.actor && last.what === it.what) lines[0] = { ...last, at: it.at, times: last.times + 1 };
      else lines.unshift({ ...it, n: kept.n += 1, times: 1 });
    }
    kept.lines = lines.slice(0, KEPT_MAX);
  });
}

/** What is remembered of it, newest first. */
export function linesOf(board: Board): readonly Line[] {
  return memory.get(board)?.lines ?? [];
}
