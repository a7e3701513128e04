// Draws thousands of moving marks: each carries where it comes from, where it goes and when, and the
// graphics card works out where it is now. A frame costs the page the same for one mark as for all.

import { COLOURS } from "./status.js";

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
  float reach = look.z > 0.0 ? 4.0 : 1.6;
  vec2 turned = corner * reach;
  float turn = look.x == 1.0 ? motion.z : 0.0;  // only arrows show where they head
  float s = sin(turn), c = cos(turn);
  p = vec2(turned.x * c - turned.y * s, turned.x * s + turned.y * c);
  colour = palette[int(look.y)];
  shape = int(look.x);
  pulse = look.z;
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
  vec4 mark = vec4(mix(edge, colour, inside), max(inside, outline)) ;
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
layout(location = 0) in vec2 corner;  // x: 0 at the job, 1 at the driver; y: side
layout(location = 1) in vec4 route;   // the driver's: from x, y; to x, y
layout(location = 2) in vec4 motion;  // the driver's: start, duration; the job: x, y
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
out float along;

void main() {
  float k = motion.y > 0.0 ? clamp((now - motion.x) / motion.y, 0.0, 1.0) : 1.0;
  vec2 driver = (mix(route.xy, route.zw, k) - centre) * scale;
  vec2 job = (motion.zw - centre) * scale;
  vec2 way = driver - job;
  float far = max(length(way), 0.001);
  vec2 side = vec2(-way.y, way.x) / far;
  along = corner.x * far;
  colour = palette[int(look.x)];
  dash = look.y;
  strength = look.z;
  gl_Position = vec4((mix(job, driver, corner.x) + side * corner.y * wide * (0.6 + 0.6 * strength)) / viewport * 2.0, 0.0, 1.0);
}`;

const LINE_PAINT = `#version 300 es
precision highp float;
flat in vec3 colour;
flat in float dash;
flat in float strength;
in float along;
out vec4 painted;
void main() {
  if (dash > 0.0 && fract(along / dash) > 0.55) discard;
  painted = vec4(colour * strength, strength);
}`;

const UNIFORMS = ["centre", "scale", "viewport", "now", "grow", "palette", "edge", "wide"];

/** The drawing surface: programs, palette, and what to draw in which order. */
export class Stage {
  #gl;
  #canvas;
  #sprite;
  #line;
  #palette = new Float32Array(COLOURS.length * 3);
  #edge = [0, 0, 0];

  /** Throws if the browser has no WebGL2. */
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { alpha: true, antialias: false, premultipliedAlpha: true, depth: false });
    if (!gl) throw new Error("this browser has no WebGL2");
    this.#gl = gl;
    this.#canvas = canvas;
    this.#sprite = program(gl, SPRITE, SPRITE_PAINT);
    this.#line = program(gl, LINE, LINE_PAINT);
  }

  get gl() {
    return this.#gl;
  }

  /** Reads the colours from the style sheet again. */
  recolour() {
    const style = getComputedStyle(document.documentElement);
    COLOURS.forEach((name, i) => this.#palette.set(rgb(style.getPropertyValue(`--c-${name}`)), i * 3));
    this.#edge = rgb(style.getPropertyValue("--map-edge"));
  }

  /** Draws lines, then sprites ([batch, size factor], lowest first), as the camera sees them at `now` seconds. */
  draw(camera, now, lines, sprites) {
    const gl = this.#gl;
    const ratio = Math.min(2, devicePixelRatio || 1);
    const [width, height] = [Math.round(camera.width * ratio), Math.round(camera.height * ratio)];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

    for (const [{ id, at }, batches] of [[this.#line, [[lines, 1]]], [this.#sprite, sprites]]) {
      gl.useProgram(id);
      gl.uniform2f(at.centre, camera.x, camera.y);
      gl.uniform1f(at.scale, camera.zoom * ratio);
      gl.uniform2f(at.viewport, width, height);
      gl.uniform1f(at.now, now);
      gl.uniform3fv(at.palette, this.#palette);
      if (at.edge) gl.uniform3f(at.edge, ...this.#edge);
      if (at.wide) gl.uniform1f(at.wide, 0.9 * ratio);
      for (const [batch, factor] of batches) {
        if (at.grow) gl.uniform1f(at.grow, growth(camera.zoom) * factor * ratio);
        batch.draw();
      }
    }
  }
}

/** How large a mark is drawn at this zoom: dots over a city, arrows in a street. */
export function growth(zoom) {
  return Math.min(1.7, Math.max(0.62, 0.62 + Math.log2(Math.max(zoom, 0.02) / 0.02) * 0.17));
}

/** Many instances of one quad, kept dense, found by id, uploaded when changed. */
export class Batch {
  #gl;
  #sizes;
  #floats;
  #data;
  #ids = [];
  #slots = new Map();
  #buffer;
  #array;
  #capacity = 0;
  #isDirty = true;

  /** `corners` is the quad; `sizes` how many floats each attribute of an instance has. */
  constructor(gl, corners, sizes) {
    this.#gl = gl;
    this.#sizes = sizes;
    this.#floats = sizes.reduce((sum, size) => sum + size, 0);
    this.#data = new Float32Array(256 * this.#floats);
    this.#array = gl.createVertexArray();
    this.#buffer = gl.createBuffer();
    gl.bindVertexArray(this.#array);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(corners), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffer);
    let offset = 0;
    sizes.forEach((size, i) => {
      gl.enableVertexAttribArray(i + 1);
      gl.vertexAttribPointer(i + 1, size, gl.FLOAT, false, this.#floats * 4, offset * 4);
      gl.vertexAttribDivisor(i + 1, 1);
      offset += size;
    });
    gl.bindVertexArray(null);
  }

  get n() {
    return this.#ids.length;
  }

  ids() {
    return this.#ids;
  }

  /** The floats of an instance, or undefined. */
  get(id) {
    const slot = this.#slots.get(id);
    return slot === undefined ? undefined : this.at(slot);
  }

  /** The floats of the `slot`th instance, in the order of `ids()`. */
  at(slot) {
    return this.#data.subarray(slot * this.#floats, (slot + 1) * this.#floats);
  }

  set(id, values) {
    let slot = this.#slots.get(id);
    if (slot === undefined) {
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
    this.#isDirty = true;
  }

  remove(id) {
    const slot = this.#slots.get(id);
    if (slot === undefined) return;
    const last = this.#ids.pop();
    this.#slots.delete(id);
    if (last !== id) {
      this.#data.copyWithin(slot * this.#floats, this.#ids.length * this.#floats, (this.#ids.length + 1) * this.#floats);
      this.#ids[slot] = last;
      this.#slots.set(last, slot);
    }
    this.#isDirty = true;
  }

  draw() {
    const gl = this.#gl;
    if (this.#ids.length === 0) return;
    gl.bindVertexArray(this.#array);
    if (this.#isDirty) {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.#buffer);
      if (this.#capacity < this.#data.length) {
        this.#capacity = this.#data.length;
        gl.bufferData(gl.ARRAY_BUFFER, this.#data, gl.DYNAMIC_DRAW);
      } else {
        gl.bufferSubData(gl.ARRAY_BUFFER, 0, this.#data, 0, this.#ids.length * this.#floats);
      }
      this.#isDirty = false;
    }
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.#ids.length);
    gl.bindVertexArray(null);
  }
}

export const SPRITE_CORNERS = [-1, -1, 1, -1, -1, 1, 1, 1];
export const SPRITE_FLOATS = [4, 4, 4];
export const LINE_CORNERS = [0, -1, 1, -1, 0, 1, 1, 1];
export const LINE_FLOATS = [4, 4, 3];

function program(gl, vertex, fragment) {
  const id = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(id, shader);
  }
  gl.linkProgram(id);
  if (!gl.getProgramParameter(id, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`shader: ${gl.getProgramInfoLog(id)}`);
  }
  return { id, at: Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(id, name)])) };
}

/** `#rrggbb` as three numbers from 0 to 1. */
function rgb(hex) {
  const value = Number.parseInt(hex.trim().slice(1), 16) || 0;
  return [(value >> 16 & 255) / 255, (value >> 8 & 255) / 255, (value & 255) / 255];
}
