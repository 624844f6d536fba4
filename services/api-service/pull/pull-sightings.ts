import { forgetPullWorkers, notePullWorkers, type PullWorkerSighting } from '@punctual/database';
import { Loop, limitRate, OUTAGE_LOG_INTERVAL_MS, type Role } from '@punctual/runtime';
import type { ApiContext } from '../context.ts';

/** Between two writes of who was seen (ms), and between two looks for who is to be forgotten. */
const NOTE_INTERVAL_MS = 5_000;
const FORGET_INTERVAL_MS = 60_000;
/** Workers that one write tells of, and those of one tenant: who names himself anew each time keeps no others out. */
const SIGHTINGS_MAX = 1_000;
const SIGHTINGS_PER_TENANT_MAX = 100;

/**
 * Who asked for tasks here lately, for the operators' list. Nothing depends on it: what is not written, because too many
 * came or Postgres is away, is seen when they ask again. Without pull workers it writes nothing.
 */
export class PullSightings implements Role {
  readonly loop: Loop;
  readonly #context: Pick<ApiContext, 'database' | 'now'>;
  #seen = new Map<string, PullWorkerSighting>();
  #seenOfTenant = new Map<string, number>();
  /** Tenants of which any was written since the last look for who is to be forgotten. */
  readonly #noted = new Set<string>();
  #forgotAt = Number.NEGATIVE_INFINITY;

  constructor(context: Pick<ApiContext, 'database' | 'now' | 'logger'>) {
    this.#context = context;
    this.loop = new Loop({
      name: 'pull-sightings',
      run: () => this.runOnce(),
      pauseMs: () => NOTE_INTERVAL_MS,
      errorPauseMs: NOTE_INTERVAL_MS,
      onError: limitRate(
        (error: unknown) =>
          context.logger.warn({ err: error }, 'could not note which pull workers are there; trying again'),
        OUTAGE_LOG_INTERVAL_MS,
      ),
    });
  }

  start(): void {
    this.loop.start();
  }

  stop(): Promise<void> {
    return this.loop.stop();
  }

  see(tenantId: string, queue: string, workerId: string): void {
    // None of the three has spaces.
    const name = `${tenantId} ${queue} ${workerId}`;
    if (this.#seen.has(name) || this.#seen.size >= SIGHTINGS_MAX) return;
    const ofTenant = this.#seenOfTenant.get(tenantId) ?? 0;
    if (ofTenant >= SIGHTINGS_PER_TENANT_MAX) return;
    this.#seenOfTenant.set(tenantId, ofTenant + 1);
    this.#seen.set(name, { tenantId, queue, workerId });
  }

  async runOnce(): Promise<void> {
    const { database, now } = this.#context;
    if (this.#seen.size > 0) {
      const seen = [...this.#seen.values()];
      this.#seen = new Map();
      this.#seenOfTenant = new Map();
      await notePullWorkers(database.ordinary, seen);
      for (const { tenantId } of seen) this.#noted.add(tenantId);
    }
    if (this.#noted.size === 0 || now() - this.#forgotAt < FORGET_INTERVAL_MS) return;
    this.#forgotAt = now();
    const tenants = [...this.#noted];
    this.#noted.clear();
    await forgetPullWorkers(database.ordinary, tenants);
  }
}
