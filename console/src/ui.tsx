// Small parts that all views are made of.

import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Refused } from "@outrider/client";
import type { Mark } from "./board.js";
import { DRIVER, SHAPE, kindOf, short, stageOf, type Colour } from "./status.js";
import { t, word, type Key } from "./words.js";

const GLYPHS: Record<number, { d: string; line?: number; dot?: boolean }> = {
  [SHAPE.dot]: { d: "M8 3.600a4.400 4.400 0 1 1 0 8.800a4.400 4.400 0 0 1 0-8.800Z" },
  [SHAPE.arrow]: { d: "M8 1.600 13.200 14 8 11.200 2.800 14Z" },
  [SHAPE.diamond]: { d: "M8 2.200 13.800 8 8 13.800 2.200 8Z" },
  [SHAPE.bars]: { d: "M3.800 3.500h3v9h-3zM9.200 3.500h3v9h-3z" },
  [SHAPE.cross]: { d: "m4 4 8 8M12 4l-8 8", line: 2.4 },
  [SHAPE.ring]: { d: "M8 3.400a4.600 4.600 0 1 1 0 9.200a4.600 4.600 0 0 1 0-9.200Z", line: 2.6 },
  [SHAPE.square]: { d: "M3.800 3.800h8.400v8.400H3.800Z", line: 2.6 },
  [SHAPE.triangle]: { d: "M8 2.400 14 13H2Z" },
  [SHAPE.flag]: { d: "M8 3a5 5 0 1 1 0 10a5 5 0 0 1 0-10Z", line: 1.4, dot: true },
};

/** A shape of the map in a colour of its palette. */
export function Glyph({ shape, colour }: { shape: number; colour: Colour }): JSX.Element {
  const { d, line, dot } = GLYPHS[shape] ?? GLYPHS[SHAPE.dot]!;
  return (
    <svg class={`glyph c-${colour}`} viewBox="0 0 16 16" aria-hidden="true">
      {line ? <path d={d} fill="none" stroke="currentColor" stroke-width={line} stroke-linejoin="round" stroke-linecap="round" /> : <path d={d} fill="currentColor" />}
      {dot ? <circle cx="8" cy="8" r="2" fill="currentColor" /> : null}
    </svg>
  );
}

const ICONS = {
  map: "M3 5.500 8 3.500l4 2 5-2v11l-5 2-4-2-5 2ZM8 3.500v11M12 5.500v11",
  actor: "M10 10a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7ZM3.500 17c.8-3.400 3.300-5 6.500-5s5.700 1.600 6.500 5",
  cluster: "M3 3h5v5H3ZM12 3h5v5h-5ZM3 12h5v5H3ZM12 12h5v5h-5Z",
  rules: "M3 6h8M15 6h2M13 4v4M3 14h3M10 14h7M8 12v4",
  templates: "M4 5h12v11H4ZM4 9h12M7.500 3v3.500M12.500 3v3.500",
  queue: "M4 5h12M4 10h12M4 15h8",
  search: "M8.500 14a5.500 5.500 0 1 0 0-11 5.500 5.500 0 0 0 0 11ZM13 13l4 4",
  close: "M5 5l10 10M15 5 5 15",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  fit: "M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4",
  moon: "M16 11.500A6.500 6.500 0 0 1 8.500 4a6.500 6.500 0 1 0 7.500 7.500Z",
  sun: "M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7ZM10 2v2M10 16v2M2 10h2M16 10h2M4.300 4.300l1.400 1.400M14.300 14.300l1.400 1.400M4.300 15.700l1.400-1.400M14.300 5.700l1.400-1.400",
  auto: "M10 3a7 7 0 1 0 0 14ZM10 3a7 7 0 0 1 0 14",
  filter: "M3 4h14l-5.500 6.500V16l-3-1.500v-4Z",
  follow: "M10 5.500a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9ZM10 2v3M10 15v3M2 10h3M15 10h3",
  siren: "M5 15v-4a5 5 0 0 1 10 0v4M3 15h14v2H3ZM10 3V1.500M4.500 5 3.400 3.900M15.500 5l1.100-1.100",
  copy: "M7 7h9v9H7ZM4 13V4h9",
  out: "M8 4H4v12h4M12 6.500 15.500 10 12 13.500M15.500 10H8",
  keys: "M2.500 5h15v10h-15ZM5.500 8h.01M8.500 8h.01M11.500 8h.01M14.500 8h.01M6 12h8",
  eye: "M2 10c2-4 5-5.500 8-5.500S16 6 18 10c-2 4-5 5.500-8 5.500S4 14 2 10ZM10 7.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5Z",
} as const;

