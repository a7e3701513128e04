// Finds an actor by any part of its id, its sort, its status: here at once, and then on the whole map, which the node knows.

import type { JSX } from "preact";
import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import type { Mark as WireMark } from "@outrider/client";
import { go, useApp, useFetched, useRoute } from "./app.js";
import { markOf, type Mark } from "./board.js";
import { kindOf } from "./status.js";
import { Glyph, Icon, described, useKeys } from "./ui.js";
import { t } from "./words.js";

const MATCHES_MAX = 8;
/** What is asked of the node: no text without a word of so many, and not before somebody has stopped writing. */
const ASKED_CHARS_MIN = 3;
const PAUSE_MS = 250;
/** So close one looks at whom one has found, in pixels per metre. */
const CLOSE = 0.18;

export function Search(): JSX.Element {
  const app = useApp();
  const { board } = app.live;
  const { view } = useRoute();
  const [text, setText] = useState("");
  const [isOpen, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const field = useRef<HTMLInputElement>(null);

  useKeys((event) => {
    if (event.key !== "/") return;
    event.preventDefault();
    field.current!.focus();
    field.current!.select();
  });

  const asked = text.trim().toLowerCase();
  const here = isOpen && asked.length >= 2 ? matching(asked) : [];
  const elsewhere = useElsewhere(isOpen && here.length < MATCHES_MAX && kindOf(asked) === null ? asked : "").filter(({ id }) => !here.includes(id));
  const ids = [...here, ...elsewhere.map(({ id }) => id)].slice(0, MATCHES_MAX);
  const markOfId = (id: string): Mark | undefined => board.marks.get(id) ?? elsewhere.find((it) => it.id === id);
  const chosen = Math.min(at, ids.length - 1);

  function matching(query: string): string[] {
    if (kindOf(query)) return [query];
    const words = query.split(/[\s-]+/);
    const found: string[] = [];
    for (const mark of board.marks.values()) {
      const { title, status } = described(mark.id, mark);
      const hay = `${mark.id} ${mark.status} ${mark.kind === "driver" ? "" : `${mark.sort} ${mark.issue ?? ""}`} ${title} ${status}`.toLowerCase();
      if (words.every((word) => hay.includes(word))) found.push(mark.id);
      if (found.length === MATCHES_MAX) break;
    }
    return found;
  }

  const open = (id: string | undefined): void => {
    if (!id) return;
    const mark = markOfId(id);
    const isLookedAt = view !== "actors" && mark !== undefined;
    go(isLookedAt ? "dispatch" : "actors", id);
    if (isLookedAt) {
      // Whoever is not in view is told of once they are.
      app.followed.set(null);
      app.camera.flyTo(app.projection.x(mark.at.lon), app.projection.y(mark.at.lat), Math.max(app.camera.zoom, CLOSE));
    }
    setText("");
    setOpen(false);
    field.current!.blur();
  };
  const pressed = (event: KeyboardEvent): void => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (ids.length > 0) setAt((chosen + (event.key === "ArrowDown" ? 1 : -1) + ids.length) % ids.length);
    } else if (event.key === "Escape") {
      event.stopPropagation();
      setText("");
      field.current!.blur();
    }
  };
  const isListed = isOpen && asked.length >= 2;
  return (
    <form class="search" role="search" autocomplete="off" onSubmit={(event) => { event.preventDefault(); open(ids[chosen]); }}>
      <Icon name="search" />
      <input ref={field} id="query" type="text" role="combobox" aria-expanded={isListed} aria-controls="matches" aria-autocomplete="list"
        aria-label={t("search.label")} placeholder={t("search.placeholder")} spellcheck={false} autocapitalize="off" value={text}
        {...(ids.length > 0 ? { "aria-activedescendant": `match-${chosen}` } : {})}
        onInput={(event) => { setText(event.currentTarget.value); setAt(0); setOpen(true); }} onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)} onKeyDown={pressed} />
      <kbd aria-hidden="true">/</kbd>
      {isListed ? (
        <ul id="matches" class="matches" role="listbox" aria-label={t("search.matches")}>
          {ids.map((id, i) => {
            const { title, status, colour, shape } = described(id, markOfId(id));
            return (
              <li key={id} id={`match-${i}`} role="option" aria-selected={i === chosen} onPointerDown={(event) => { event.preventDefault(); open(id); }}>
                <Glyph shape={shape} colour={colour} /><span class="name">{title}</span><span class="status">{status || t("search.not_on_map")}</span>
              </li>
            );
          })}
          {ids.length === 0 ? <li class="none" role="presentation">{t("search.none")}</li> : null}
        </ul>
      ) : null}
    </form>
  );
}

/** Whom the node finds that this text names; nobody for one that is too short, and until somebody has stopped writing. */
function useElsewhere(text: string): Mark[] {
  const [sought, seek] = useState("");
  useEffect(() => {
    const timer = setTimeout(() => seek(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const isAsked = sought === text && text.split(/\s+/).some((word) => word.length >= ASKED_CHARS_MIN);
  const [n, again] = useReducer((it: number, _: void) => it + 1, 0);
  const answer = useFetched<WireMark[]>(isAsked ? `/v1/marks?text=${encodeURIComponent(text)}&limit=${MATCHES_MAX}` : null, n);
  // Too many were searching.
  const pauseMs = answer !== null && "refused" in answer ? answer.refused.retry_after_ms ?? null : null;
  useEffect(() => {
    if (pauseMs === null) return undefined;
    const timer = setTimeout(() => again(), Math.max(PAUSE_MS, pauseMs));
    return () => clearTimeout(timer);
  }, [answer, pauseMs]);
  return answer !== null && "ok" in answer ? answer.ok.map(markOf).filter((it) => it !== null) : [];
}
