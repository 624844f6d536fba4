import {
  acquirePartitionLeases,
  beatServiceInstance,
  type Database,
  type HeldLease,
  readMonotonicMs,
  releasePartitionLeases,
  removeServiceInstance,
  renewPartitionLeases,
  type ServiceInstance,
} from '@punctual/database';
import { type Logger, Loop, limitRate, OUTAGE_LOG_INTERVAL_MS, type Role } from '@punctual/runtime';
import type { SchedulerMetrics } from './metrics.ts';

export interface PartitionManagerOptions {
  database: Database;
  /** Who this scheduler is, for the others. */
  instance: ServiceInstance;
  partitionCount: number;
  leaseTtlMs: number;
  renewIntervalMs: number;
  metrics: SchedulerMetrics;
  logger: Logger;
}

/**
 * Owns a fair share of the partitions, by leases in Postgres that it prolongs long before they end.
 *
 * Leases only keep schedulers from reading the same rows. When two believe that they own a partition, or nobody does
 * for some seconds, timers are dispatched twice or late; the worker's start stays the only claim. Killed at any step,
 * it leaves leases that end by themselves.
 */
export class PartitionManager implements Role {
  readonly #options: PartitionManagerOptions;
  readonly #loop: Loop;
  /** Partition → until when it may be read, by this process' monotonic clock. */
  readonly #owned = new Map<number, number>();

  constructor(options: PartitionManagerOptions) {
    this.#options = options;
    const warnSeldom = limitRate(
      (error: unknown, text: string) => options.logger.warn({ err: error }, text),
      OUTAGE_LOG_INTERVAL_MS,
    );
    this.#loop = new Loop({
      name: 'partition-manager',
      run: () => this.runOnce(),
      pauseMs: () => options.renewIntervalMs,
      errorPauseMs: options.renewIntervalMs,
      onError: (error) => {
        options.metrics.partitionsOwned.set(this.listOwned().length);
        warnSeldom(error, 'could not renew the leases of partitions; trying again');
      },
    });
  }

  get loop(): Loop {
    return this.#loop;
  }

  /** Partitions that may be read now. A lease is not used in its last quarter unless it was renewed. */
  listOwned(): number[] {
    const now = readMonotonicMs();
    return [...this.#owned].flatMap(([partition, until]) => (now < until ? [partition] : []));
  }

  start(): void {
    this.#loop.start();
  }

  /** Gives all partitions back, so that the others need not wait for the leases to end. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    const { database, instance } = this.#options;
    const partitions = [...this.#owned.keys()];
    this.#owned.clear();
    try {
      await releasePartitionLeases(database.hot, instance.id, partitions);
      await removeServiceInstance(database.hot, instance.id);
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'could not give the partitions back; their leases end by themselves');
    }
  }

  async runOnce(): Promise<void> {
    const { database, instance, partitionCount, leaseTtlMs, metrics } = this.#options;
    const askedAt = readMonotonicMs();
    const renewed = await renewPartitionLeases(database.hot, instance.id, leaseTtlMs);
    this.#replaceOwned(renewed, askedAt);

    const others = await beatServiceInstance(database.hot, {
      ...instance,
      details: { ...instance.details, partitions: this.#owned.size },
    });
    const share = Math.ceil(partitionCount / (others + 1));
    if (this.#owned.size > share) await this.#release(this.#owned.size - share);
    else if (this.#owned.size < share) await this.#acquire(share - this.#owned.size);
    metrics.partitions.set(partitionCount);
    metrics.partitionsOwned.set(this.#owned.size);
    metrics.leasesRenewedAt.setToCurrentTime();
  }

  #replaceOwned(renewed: readonly HeldLease[], askedAt: number): void {
    const lost = new Set(this.#owned.keys());
    for (const lease of renewed) {
      lost.delete(lease.partition);
      this.#own(lease, askedAt);
    }
    for (const partition of lost) this.#owned.delete(partition);
    if (lost.size > 0) {
      this.#options.metrics.leaseChanges.inc({ change: 'lost' }, lost.size);
      this.#options.logger.warn({ partitions: [...lost] }, 'leases of partitions ended before they were renewed');
    }
  }

  #own(lease: HeldLease, askedAt: number): void {
    this.#owned.set(lease.partition, askedAt + this.#options.leaseTtlMs * 0.75);
  }

  async #release(count: number): Promise<void> {
    const { database, instance, metrics, logger } = this.#options;
    const partitions = [...this.#owned.keys()].slice(0, count);
    for (const partition of partitions) this.#owned.delete(partition);
    await releasePartitionLeases(database.hot, instance.id, partitions);
    metrics.leaseChanges.inc({ change: 'released' }, count);
    logger.info({ partitions, owned: this.#owned.size }, 'gave partitions to another scheduler');
  }

  async #acquire(count: number): Promise<void> {
    const { database, instance, leaseTtlMs, metrics, logger } = this.#options;
    const askedAt = readMonotonicMs();
    const acquired = await acquirePartitionLeases(database.hot, instance.id, count, leaseTtlMs);
    if (acquired.length === 0) return;
    for (const lease of acquired) this.#own(lease, askedAt);
    metrics.leaseChanges.inc({ change: 'gained' }, acquired.length);
    logger.info({ partitions: acquired.map((lease) => lease.partition), owned: this.#owned.size }, 'took partitions');
  }
}
