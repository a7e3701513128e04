// What a node counts, as Prometheus reads it.

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** The samples of an exposition; lines that are none are left out. */
export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const parts = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!parts || line.startsWith("#")) continue;
    const labels = Object.fromEntries([...(parts[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map((it) => [it[1]!, it[2]!]));
    samples.push({ name: parts[1]!, labels, value: Number(parts[3]) });
  }
  return samples;
}

/** The sum of all samples of a name that have these labels; null if there are none. */
export function total(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number | null {
  const found = samples.filter((it) => it.name === name && Object.entries(labels).every(([key, value]) => it.labels[key] === value));
  return found.length === 0 ? null : found.reduce((sum, it) => sum + it.value, 0);
}

/**
 * A quantile of the durations that were measured between two looks, in milliseconds; from the start, if there is no
 * earlier one. Within its bucket it is where Prometheus would put it; null if nothing was measured.
 */
export function quantileMs(before: readonly Sample[] | null, now: readonly Sample[], name: string, q: number): number | null {
  const was = before === null ? new Map<number, number>() : bucketsOf(before, name);
  const buckets = [...bucketsOf(now, name)].sort((a, b) => a[0] - b[0]).map(([le, n]): [number, number] => [le, n - (was.get(le) ?? 0)]);
  const all = buckets.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  const at = buckets.findIndex(([, n]) => n >= all * q);
  const [low, nBelow] = at > 0 ? buckets[at - 1]! : [0, 0];
  const [high, n] = buckets[at]!;
  if (!Number.isFinite(high)) return low * 1000;
  return (low + (high - low) * ((all * q - nBelow) / Math.max(1, n - nBelow))) * 1000;
}

function bucketsOf(samples: readonly Sample[], name: string): Map<number, number> {
  const buckets = new Map<number, number>();
  for (const it of samples) {
    if (it.name !== `${name}_bucket`) continue;
    const le = it.labels.le === "+Inf" ? Infinity : Number(it.labels.le);
    buckets.set(le, (buckets.get(le) ?? 0) + it.value);
  }
  return buckets;
}
