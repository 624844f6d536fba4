import { type Database, FIRST_ID, type RaisedDueTimer, readDueByPriority, readMonotonicMs } from '@punctual/database';

/** Tenants that one read looks at; the next goes on behind them. */
const TENANTS_PER_READ = 200;
/**
 * Of each tenant so many are looked at, the highest first, those included that wait in the queue already: so many of them can be
 * there at once, and what comes with a higher priority waits for no more.
 */
const TIMERS_PER_TENANT = 256;
/** Before it is asked again where nothing was due (ms): most installations have no such timers. */
const EMPTY_PAUSE_MS = 50;

/**
 * Finds due timers that have a priority, past whatever waits before them (docs/decisions/0035). Each read begins at the highest of
 * each tenant. It never writes, and correctness does not depend on it: they are read in the order of their due times all the same.
 */
export class PriorityTurns {
  readonly #database: Pick<Database, 'hot'>;
  #after = FIRST_ID;
  #notBefore = Number.NEGATIVE_INFINITY;

  constructor(database: Pick<Database, 'hot'>) {
    this.#database = database;
  }

  /** In the partitions named, the highest of each tenant first; the tenants take turns. */
  async read(partitions: readonly number[]): Promise<RaisedDueTimer[]> {
    const now = readMonotonicMs();
    if (now < this.#notBefore) return [];
    const { timers, lastTenantId } = await readDueByPriority(
      this.#database.hot,
      this.#after,
      TENANTS_PER_READ,
      partitions,
      TIMERS_PER_TENANT,
    );
    this.#after = lastTenantId ?? FIRST_ID;
    if (timers.length === 0 && lastTenantId === undefined) this.#notBefore = now + EMPTY_PAUSE_MS;
    return takeTurns(timers);
  }
}

/** The first of each tenant, then the second of each, and so on. */
function takeTurns(timers: readonly RaisedDueTimer[]): RaisedDueTimer[] {
  const places = new Map<string, number>();
  const turns = timers.map((timer) => {
    const place = places.get(timer.tenantId) ?? 0;
    places.set(timer.tenantId, place + 1);
    return { timer, place };
  });
  return turns.toSorted((a, b) => a.place - b.place).map(({ timer }) => timer);
}
