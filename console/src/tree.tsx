// A state as a tree that folds, and says which of its leaves have changed.

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { kindOf, short } from "./status.js";
import { meaning, t, timeOfDay, word } from "./words.js";

/** Milliseconds since 1970 that are likely meant as a moment. */
const isMoment = (value: number): boolean => value > 1e12 && value < 1e13;

interface Props {
  value: unknown;
  changed: ReadonlySet<string>;
  /** Do changes stay marked? Otherwise they glow once. */
  isLasting?: boolean;
  onOpen: (id: string) => void;
}

export function Tree({ value, changed, isLasting = false, onOpen }: Props): JSX.Element {
  return <div class={`tree ${isLasting ? "is-lasting" : ""}`}><Rows value={value} path="" changed={changed} onOpen={onOpen} /></div>;
}

function Rows({ value, path, changed, onOpen }: { value: unknown; path: string; changed: ReadonlySet<string>; onOpen: (id: string) => void }): JSX.Element {
  if (value === null || typeof value !== "object") return <Leaf name="" value={value} path={path} changed={changed} onOpen={onOpen} />;
  const entries: [string, unknown][] = Array.isArray(value) ? value.map((it, i) => [String(i), it]) : Object.entries(value);
  return (
    <>
      {entries.map(([key, it]) => {
        const at = `${path}/${key}`;
        const name = Array.isArray(value) ? `${Number(key) + 1}.` : key.replaceAll("_", " ");
        if (it === null || typeof it !== "object") return <Leaf key={key} name={name} value={it} path={at} changed={changed} onOpen={onOpen} />;
        if (isSmall(it)) return <Pair key={key} name={name} value={it as object} path={at} changed={changed} onOpen={onOpen} />;
        return <Branch key={key} name={name} value={it} path={at} changed={changed} onOpen={onOpen} />;
      })}
    </>
  );
}

function Branch({ name, value, path, changed, onOpen }: { name: string; value: object; path: string; changed: ReadonlySet<string>; onOpen: (id: string) => void }): JSX.Element {
  const [isOpen, setOpen] = useState(true);
  const size = Object.keys(value).length;
  if (size === 0) return <div class={`leaf ${glow(path, changed)}`}><span class="key">{name}</span><span class="v v-none">{Array.isArray(value) ? "[ ]" : "{ }"}</span></div>;
  return (
    <details open={isOpen} class={glow(path, changed)} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary><span class="key">{name}</span><span class="size">{Array.isArray(value) ? `× ${size}` : ""}</span></summary>
      {isOpen ? <div class="branch"><Rows value={value} path={path} changed={changed} onOpen={onOpen} /></div> : null}
    </details>
  );
}

/** A point, an amount, a tagged id: a few plain values read better on one line. */
function Pair({ name, value, path, changed, onOpen }: { name: string; value: object; path: string; changed: ReadonlySet<string>; onOpen: (id: string) => void }): JSX.Element {
  const isPoint = "lat" in value && "lon" in value;
  return (
    <div class="leaf">
      <span class="key">{name}</span>
      <span class="pair">
        {Object.entries(value).map(([key, it]) => (
          <span key={marked(path, key, it, changed)} class={`part ${glow(`${path}/${key}`, changed)}`}>
            {isPoint || kindOf(it) ? null : <span class="key">{key.replaceAll("_", " ")}</span>}<Plain field={key} value={it} onOpen={onOpen} />
          </span>
        ))}
      </span>
    </div>
  );
}

function Leaf({ name, value, path, changed, onOpen }: { name: string; value: unknown; path: string; changed: ReadonlySet<string>; onOpen: (id: string) => void }): JSX.Element {
  // A changed leaf is another element, so that it glows anew.
  return <div key={marked(path, "", value, changed)} class={`leaf ${glow(path, changed)}`}><span class="key">{name}</span><Plain field={path.slice(path.lastIndexOf("/") + 1)} value={value} onOpen={onOpen} /></div>;
}

function Plain({ field, value, onOpen }: { field: string; value: unknown; onOpen: (id: string) => void }): JSX.Element {
  if (value === null || value === undefined) return <span class="v v-none">{t("tree.none")}</span>;
  if (typeof value === "boolean") return <span class="v v-bool">{t(value ? "yes" : "no")}</span>;
  if (typeof value === "number") {
    return isMoment(value)
      ? <span class="v v-time" title={new Date(value).toISOString()}>{timeOfDay(value)}</span>
      : <span class="v v-number">{Number.isInteger(value) ? String(value) : value.toFixed(5).replace(/0+$/, "")}</span>;
  }
  const text = String(value);
  const kind = kindOf(text);
  if (kind) return <button type="button" class="link" title={text} onClick={() => onOpen(text)}>{word("kind", kind)} {short(text)}</button>;
  const says = meaning(field, text);
  return <span class="v v-text">{text}{says === null ? null : <span class="v-says">{says}</span>}</span>;
}

function marked(path: string, key: string, value: unknown, changed: ReadonlySet<string>): string {
  const at = key ? `${path}/${key}` : path;
  return changed.has(at) ? `${at}=${String(value)}` : at;
}

function glow(path: string, changed: ReadonlySet<string>): string {
  return changed.has(path) ? "is-changed" : "";
}

function isSmall(it: object): boolean {
  const values = Object.values(it);
  return !Array.isArray(it) && values.length > 0 && values.length <= 3
    && values.every((value) => value === null || typeof value !== "object") && values.join("").length < 44;
}

/** The paths (`/stops/0/label`) of what differs. */
export function changesBetween(before: unknown, after: unknown, path = "", found = new Set<string>()): Set<string> {
  const isTree = (it: unknown): it is Record<string, unknown> => it !== null && typeof it === "object";
  if (!isTree(before) || !isTree(after)) {
    if (before !== after) found.add(path);
    return found;
  }
  for (const key of Object.keys(after)) {
    if (key in before) changesBetween(before[key], after[key], `${path}/${key}`, found);
    else found.add(`${path}/${key}`);
  }
  return found;
}
