import { type Database, readTenantLimits, type TenantLimits } from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import type { ApiConfig } from '../config.ts';

/** What a tenant may do at most; undefined: no limit. */
export interface Limits {
  requestsPerSecondMax: number | undefined;
  liveTimersMax: number | undefined;
}

/** How long limits that were read are gone by (ms). A change must hold everywhere within 5 s. */
export const LIMITS_TTL_MS = 4_000;
/** Tenants with limits of their own that are remembered: as many as keys are. The one that was learned first leaves. */
const LIMITED_TENANTS_MAX = 10_000;

/**
 * The limits of the tenants whose requests this process lets in. They come with each key that is looked up, so they are
 * as fresh as that. The default tenant, which may come without a key of the database, is asked for beside its requests.
 */
export class KnownLimits {
  readonly #database: Pick<Database, 'ordinary'>;
  readonly #general: Limits | undefined;
  readonly #now: () => number;
  readonly #known = new Map<string, Limits>();
  #askAgainAt = Number.NEGATIVE_INFINITY;

  constructor(
    config: Pick<ApiConfig, 'API_REQUESTS_PER_SECOND_MAX' | 'API_LIVE_TIMERS_MAX'>,
    database: Pick<Database, 'ordinary'>,
    now: () => number,
  ) {
    this.#database = database;
    this.#now = now;
    const general = {
      requestsPerSecondMax: config.API_REQUESTS_PER_SECOND_MAX || undefined,
      liveTimersMax: config.API_LIVE_TIMERS_MAX || undefined,
    };
    this.#general = isLimited(general) ? general : undefined;
  }

  /** The limits of a tenant; undefined when it has none. */
  find(tenantId: string): Limits | undefined {
    return this.#known.get(tenantId) ?? this.#general;
  }

  /** Notes what the database says of a tenant. */
  learn(tenantId: string, row: TenantLimits): void {
    this.#known.delete(tenantId);
    if (row.requests_per_second_max === null && row.live_timers_max === null) return;
    this.#known.set(tenantId, {
      requestsPerSecondMax: row.requests_per_second_max ?? this.#general?.requestsPerSecondMax,
      liveTimersMax: row.live_timers_max ?? this.#general?.liveTimersMax,
    });
    if (this.#known.size > LIMITED_TENANTS_MAX) this.#known.delete(this.#known.keys().next().value!);
  }

  /**
   * Reads those of the default tenant again when they are old. Requests do not wait for it: while the database is away they
   * would be answered later for it, and what is known is good enough until the answer is there.
   */
  refreshDefaultTenant(): void {
    const now = this.#now();
    if (now < this.#askAgainAt) return;
    this.#askAgainAt = now + LIMITS_TTL_MS;
    void this.readDefaultTenant().catch(() => {});
  }

  /** Rejects when the database can not be asked. */
  async readDefaultTenant(): Promise<void> {
    const row = await readTenantLimits(this.#database.ordinary, DEFAULT_TENANT_ID);
    if (row) this.learn(DEFAULT_TENANT_ID, row);
  }
}

function isLimited({ requestsPerSecondMax, liveTimersMax }: Limits): boolean {
  return requestsPerSecondMax !== undefined || liveTimersMax !== undefined;
}
