import { type Database, readFirstWakes, readMonotonicMs } from '@punctual/database';

/**
 * A row may be committed this long after the statement that set its wake time, and is found above the floor all the same
 * (ms). Statements end within 4 s and transactions that fall silent within 5; a longer one is found by the check.
 */
const LATE_MAX_MS = 15_000;
/** How often a floor is raised (ms). */
const RAISE_INTERVAL_MS = 5_000;
/** How often it is looked whether something wakes below the floor after all (ms), and the most of the time that this may take. */
const CHECK_INTERVAL_MS_DEFAULT = 60_000;
const CHECK_TIME_SHARE = 0.02;

/**
 * Partitions of which nothing is known yet that one statement looks at from their beginning: beside an old snapshot each may
 * have to pass index entries of millions of rows that are gone, and 64 of them would run out of time.
 */
const NEW_PER_RAISE_MAX = 8;

interface Floor {
  /** Nothing of the partition wakes before it, as far as is known (epoch ms). */
  wakeAt: number;
  raisedAt: number;
  checkedAt: number;
}

/**
 * Knows for each partition an instant before which nothing is left that wakes, so that a sweep need not pass what was
 * there. While a dump or a forgotten transaction holds an old snapshot, the index keeps an entry for every timer that
 * ended since, and passing them all took a whole core after ten minutes (docs/capacity.md).
 */
export class WakeFloors {
  readonly #database: Pick<Database, 'hot'>;
  readonly #checkIntervalMs: number;
  readonly #floors = new Map<number, Floor>();
  #checkNotBefore = Number.NEGATIVE_INFINITY;

  constructor(database: Pick<Database, 'hot'>, checkIntervalMs = CHECK_INTERVAL_MS_DEFAULT) {
    this.#database = database;
    this.#checkIntervalMs = checkIntervalMs;
  }

  /** Where a sweep of the partition begins (epoch ms): 0 when nothing is known. */
  get(partition: number): number {
    return this.#floors.get(partition)?.wakeAt ?? 0;
  }

  /** Whether the partition's floor was ever raised here. */
  has(partition: number): boolean {
    return this.#floors.has(partition);
  }

  /** Forgets all partitions but these: somebody else's may have changed in the meantime. */
  keep(partitions: ReadonlySet<number>): void {
    for (const partition of this.#floors.keys()) if (!partitions.has(partition)) this.#floors.delete(partition);
  }

  /** Raises the floors of those of the partitions whose turn it is, or checks them from the beginning; of new ones, some. */
  async raise(partitions: readonly number[]): Promise<void> {
    const now = readMonotonicMs();
    let begun = 0;
    const from = partitions.flatMap((partition) => {
      const floor = this.#floors.get(partition);
      if (floor === undefined) {
        begun += 1;
        return begun <= NEW_PER_RAISE_MAX ? [{ partition, wakeAt: 0 }] : [];
      }
      if (now - floor.checkedAt >= this.#checkIntervalMs && now >= this.#checkNotBefore)
        return [{ partition, wakeAt: 0 }];
      return now - floor.raisedAt >= RAISE_INTERVAL_MS ? [{ partition, wakeAt: floor.wakeAt }] : [];
    });
    if (from.length === 0) return;
    const firsts = await readFirstWakes(this.#database.hot, from);
    const checked = new Set(from.flatMap(({ partition, wakeAt }) => (wakeAt === 0 ? [partition] : [])));
    for (const { partition, wakeAt, serverAt } of firsts) {
      this.#floors.set(partition, {
        wakeAt: Math.floor(Math.min(wakeAt, serverAt - LATE_MAX_MS)),
        raisedAt: now,
        checkedAt: checked.has(partition) ? now : this.#floors.get(partition)!.checkedAt,
      });
    }
    if (checked.size > 0) {
      const endedAt = readMonotonicMs();
      this.#checkNotBefore = endedAt + (endedAt - now) * (1 / CHECK_TIME_SHARE - 1);
    }
  }
}
