// Draws thousands of moving marks: each carries where it comes from, where it goes and when, and the
// graphics card works out where it is now. A frame costs the page the same for one mark as for all.

import { COLOURS } from "../status.js";
import { colourOf, ink } from "../theme.js";
import type { Camera } from "./camera.js";

const SPRITE = `#version 300 es
layout(location = 0) in vec2 corner;
layout(location = 1) in vec4 route;   // from x, y; to x, y; in metres
layout(location = 2) in vec4 motion;  // start, duration in seconds; heading in radians; size in px
layout(location = 3) in vec4 look;    // shape, colour, pulse, opacity
uniform vec2 centre;
uniform float scale;
uniform vec2 viewport;
uniform float now;
uniform float grow;
uniform float calm;  // from here on, a mark pulses
uniform vec3 palette[${COLOURS.length}];
out vec2 p;
flat out vec3 colour;
flat out int shape;
flat out float pulse;
flat out float opacity;
flat out float px;

void main() {
  float k = motion.y > 0.0 ? clamp((now - motion.x) / motion.y, 0.0, 1.0) : 1.0;
  vec2 at = (mix(route.xy, route.zw, k) - centre) * scale;
  float size = motion.w * grow;
  pulse = look.z > calm ? look.z : 0.0;
  // No more is painted than a shape with its edge takes: dots, bars, crosses, rings and flags are the smaller ones.
  bool isSmall = look.x == 0.0 || look.x == 3.0 || look.x == 4.0 || look.x == 5.0 || look.x == 9.0;
  float reach = pulse > 0.0 ? 4.0 : isSmall ? 1.3 : 1.6;
  vec2 turned = corner * reach;
  float turn = look.x == 1.0 ? motion.z : 0.0;  // only arrows show where they head
  float s = sin(turn), c = cos(turn);
  p = vec2(turned.x * c - turned.y * s, turned.x * s + turned.y * c);
  colour = palette[int(look.y)];
  shape = int(look.x);
  opacity = look.w;
  px = 1.0 / size;
  gl_Position = vec4((at + corner * reach * size) / viewport * 2.0, 0.0, 1.0);
}`;

const SPRITE_PAINT = `#version 300 es
precision highp float;
in vec2 p;
flat in vec3 colour;
flat in int shape;
flat in float pulse;
flat in float opacity;
flat in float px;
uniform float now;
uniform vec3 edge;
out vec4 painted;

float box(vec2 q, vec2 b) {
  vec2 d = abs(q) - b;
  return length(max(d, 0.0)) + min(max(d.x, d.y), 0.0);
}
float triangle(vec2 q, float r) {
  const float k = sqrt(3.0);
  q.x = abs(q.x) - r;
  q.y = q.y + r / k;
  if (q.x + k * q.y > 0.0) q = vec2(q.x - k * q.y, -k * q.x - q.y) / 2.0;
  q.x -= clamp(q.x, -2.0 * r, 0.0);
  return -length(q) * sign(q.y);
}
float arrow(vec2 q) {
  q.x = abs(q.x);
  float side = dot(q - vec2(0.0, 1.15), normalize(vec2(1.95, 0.78)));
  float notch = dot(q - vec2(0.0, -0.45), normalize(vec2(-0.5, -0.78)));
  return max(side, notch);
}
float distanceTo(vec2 q) {
  if (shape == 0) return length(q) - 0.72;
  if (shape == 1) return arrow(q);
  if (shape == 2) return (abs(q.x) + abs(q.y) - 1.05) * 0.7071;
  if (shape == 3) return min(box(q - vec2(0.42, 0.0), vec2(0.22, 0.7)), box(q + vec2(0.42, 0.0), vec2(0.22, 0.7)));
  if (shape == 4) {
    vec2 d = vec2(q.x + q.y, q.y - q.x) * 0.7071;
    return min(box(d, vec2(0.85, 0.2)), box(d, vec2(0.2, 0.85)));
  }
  if (shape == 5) return abs(length(q) - 0.72) - 0.24;
  if (shape == 6) return abs(box(q, vec2(0.62))) - 0.22;
  if (shape == 7) return triangle(q + vec2(0.0, 0.12), 0.95) - 0.08;
  if (shape == 8) return abs(length(q) - 1.35) - 0.11;
  // A flag is a dot within a thin ring.
  return min(length(q) - 0.34, abs(length(q) - 0.78) - 0.12);
}

void main() {
  float d = distanceTo(p);
  float soft = px * 0.9;
  float inside = 1.0 - smoothstep(-soft, soft, d);
  float outline = (1.0 - smoothstep(-soft, soft, d - 0.26)) * (shape == 8 ? 0.0 : 0.85);
  vec4 mark = vec4(mix(edge, colour, inside), max(inside, outline));
  float halo = 0.0;
  if (pulse > 0.0) {
    float wave = fract(now * pulse);
    float r = length(p);
    float ring = 1.0 - smoothstep(0.0, 0.22, abs(r - mix(0.8, 3.6, wave)));
    halo = (ring * 0.75 + 0.22 * (1.0 - smoothstep(0.8, 3.4, r)) * (1.0 - wave)) * (1.0 - wave);
  }
  float alpha = max(mark.a, halo * (1.0 - mark.a));
  vec3 rgb = mark.a > 0.0 ? mix(colour, mark.rgb, clamp(mark.a / max(alpha, 0.001), 0.0, 1.0)) : colour;
  alpha *= opacity;
  if (alpha < 0.01) discard;
  painted = vec4(rgb * alpha, alpha);
}`;

