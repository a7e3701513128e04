// What people write into fields, and what the node is told of it.

import type { Point } from "@outrider/client";

/** `2026-11-30T06:30` in the viewer's time zone, as a field for a moment has it; empty for none, and for one that no calendar has. */
export function localOf(at: number | null | undefined): string {
  if (at == null) return "";
  const [it, two] = [new Date(at), (n: number) => String(n).padStart(2, "0")];
  if (Number.isNaN(it.getTime())) return "";
  return `${String(it.getFullYear()).padStart(4, "0")}-${two(it.getMonth() + 1)}-${two(it.getDate())}T${two(it.getHours())}:${two(it.getMinutes())}`;
}

/** The moment that such a field says, or null. It says no seconds: where it says what it did before, it is still `was`. */
export function momentOf(text: string, was?: number | null): number | null {
  if (was != null && localOf(was) === text) return was;
  const at = new Date(text).getTime();
  return Number.isNaN(at) ? null : at;
}

/** Days of the week as the node names them, from Monday, the 0th, on. */
export const WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] as const;
export type Weekday = (typeof WEEKDAYS)[number];

/** What was said `before`, with what fields say instead: not said at all, where that is undefined. What no field knows stays. */
export function saidAnew<T extends object>(before: T | null | undefined, fields: { [Name in keyof T]?: T[Name] | undefined }): T {
  return Object.fromEntries(Object.entries({ ...before, ...fields }).filter(([, value]) => value !== undefined)) as unknown as T;
}

/** What stands between spaces and commas. */
export function listOf(text: string): string[] {
  return text.split(/[\s,]+/).filter((it) => it !== "");
}

/** The same list, or undefined of none: so it is not said. */
export function some<T>(list: T[]): T[] | undefined {
  return list.length === 0 ? undefined : list;
}

/** What a field for a place may say: `-1.9441, 30.0619`, degrees north and east. */
export const SPOT = "\\s*-?\\d+(\\.\\d+)?\\s*,\\s*-?\\d+(\\.\\d+)?\\s*";

export function spotOf({ lat, lon }: Point): string {
  return `${lat}, ${lon}`;
}

/** Where that is, or null. */
export function pointOf(text: string): Point | null {
  if (!new RegExp(`^${SPOT}$`).test(text)) return null;
  const [lat, lon] = listOf(text).map(Number) as [number, number];
  return { lat, lon };
}
