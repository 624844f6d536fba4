import { WriteBatcher, type WriteBatcherOptions } from './write-batcher.ts';

/** Tenants whose batchers are kept while nothing of theirs waits. */
const IDLE_TENANTS_MAX = 1_000;

/**
 * A write batcher for each tenant, for writes that may have to wait for somebody else's transaction: that of another
 * request of the same tenant, as no tenant can hold what another one needs. So each waits for its own only.
 */
export class TenantBatchers<Item extends { tenantId: string }, Result> {
  readonly #options: WriteBatcherOptions<Item, Result>;
  readonly #batchers = new Map<string, WriteBatcher<Item, Result>>();

  constructor(options: WriteBatcherOptions<Item, Result>) {
    this.#options = options;
  }

  /** Items that wait for their transaction to begin, of all tenants. */
  get waitingCount(): number {
    return this.#batchers.values().reduce((sum, batcher) => sum + batcher.waitingCount, 0);
  }

  /** As WriteBatcher's. */
  write(item: Item): Promise<Result> {
    let batcher = this.#batchers.get(item.tenantId);
    if (!batcher) {
      if (this.#batchers.size >= IDLE_TENANTS_MAX) this.#forgetIdle();
      batcher = new WriteBatcher(this.#options);
      this.#batchers.set(item.tenantId, batcher);
    }
    return batcher.write(item);
  }

  /** Resolves when nothing waits and no transaction is under way. */
  async flush(): Promise<void> {
    await Promise.all(this.#batchers.values().map((batcher) => batcher.flush()));
  }

  #forgetIdle(): void {
    for (const [tenantId, batcher] of this.#batchers) if (batcher.isIdle) this.#batchers.delete(tenantId);
  }
}