export type IconName = keyof typeof ICONS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return <svg class="icon" viewBox="0 0 20 20" aria-hidden="true"><path d={ICONS[name]} /></svg>;
}

export function IconButton({ icon, label, onClick, isPressed, class: extra = "" }: {
  icon: IconName; label: string; onClick: () => void; isPressed?: boolean; class?: string;
}): JSX.Element {
  return (
    <button type="button" class={`icon-button ${extra}`} aria-label={label} title={label} onClick={onClick} {...(isPressed === undefined ? {} : { "aria-pressed": isPressed })}>
      <Icon name={icon} />
    </button>
  );
}

/** Title, status, colour and shape of a mark, or of an id whose mark is not on the map (any more). */
export function described(id: string, mark: Mark | undefined): { title: string; status: string; colour: Colour; shape: number } {
  const name = short(id);
  if (mark?.kind === "driver") {
    const look = DRIVER[mark.status as keyof typeof DRIVER] ?? DRIVER.offline;
    return { title: t("title.driver", { id: name }), status: word("status", mark.status), ...look };
  }
  if (mark) {
    const shape = mark.sort === "rescue" ? SHAPE.triangle : mark.sort === "ride" ? SHAPE.ring : SHAPE.square;
    const stage = stageOf(mark.kind, mark.status);
    const colour: Colour = stage === "completed" ? "good" : stage === "cancelled" || stage === "no_driver" ? "bad" : mark.sort;
    return { title: t(`title.${mark.sort}`, { id: name }), status: word("status", mark.status), colour, shape };
  }
  const kind = kindOf(id);
  const shape = kind === "rescue" || kind === "incident" ? SHAPE.triangle : kind === "driver" ? SHAPE.arrow : kind === "order" ? SHAPE.ring : SHAPE.dot;
  const titles: Partial<Record<string, Key>> = { order: "title.order", rescue: "title.rescue", driver: "title.driver", rider: "title.rider", incident: "title.incident", zone: "title.zone", run: "title.run", rule: "title.rule", template: "title.template", revocation: "title.revocation" };
  const title = kind && titles[kind] ? t(titles[kind]!, { id: name }) : id;
  return { title, status: "", colour: kind === "rescue" || kind === "incident" ? "rescue" : "away", shape };
}

/** A button that leads to an actor. */
export function ActorLink({ id, mark, onOpen }: { id: string; mark?: Mark | undefined; onOpen: (id: string) => void }): JSX.Element {
  const { title, colour, shape } = described(id, mark);
  return (
    <button type="button" class="actor-link" title={id} onClick={() => onOpen(id)}>
      <Glyph shape={shape} colour={colour} /><span>{title}</span>
    </button>
  );
}

export function Pill({ tone, class: extra = "", children }: { tone: string; class?: string; children: ComponentChildren }): JSX.Element {
  return <span class={`pill t-${tone} ${extra}`}>{children}</span>;
}

/** An id to be copied. */
export function Copy({ text }: { text: string }): JSX.Element {
  const [isCopied, setCopied] = useState(false);
  const copy = (): void => {
    void navigator.clipboard?.writeText(text).then(() => setCopied(true), () => {});
    setTimeout(() => setCopied(false), 1200);
  };
  return (
    <button type="button" class={`copy ${isCopied ? "is-copied" : ""}`} title={t("copy.id")} onClick={copy}>
      <span>{text}</span><Icon name="copy" />
    </button>
  );
}

/** Nothing is there, and that is fine. */
export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="empty">{children}</p>;
}

export function Loading({ rows = 6 }: { rows?: number }): JSX.Element {
  return (
    <div class="skeleton" role="status" aria-label={t("loading")}>
      {Array.from({ length: rows }, (_, i) => <span key={i} />)}
    </div>
  );
}

/** The node said no: in the reader's language what that means, in the node's words why. */
export function Refusal({ refused }: { refused: Refused }): JSX.Element {
  return (
    <div class="refusal" role="alert">
      <strong>{word("code", refused.code)}</strong>
      <span>{refused.message}</span>
      {refused.why && refused.why.length > 0 ? <ul>{refused.why.map((why) => <li key={why}>{word("why", why)}</li>)}</ul> : null}
      {refused.allowed && refused.allowed.length > 0 ? <span class="soft">{t("refused.allowed", { what: refused.allowed.map((it) => word("command", it)).join(", ") })}</span> : null}
    </div>
  );
}

