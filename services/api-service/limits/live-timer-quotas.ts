import { asTenant, countLiveTimers, type Database, type Transaction } from '@punctual/database';
import { ProblemError } from '../problem.ts';
import type { KnownLimits } from './known-limits.ts';

/** How long a count of live timers is gone by (ms). Within it the processes of one install know nothing of each other. */
export const COUNT_TTL_MS = 2_000;
/** Tenants whose counts are remembered. The one that was counted first leaves, and is counted again when it comes again. */
const COUNTS_MAX = 10_000;
/** Timers end at any time; what ended is noticed at the next count. */
const RETRY_AFTER_SECONDS = Math.ceil(COUNT_TTL_MS / 1000);

export interface LiveTimerQuotasOptions {
  limits: KnownLimits;
  database: Pick<Database, 'hot' | 'ordinary'>;
  onRefuse: () => void;
  /** Milliseconds of a clock that never goes back. */
  now: () => number;
}

/** Live timers by the ledger at one instant (process' monotonic ms), and what was let in since. */
interface Count {
  live: number;
  added: number;
  countedAt: number;
}

/**
 * Holds each tenant to the number of live timers that it may have. What was let in counts at once, also when it is not
 * stored in the end, until the ledger is asked again. The tasks that a run begins later count, but nobody refuses them.
 */
export class LiveTimerQuotas {
  readonly #limits: KnownLimits;
  readonly #database: Pick<Database, 'hot' | 'ordinary'>;
  readonly #onRefuse: () => void;
  readonly #now: () => number;
  readonly #counts = new Map<string, Count>();
  readonly #underWay = new Map<string, Promise<Count>>();

  constructor({ limits, database, onRefuse, now }: LiveTimerQuotasOptions) {
    this.#limits = limits;
    this.#database = database;
    this.#onRefuse = onRefuse;
    this.#now = now;
  }

  /** Whether the tenant has a quota at all; without one there is nothing to ask or to wait for. */
  isBounded(tenantId: string): boolean {
    return this.#limits.find(tenantId)?.liveTimersMax !== undefined;
  }

  /**
   * Lets in `timers` more, all or none. Returns the refusal. Within a transaction give its `client`, on which the ledger is
   * asked then: to wait for a second connection while one is held might be to wait for ever.
   */
  async take(tenantId: string, timers: number, client?: Transaction): Promise<ProblemError | undefined> {
    const max = this.#limits.find(tenantId)?.liveTimersMax;
    if (max === undefined || timers === 0) return undefined;
    const known = this.#counts.get(tenantId);
    const isFresh = known !== undefined && this.#now() - known.countedAt < COUNT_TTL_MS;
    const count = isFresh ? known : await (client ? this.#count(tenantId, client) : this.#countTogether(tenantId));
    const present = count.live + count.added;
    if (present + timers > max) {
      this.#onRefuse();
      return createQuotaExceeded(present, max);
    }
    count.added += timers;
    return undefined;
  }

  /** Takes back that `timers` were let in which were there already under their external ids. */
  give(tenantId: string, timers: number): void {
    const count = this.#counts.get(tenantId);
    // A count made since does not know of them.
    if (count) count.added = Math.max(0, count.added - timers);
  }

  /** Requests that come together ask once. */
  #countTogether(tenantId: string): Promise<Count> {
    let counting = this.#underWay.get(tenantId);
    if (!counting) {
      const { ordinary } = asTenant(this.#database, tenantId);
      counting = this.#count(tenantId, ordinary).finally(() => this.#underWay.delete(tenantId));
      this.#underWay.set(tenantId, counting);
    }
    return counting;
  }

  async #count(tenantId: string, database: Transaction): Promise<Count> {
    const before = this.#counts.get(tenantId);
    const countedAt = this.#now();
    const live = await countLiveTimers(database, tenantId);
    // Whoever counted meanwhile, on another connection, may have let in more since.
    const meanwhile = this.#counts.get(tenantId);
    if (meanwhile && meanwhile !== before) return meanwhile;
    const count = { live, added: 0, countedAt };
    this.#counts.delete(tenantId);
    this.#counts.set(tenantId, count);
    if (this.#counts.size > COUNTS_MAX) this.#counts.delete(this.#counts.keys().next().value!);
    return count;
  }
}

function createQuotaExceeded(present: number, max: number): ProblemError {
  return new ProblemError(
    429,
    'quota_exceeded',
    `The tenant has ${present} live timers and may have ${max}; there is no room for what this request would add.`,
    { headers: { 'retry-after': String(RETRY_AFTER_SECONDS) } },
  );
}