const LINE = `#version 300 es
layout(location = 0) in vec2 corner;  // x: 0 at the fixed end, 1 at the moving one; y: side
layout(location = 1) in vec4 route;   // the moving end: from x, y; to x, y
layout(location = 2) in vec4 motion;  // its start and duration; the fixed end: x, y
layout(location = 3) in vec3 look;    // colour, dash in px (0: none), strength
uniform vec2 centre;
uniform float scale;
uniform vec2 viewport;
uniform float now;
uniform float wide;
uniform vec3 palette[${COLOURS.length}];
flat out vec3 colour;
flat out float dash;
flat out float strength;
flat out float halfWide;
out float along;
out float across;

void main() {
  float k = motion.y > 0.0 ? clamp((now - motion.x) / motion.y, 0.0, 1.0) : 1.0;
  vec2 moving = (mix(route.xy, route.zw, k) - centre) * scale;
  vec2 fixedEnd = (motion.zw - centre) * scale;
  vec2 way = moving - fixedEnd;
  float far = max(length(way), 0.001);
  vec2 ahead = way / far;
  vec2 side = vec2(-ahead.y, ahead.x);
  along = corner.x * far;
  colour = palette[int(look.x)];
  dash = look.y;
  strength = look.z;
  halfWide = wide * (0.6 + 0.6 * strength);
  // Half a pixel more on each side, to fade out in.
  float reach = halfWide + 0.5;
  across = corner.y * reach;
  // Pieces of one line overlap, so that its bends have no gaps.
  float overlap = halfWide > 1.6 ? halfWide * 0.6 : 0.0;
  vec2 end = mix(fixedEnd - ahead * overlap, moving + ahead * overlap, corner.x);
  gl_Position = vec4((end + side * across) / viewport * 2.0, 0.0, 1.0);
}`;

const LINE_PAINT = `#version 300 es
precision highp float;
flat in vec3 colour;
flat in float dash;
flat in float strength;
flat in float halfWide;
in float along;
in float across;
out vec4 painted;
void main() {
  if (dash > 0.0 && fract(along / dash) > 0.55) discard;
  float alpha = strength * clamp(halfWide + 0.5 - abs(across), 0.0, 1.0);
  painted = vec4(colour * alpha, alpha);
}`;

const UNIFORMS = ["centre", "scale", "viewport", "now", "grow", "calm", "palette", "edge", "wide"] as const;

interface Program {
  id: WebGLProgram;
  at: Record<(typeof UNIFORMS)[number], WebGLUniformLocation | null>;
}

/** What is drawn: a batch, and how much larger or wider than usual; if it is flat, what overlaps is no stronger. */
export type Layer = readonly [batch: Batch, factor: number, isFlat?: boolean];

/** The drawing surface: programs, palette, and what to draw in which order. */
export class Stage {
  readonly gl: WebGL2RenderingContext;
  readonly #canvas: HTMLCanvasElement;
  #sprite: Program;
  #line: Program;
  readonly #palette = new Float32Array(COLOURS.length * 3);
  #edge: [number, number, number] = [0, 0, 0];

