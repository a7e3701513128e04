// The way along the drawn streets from one place to another: the shortest, for a dispatcher's eye, and no promise.

import type { Projection } from "./camera.js";
import type { City } from "./ground.js";

/** How much slower a metre of each class is than one of an arterial. */
const SLOWNESS: Record<string, number> = { arterial: 1, collector: 1.15, street: 1.4 };
/** Further from any street than this, nothing leads there. */
const SNAP_M = 800;
const CELL_M = 250;

export type XY = readonly [x: number, y: number];

const laid = new WeakMap<City, Streets>();

/** The streets of a city as it is drawn, from when they are first asked for; null without one. */
export function streetsOf(city: City | null, projection: Projection): Streets | null {
  if (city === null) return null;
  const streets = laid.get(city) ?? new Streets(city, projection);
  laid.set(city, streets);
  return streets;
}

export class Streets {
  readonly #xs: number[] = [];
  readonly #ys: number[] = [];
  readonly #next: [to: number, cost: number][][] = [];
  readonly #cells = new Map<string, number[]>();

  constructor(city: City, projection: Projection) {
    const known = new Map<string, number>();
    const node = (lon: number, lat: number): number => {
      const key = `${lon},${lat}`;
      let at = known.get(key);
      if (at === undefined) {
        known.set(key, at = this.#xs.length);
        this.#xs.push(projection.x(lon));
        this.#ys.push(projection.y(lat));
        this.#next.push([]);
        const cell = this.#cell(this.#xs[at]!, this.#ys[at]!);
        this.#cells.set(cell, [...(this.#cells.get(cell) ?? []), at]);
      }
      return at;
    };
    for (const road of city.roads ?? []) {
      for (let i = 1; i < road.line.length; i += 1) {
        const [a, b] = [node(...road.line[i - 1]!), node(...road.line[i]!)];
        const cost = this.#apart(a, b) * (SLOWNESS[road.class] ?? 1.4);
        this.#next[a]!.push([b, cost]);
        this.#next[b]!.push([a, cost]);
      }
    }
  }

  /** The way from `a` to `b`, both ends included; straight if no street leads there. */
  way(a: XY, b: XY): XY[] {
    const [from, to] = [this.#nearest(a), this.#nearest(b)];
    if (from === null || to === null) return [a, b];
    const path = this.#search(from, to);
    return path ? [a, ...path.map((at): XY => [this.#xs[at]!, this.#ys[at]!]), b] : [a, b];
  }

  /** A*, with the distance as the crow flies, which is never more than the way. */
  #search(from: number, to: number): number[] | null {
    const cost = new Map<number, number>([[from, 0]]);
    const before = new Map<number, number>();
    const done = new Set<number>();
    const heap: [number, number][] = [[this.#apart(from, to), from]];
    while (heap.length > 0) {
      const [, at] = pop(heap);
      if (at === to) {
        const path = [to];
        for (let it = before.get(to); it !== undefined; it = before.get(it)) path.push(it);
        return path.reverse();
      }
      if (done.has(at)) continue;
      done.add(at);
      for (const [next, step] of this.#next[at]!) {
        const total = cost.get(at)! + step;
        if (total >= (cost.get(next) ?? Infinity)) continue;
        cost.set(next, total);
        before.set(next, at);
        push(heap, [total + this.#apart(next, to), next]);
      }
    }
    return null;
  }

  #nearest([x, y]: XY): number | null {
    let [best, far] = [null as number | null, SNAP_M];
    const reach = Math.ceil(SNAP_M / CELL_M);
    const [cx, cy] = [Math.floor(x / CELL_M), Math.floor(y / CELL_M)];
    for (let i = -reach; i <= reach; i += 1) {
      for (let j = -reach; j <= reach; j += 1) {
        for (const at of this.#cells.get(`${cx + i},${cy + j}`) ?? []) {
          const d = Math.hypot(this.#xs[at]! - x, this.#ys[at]! - y);
          if (d < far) [best, far] = [at, d];
        }
      }
    }
    return best;
  }

  #cell(x: number, y: number): string {
    return `${Math.floor(x / CELL_M)},${Math.floor(y / CELL_M)}`;
  }

  #apart(a: number, b: number): number {
    return Math.hypot(this.#xs[a]! - this.#xs[b]!, this.#ys[a]! - this.#ys[b]!);
  }
}

/** How long a way is, in metres. */
export function lengthOf(way: readonly XY[]): number {
  let sum = 0;
  for (let i = 1; i < way.length; i += 1) sum += Math.hypot(way[i]![0] - way[i - 1]![0], way[i]![1] - way[i - 1]![1]);
  return sum;
}

function push(heap: [number, number][], it: [number, number]): void {
  let at = heap.push(it) - 1;
  while (at > 0) {
    const up = (at - 1) >> 1;
    if (heap[up]![0] <= heap[at]![0]) return;
    [heap[up], heap[at]] = [heap[at]!, heap[up]!];
    at = up;
  }
}

function pop(heap: [number, number][]): [number, number] {
  const top = heap[0]!;
  const last = heap.pop()!;
  if (heap.length === 0) return top;
  heap[0] = last;
  for (let at = 0; ;) {
    const [left, right] = [2 * at + 1, 2 * at + 2];
    let least = at;
    if (left < heap.length && heap[left]![0] < heap[least]![0]) least = left;
    if (right < heap.length && heap[right]![0] < heap[least]![0]) least = right;
    if (least === at) return top;
    [heap[least], heap[at]] = [heap[at]!, heap[least]!];
    at = least;
  }
}
