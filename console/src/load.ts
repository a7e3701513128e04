// How much there is to do in each shard, from what its owner counts between two looks.

/** A shard as a node shows it; what its owner did not say is absent. */
export interface Counted {
  shard: number;
  owner: number | null;
  n_awake?: number;
  n_commands?: number;
}

export interface Load {
  /** How many of its entities are awake. */
  awake: number;
  /** Commands a second lately; null before it has been looked at twice under its owner. */
  perS: number | null;
}

export type Measure = keyof Load;

/** Commands are counted over so many looks: about ten seconds. */
const LOOKS = 10;
/** How many strengths are told apart; 0 is nothing at all. */
export const STRENGTHS = 5;

/** What the last looks have shown. */
export class Loads {
  readonly #looks: { at: number; shards: Map<number, Counted> }[] = [];

  /** Takes in a look at `at`, in milliseconds, and tells the load of every shard whose owner has said so. */
  look(shards: readonly Counted[], at: number): Map<number, Load> {
    const loads = new Map<number, Load>();
    for (const it of shards) {
      if (it.n_awake !== undefined) loads.set(it.shard, { awake: it.n_awake, perS: this.#perS(it, at) });
    }
    this.#looks.push({ at, shards: new Map(shards.map((it) => [it.shard, it])) });
    if (this.#looks.length > LOOKS) this.#looks.shift();
    return loads;
  }

  #perS({ shard, owner, n_commands: n }: Counted, at: number): number | null {
    if (n === undefined) return null;
    // Another owner counts for itself.
    const before = this.#looks.find((look) => look.at < at && look.shards.get(shard)?.owner === owner && look.shards.get(shard)?.n_commands !== undefined);
    if (before === undefined) return null;
    return Math.max(0, ((n - before.shards.get(shard)!.n_commands!) * 1000) / (at - before.at));
  }
}

/** How strong each shard is drawn, from 0 to `STRENGTHS` - 1: the root of its load, so that a busy one does not hide all others. */
export function strengths(loads: ReadonlyMap<number, Load>, by: Measure): Map<number, number> {
  const most = Math.max(0, ...[...loads.values()].map((it) => it[by] ?? 0));
  const strong = (load: number | null): number => (load === null || load <= 0 ? 0 : Math.max(1, Math.round(Math.sqrt(load / most) * (STRENGTHS - 1))));
  return new Map([...loads].map(([shard, it]) => [shard, strong(it[by])]));
}
