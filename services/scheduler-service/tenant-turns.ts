import {
  type Database,
  FIRST_ID,
  readDueTimersOfTenants,
  readMonotonicMs,
  readTenantIds,
  type TenantDueTimer,
  type TenantReadFrom,
} from '@punctual/database';

/** How long the list of tenants is good (ms): a new one waits so long for its first turn, and is served in due order before. */
const TENANTS_TTL_MS = 5_000;
/** More of them take their turns in order of the due time alone. */
const TENANTS_MAX = 100_000;
/** Tenants in one turn; the next goes on behind them. */
const TENANTS_PER_TURN = 500;
/** Timers of one tenant in one turn: a chunk. */
const TIMERS_PER_TENANT = 64;
/** A tenant with more due timers than so many turns in a row take is one that others wait for; the backlog's order does for it. */
const FULL_TURNS_MAX = 16;
/**
 * Timers are read so long before they are due (ms): longer than it takes until their tenant's next turn while the machine
 * is busy. Read when they are due, they would be late by their wait for the turn, and by all that comes after it.
 */
const TURN_AHEAD_MS = 250;
/** Turns take at most this share of the time, so that they do not slow down the backlog that they are there for. */
const TIME_SHARE = 0.2;

/**
 * Reads a few timers of every tenant in turn that are due or soon will be, past whatever waits before them: while one
 * tenant has a million due at once, the others' are found here, within some hundred tenants a turn (docs/decisions/0015).
 * It never writes, and correctness does not depend on it: the backlog is read in its own order all the same.
 */
export class TenantTurns {
  readonly #database: Pick<Database, 'hot'>;
  #tenantIds: string[] = [];
  #listedAt = Number.NEGATIVE_INFINITY;
  /** Index of the tenant whose turn is next. */
  #next = 0;
  #notBefore = Number.NEGATIVE_INFINITY;
  /** Of tenants that had more due timers than one turn takes. */
  readonly #cursors = new Map<string, TenantReadFrom & { fullTurns: number }>();

  constructor(database: Pick<Database, 'hot'>) {
    this.#database = database;
  }

  /** Timers of the tenants whose turn it is, due or soon to be, in the partitions named. None when there is one tenant only. */
  async read(partitions: readonly number[]): Promise<TenantDueTimer[]> {
    const beganAt = readMonotonicMs();
    if (beganAt < this.#notBefore) return [];
    await this.#listTenants(beganAt);
    if (this.#tenantIds.length < 2) return [];
    const tenantIds = this.#tenantIds
      .slice(this.#next, this.#next + TENANTS_PER_TURN)
      .filter((tenantId) => (this.#cursors.get(tenantId)?.fullTurns ?? 0) < FULL_TURNS_MAX);
    this.#next += TENANTS_PER_TURN;
    if (this.#next >= this.#tenantIds.length) this.#next = 0;
    const from = tenantIds.map((tenantId) => this.#cursors.get(tenantId) ?? { tenantId, dueAt: 0, id: FIRST_ID });
    const timers = await readDueTimersOfTenants(this.#database.hot, from, partitions, TURN_AHEAD_MS, TIMERS_PER_TENANT);
    this.#moveCursors(tenantIds, timers);
    const endedAt = readMonotonicMs();
    this.#notBefore = endedAt + (endedAt - beganAt) * (1 / TIME_SHARE - 1);
    return timers;
  }

  /** Nobody waits behind a backlog any more: the next one begins at the beginning. */
  reset(): void {
    this.#cursors.clear();
  }

  #moveCursors(tenantIds: readonly string[], timers: readonly TenantDueTimer[]): void {
    const pages = Map.groupBy(timers, (timer) => timer.tenantId);
    for (const tenantId of tenantIds) {
      const page = pages.get(tenantId);
      if (page?.length === TIMERS_PER_TENANT) {
        const { dueAt, id } = page.at(-1)!;
        const fullTurns = (this.#cursors.get(tenantId)?.fullTurns ?? 0) + 1;
        this.#cursors.set(tenantId, { tenantId, dueAt, id, fullTurns });
      } else {
        this.#cursors.delete(tenantId);
      }
    }
  }

  async #listTenants(now: number): Promise<void> {
    if (now - this.#listedAt < TENANTS_TTL_MS) return;
    this.#tenantIds = await readTenantIds(this.#database.hot, TENANTS_MAX);
    this.#listedAt = now;
    if (this.#next >= this.#tenantIds.length) this.#next = 0;
  }
}