  /** Throws if the browser has no WebGL2. */
  constructor(canvas: HTMLCanvasElement) {
    const gl = canvas.getContext("webgl2", { alpha: true, antialias: false, premultipliedAlpha: true, depth: false });
    if (!gl) throw new Error("no WebGL2");
    this.gl = gl;
    this.#canvas = canvas;
    this.#sprite = program(gl, SPRITE, SPRITE_PAINT);
    this.#line = program(gl, LINE, LINE_PAINT);
    this.#mix();
    this.recolour();
  }

  /** The card has forgotten everything and is back: its programs are made anew. */
  restore(): void {
    this.#sprite = program(this.gl, SPRITE, SPRITE_PAINT);
    this.#line = program(this.gl, LINE, LINE_PAINT);
    this.#mix();
    this.#dye();
  }

  /** Reads the colours from the style sheet again. */
  recolour(): void {
    COLOURS.forEach((name, i) => this.#palette.set(rgb(colourOf(name)), i * 3));
    this.#edge = rgb(ink().mapEdge);
    this.#dye();
  }

  /** Tells the card how what is drawn lies over what is there. */
  #mix(): void {
    this.gl.enable(this.gl.BLEND);
    this.gl.blendFunc(this.gl.ONE, this.gl.ONE_MINUS_SRC_ALPHA);
  }

