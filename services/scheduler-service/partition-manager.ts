import { setTimeout as sleep } from 'node:timers/promises';
import {
  acquirePartitionLeases,
  type Beat,
  beatServiceInstance,
  countUnownedPartitions,
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
  leaseTtlMs: number;
  renewIntervalMs: number;
  metrics: SchedulerMetrics;
  logger: Logger;
}

/** What was given back is read on for so many intervals of renewal: within one the next owner looks, and then it has to read. */
const HAND_OVER_INTERVALS = 2;
const HAND_OVER_POLL_MS = 50;

/**
 * Owns a fair share of the partitions, by leases in Postgres that it prolongs long before they end.
 *
 * Leases only keep schedulers from reading the same rows. When two believe that they own a partition, or nobody does
 * for some seconds, timers are dispatched twice or late; the worker's start stays the only claim. Killed at any step,
 * it leaves leases that end by themselves. Partitions that it gives back are read on until somebody else has them.
 */
export class PartitionManager implements Role {
  readonly #options: PartitionManagerOptions;
  readonly #loop: Loop;
  /** Partition → until when it may be read, by this process' monotonic clock. */
  readonly #owned = new Map<number, number>();
  /** Partitions that were given back → until when they are read on. */
  readonly #left = new Map<number, number>();
  /** Schedulers besides this one that worked at the last look. */
  #others = 0;
  #drainRequestedAt: number | null = null;

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

  /** Partitions that are owned now. A lease is not used in its last quarter unless it was renewed. */
  listOwned(): number[] {
    const now = readMonotonicMs();
    return [...this.#owned].flatMap(([partition, until]) => (now < until ? [partition] : []));
  }

  /** Partitions to read: those that are owned, and those whose next owner may not read them yet. */
  listRead(): number[] {
    const now = readMonotonicMs();
    for (const [partition, until] of this.#left) if (now >= until) this.#left.delete(partition);
    return [...new Set([...this.listOwned(), ...this.#left.keys()])];
  }

  start(): void {
    this.#loop.start();
  }

  /**
   * Gives all partitions back, so that the others need not wait for the leases to end, and resolves when others have them.
   * Until then they are to be read.
   */
  async stop(): Promise<void> {
    await this.#loop.stop();
    const { database, instance } = this.#options;
    const partitions = [...this.#owned.keys()];
    try {
      await this.#giveBack(partitions);
      await removeServiceInstance(database.hot, instance.id);
      if (this.#others > 0) await this.#waitForOwners(partitions);
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'could not give the partitions back; their leases end by themselves');
    }
  }

  async runOnce(): Promise<void> {
    const { database, instance, leaseTtlMs, metrics } = this.#options;
    const askedAt = readMonotonicMs();
    const renewed = await renewPartitionLeases(database.hot, instance.id, leaseTtlMs);
    this.#replaceOwned(renewed, askedAt);

    const beat = await beatServiceInstance(
      database.hot,
      { ...instance, details: { ...instance.details, partitions: this.#owned.size } },
      this.#drainRequestedAt,
    );
    this.#drainRequestedAt = beat.drainRequestedAt;
    this.#others = beat.peers;
    const share = beat.drainRequestedAt === null ? countShare(beat) : 0;
    if (this.#owned.size > share) await this.#release(this.#owned.size - share);
    else if (this.#owned.size < share) await this.#acquire(share - this.#owned.size);
    metrics.partitions.set(beat.partitionCount);
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
    const { metrics, logger } = this.#options;
    const partitions = [...this.#owned.keys()].slice(0, count);
    await this.#giveBack(partitions);
    metrics.leaseChanges.inc({ change: 'released' }, count);
    logger.info({ partitions, owned: this.#owned.size }, 'gave partitions to another scheduler');
  }

  async #giveBack(partitions: readonly number[]): Promise<void> {
    const { database, instance } = this.#options;
    const until = this.#readHandOverEnd();
    for (const partition of partitions) {
      this.#owned.delete(partition);
      this.#left.set(partition, until);
    }
    await releasePartitionLeases(database.hot, instance.id, partitions);
  }

  #readHandOverEnd(): number {
    return readMonotonicMs() + HAND_OVER_INTERVALS * this.#options.renewIntervalMs;
  }

  async #waitForOwners(partitions: readonly number[]): Promise<void> {
    const { database } = this.#options;
    const until = this.#readHandOverEnd();
    while (readMonotonicMs() < until && (await countUnownedPartitions(database.hot, partitions)) > 0)
      await sleep(HAND_OVER_POLL_MS);
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

/**
 * How many partitions a scheduler is to own: shares differ by one at most, those with the smaller ids have the larger ones, and
 * together they are all partitions. Where two see others for a moment, a partition is read twice or not at all until both see
 * the same.
 */
export function countShare({ partitionCount, peers, peersBefore }: Omit<Beat, 'drainRequestedAt'>): number {
  const all = peers + 1;
  return Math.floor(partitionCount / all) + (peersBefore < partitionCount % all ? 1 : 0);
}
