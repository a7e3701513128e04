import type { CommandId } from "./frames.js";

/** A new command id: a UUIDv7 in display form. The same wish keeps its id, however often it is asked for. */
export function mintCommandId(now = Date.now()): CommandId {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let place = 5, rest = now; place >= 0; place -= 1, rest = Math.floor(rest / 256)) bytes[place] = rest % 256;
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `command-${hex}`;
}

/** By which the same is wished once more after it was refused, for that answer is kept: of the same age, and always the same. */
export function onceMore(id: CommandId): CommandId {
  const low = (parseInt(id.slice(-12), 16) + 1) % 2 ** 48;
  return `${id.slice(0, -12)}${low.toString(16).padStart(12, "0")}`;
}