/** The same on one line. */
export function said({ code, message }: Refused): string {
  return `${word("code", code)}: ${message}`;
}

/** A dialog that takes the keyboard until it is closed. A press beside it closes it too, unless it `isWide`: what has so many fields nobody fills in twice. */
export function Dialog({ title, onClose, children, isWide = false, class: extra = "" }: {
  title: string; onClose: () => void; children: ComponentChildren; isWide?: boolean; class?: string;
}): JSX.Element {
  const ref = useRef<HTMLDialogElement>(null);
  // Whoever marks what a field says and lets go beside the dialog has not pressed there.
  const beganBeside = useRef(false);
  // From the moment it is there: what is typed meanwhile would be keys for what lies below.
  useLayoutEffect(() => {
    const [dialog, before] = [ref.current!, document.activeElement as HTMLElement | null];
    dialog.showModal();
    return () => {
      // As long as it is open, nobody else can have the focus.
      dialog.close();
      if (before?.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  // A browser closes it when Escape is pressed twice, whatever is said to that; whether it is closed is for whoever opened it.
  const closed = (): void => {
    if (ref.current === null) return;
    ref.current.showModal();
    onClose();
  };
  return (
    <dialog ref={ref} class={`dialog ${isWide ? "is-wide" : extra}`} aria-label={title} onCancel={(event) => { event.preventDefault(); onClose(); }} onClose={closed}
      onPointerDown={(event) => { beganBeside.current = event.target === ref.current; }}
      onClick={(event) => !isWide && beganBeside.current && event.target === ref.current && onClose()}>
      <div class="dialog-body">
        <header><h2>{title}</h2><IconButton icon="close" label={t("close")} onClick={onClose} /></header>
        {children}
      </div>
    </dialog>
  );
}

/** Tabs, with the arrow keys between them. */
export function Tabs<Name extends string>({ names, current, onChoose, label }: {
  names: { name: Name; label: string; count?: number | undefined }[]; current: Name; onChoose: (name: Name) => void; label: string;
}): JSX.Element {
  const move = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const at = names.findIndex((it) => it.name === current);
    const next = names[(at + step + names.length) % names.length]!;
    onChoose(next.name);
    (event.currentTarget as HTMLElement).querySelector<HTMLElement>(`[data-tab="${next.name}"]`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {names.map(({ name, label: says, count }) => (
        <button key={name} type="button" role="tab" data-tab={name} aria-selected={name === current} tabIndex={name === current ? 0 : -1} onClick={() => onChoose(name)}>
          {says}{count === undefined ? null : <span class="count">{count}</span>}
        </button>
      ))}
    </div>
  );
}

/** A figure over time as a small line. */
export function Spark({ values, label, most }: { values: readonly number[]; label: string; most?: number }): JSX.Element {
  const [width, height] = [240, 44];
  const top = Math.max(most ?? 0, ...values, 1e-9) * 1.12;
  const points = values.map((value, i) => `${((i / Math.max(1, values.length - 1)) * width).toFixed(1)} ${(height - 2 - (value / top) * (height - 6)).toFixed(1)}`);
  const line = points.length > 1 ? `M${points.join("L")}` : "";
  return (
    <svg class="spark" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label}>
      {line ? <path class="spark-area" d={`${line}L${width} ${height}L0 ${height}Z`} /> : null}
      {line ? <path class="spark-line" d={line} /> : null}
    </svg>
  );
}

/**
 * Hears keys as long as this is shown and `isListening`, unless somebody is typing: from the moment it is there, and not from a frame or
 * two later, for whoever sees what a key is for may press it.
 */
export function useKeys(pressed: (event: KeyboardEvent) => void, isListening = true): void {
  const latest = useRef(pressed);
  latest.current = pressed;
  useLayoutEffect(() => {
    if (!isListening) return undefined;
    const heard = (event: KeyboardEvent): void => {
      if (!isTyping(event)) latest.current(event);
    };
    addEventListener("keydown", heard);
    return () => removeEventListener("keydown", heard);
  }, [isListening]);
}

/** Is the keyboard writing text just now, or some dialog's? That keeps it also while nothing in it has the focus, as when its button was disabled. */
function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  return event.ctrlKey || event.metaKey || event.altKey || target.closest("input, textarea, select") !== null || document.querySelector("dialog[open]") !== null;
}