  /** Gives the programs their colours. */
  #dye(): void {
    for (const { id, at } of [this.#line, this.#sprite]) {
      this.gl.useProgram(id);
      this.gl.uniform3fv(at.palette, this.#palette);
      if (at.edge) this.gl.uniform3f(at.edge, ...this.#edge);
    }
  }

  /**
   * Draws lines, then sprites, lowest first, as the camera sees them at `now` seconds. Marks pulse whose pulse is more
   * than `calm`: where many do, none is noticed, and each takes as much to draw as six that are still.
   */
  draw(camera: Camera, now: number, calm: number, lines: readonly Layer[], sprites: readonly Layer[]): void {
    const gl = this.gl;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [Math.round(camera.width * ratio), Math.round(camera.height * ratio)];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT);

    for (const [{ id, at }, layers] of [[this.#line, lines], [this.#sprite, sprites]] as const) {
      gl.useProgram(id);
      gl.uniform2f(at.centre, camera.x, camera.y);
      gl.uniform1f(at.scale, camera.zoom * ratio);
      gl.uniform2f(at.viewport, width, height);
      gl.uniform1f(at.now, now);
      if (at.calm) gl.uniform1f(at.calm, calm);
      for (const [batch, factor, isFlat] of layers) {
        if (factor === 0 || batch.n === 0) continue;
        if (at.wide) gl.uniform1f(at.wide, 0.9 * factor * ratio);
        if (at.grow) gl.uniform1f(at.grow, growth(camera.zoom) * factor * ratio);
        if (isFlat) gl.blendEquation(gl.MAX);
        batch.draw();
        if (isFlat) gl.blendEquation(gl.FUNC_ADD);
      }
    }
  }
}

/** How large a mark is drawn at this zoom: dots over a city, arrows in a street. */
export function growth(zoom: number): number {
  return Math.min(1.7, Math.max(0.62, 0.62 + Math.log2(Math.max(zoom, 0.02) / 0.02) * 0.17));
}

/** Many instances of one quad, kept dense, found by id; of them only what changed is uploaded. */
export class Batch {
  readonly #gl: WebGL2RenderingContext;
  readonly #corners: number[];
  readonly #sizes: number[];
  readonly #floats: number;
  #data: Float32Array;
  readonly #ids: string[] = [];
  readonly #slots = new Map<string, number>();
  #buffer!: WebGLBuffer;
  #array!: WebGLVertexArrayObject;
  #capacity = 0;
  /** The slots that the card does not have yet: from, and up to. */
  #dirty: [number, number] = [0, 0];

  /** `corners` is the quad; `sizes` how many floats each attribute of an instance has. */
  constructor(gl: WebGL2RenderingContext, corners: number[], sizes: number[]) {
    this.#gl = gl;
    this.#corners = corners;
    this.#sizes = sizes;
    this.#floats = sizes.reduce((sum, size) => sum + size, 0);
    this.#data = new Float32Array(256 * this.#floats);
    this.restore();
  }

  /** Makes its buffers on a card that has none of them. */
  restore(): void {
    const gl = this.#gl;
    this.#array = gl.createVertexArray();
    this.#buffer = gl.createBuffer();
    this.#capacity = 0;
    this.#dirty = [0, this.#ids.length];
    gl.bindVertexArray(this.#array);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(this.#corners), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffer);
    let offset = 0;
    this.#sizes.forEach((size, i) => {
      gl.enableVertexAttribArray(i + 1);
      gl.vertexAttribPointer(i + 1, size, gl.FLOAT, false, this.#floats * 4, offset * 4);
      gl.vertexAttribDivisor(i + 1, 1);
      offset += size;
    });
    gl.bindVertexArray(null);
  }

  get n(): number {
    return this.#ids.length;
  }

  ids(): readonly string[] {
    return this.#ids;
  }

  /** The floats of an instance, or undefined. */
  get(id: string): Float32Array | undefined {
    const slot = this.#slots.get(id);
    return slot === undefined ? undefined : this.#data.subarray(slot * this.#floats, (slot + 1) * this.#floats);
  }

  /** All floats, for whoever reads many: `stride` of them are one instance, in the order of `ids()`. */
  get floats(): Float32Array {
    return this.#data;
  }

  get stride(): number {
    return this.#floats;
  }

  set(id: string, values: ArrayLike<number>): void {
    let slot = this.#slots.get(id);
    if (slot !== undefined) {
      if (this.#holds(slot, values)) return;
    } else {
      slot = this.#ids.length;
      this.#ids.push(id);
      this.#slots.set(id, slot);
      if (this.#data.length < this.#ids.length * this.#floats) {
        const larger = new Float32Array(this.#data.length * 2);
        larger.set(this.#data);
        this.#data = larger;
      }
    }
    this.#data.set(values, slot * this.#floats);
    this.#soil(slot);
  }

  remove(id: string): void {
    const slot = this.#slots.get(id);
    if (slot === undefined) return;
    const last = this.#ids.pop()!;
    this.#slots.delete(id);
    if (last === id) return;
    this.#data.copyWithin(slot * this.#floats, this.#ids.length * this.#floats, (this.#ids.length + 1) * this.#floats);
    this.#ids[slot] = last;
    this.#slots.set(last, slot);
    this.#soil(slot);
  }

  clear(): void {
    this.#ids.length = 0;
    this.#slots.clear();
  }

  /** Draws them all, of which there is at least one. */
  draw(): void {
    const gl = this.#gl;
    const n = this.#ids.length;
    gl.bindVertexArray(this.#array);
    const [from, to] = [this.#dirty[0], Math.min(this.#dirty[1], n)];
    if (this.#capacity < this.#data.length) {
      this.#capacity = this.#data.length;
      gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffer);
      gl.bufferData(gl.ARRAY_BUFFER, this.#data, gl.DYNAMIC_DRAW);
    } else if (from < to) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffer);
      gl.bufferSubData(gl.ARRAY_BUFFER, from * this.#floats * 4, this.#data, from * this.#floats, (to - from) * this.#floats);
    }
    this.#dirty = [0, 0];
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, n);
  }

  #holds(slot: number, values: ArrayLike<number>): boolean {
    const at = slot * this.#floats;
    for (let i = 0; i < this.#floats; i += 1) if (this.#data[at + i] !== Math.fround(values[i]!)) return false;
    return true;
  }

  #soil(slot: number): void {
    const [from, to] = this.#dirty;
    this.#dirty = to === 0 ? [slot, slot + 1] : [Math.min(from, slot), Math.max(to, slot + 1)];
  }
}

export const SPRITE_CORNERS = [-1, -1, 1, -1, -1, 1, 1, 1];
export const SPRITE_FLOATS = [4, 4, 4];
export const LINE_CORNERS = [0, -1, 1, -1, 0, 1, 1, 1];
export const LINE_FLOATS = [4, 4, 3];

function program(gl: WebGL2RenderingContext, vertex: string, fragment: string): Program {
  const id = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(id, shader);
  }
  gl.linkProgram(id);
  if (!gl.getProgramParameter(id, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`shader: ${gl.getProgramInfoLog(id)}`);
  }
  return { id, at: Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(id, name)])) as Program["at"] };
}

/** `#rrggbb`, or `#rgb` as style sheets shorten it, as three numbers from 0 to 1. */
function rgb(hex: string): [number, number, number] {
  const digits = hex.length === 4 ? [...hex.slice(1)].map((it) => it + it).join("") : hex.slice(1);
  const value = Number.parseInt(digits, 16) || 0;
  return [(value >> 16 & 255) / 255, (value >> 8 & 255) / 255, (value & 255) / 255];
}
