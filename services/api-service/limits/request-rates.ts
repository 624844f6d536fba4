import { TokenBucket } from 'limiter';
import type { KnownLimits } from './known-limits.ts';

/** Tenants whose rates are watched at once. The one that was added first leaves, and begins anew if it comes again. */
const BUCKETS_MAX = 10_000;
const SECOND_MS = 1_000;

/**
 * Holds each tenant to its requests per second, in this process: a bucket that takes a second's worth and fills at that
 * rate. A batch counts its items; one that has more than a second's worth needs a full bucket, and is paid for by the
 * seconds that follow. What only turns out to be large is counted when that is known.
 */
export class RequestRates {
  readonly #limits: KnownLimits;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(limits: KnownLimits) {
    this.#limits = limits;
  }

  /** Whether the tenant has a limit at all. */
  isBounded(tenantId: string): boolean {
    return this.#limits.find(tenantId)?.requestsPerSecondMax !== undefined;
  }

  /** Counts one request. Returns the wait (ms) after which there will be room for it; 0: it may pass. */
  countRequest(tenantId: string): number {
    return this.#count(tenantId, 1, 0);
  }

  /** Counts the items of a batch whose request was counted as one before. Returns as `countRequest` does. */
  countItems(tenantId: string, items: number): number {
    return this.#count(tenantId, items, 1);
  }

  /**
   * Counts what a request, which was counted as one before, turned out to be about. It is done, so it is not refused: the
   * requests that follow wait until it is paid for.
   */
  countFound(tenantId: string, found: number): void {
    const max = this.#limits.find(tenantId)?.requestsPerSecondMax;
    if (max === undefined || found <= 1) return;
    const bucket = this.#find(tenantId, max);
    // What came back meanwhile goes into the bucket, no more than fits, before anything is taken out.
    bucket.drip();
    bucket.content -= found - 1;
  }

  #count(tenantId: string, items: number, counted: number): number {
    const max = this.#limits.find(tenantId)?.requestsPerSecondMax;
    if (max === undefined || items === counted) return 0;
    const bucket = this.#find(tenantId, max);
    const now = Math.min(items, max) - counted;
    if (!bucket.tryRemoveTokens(now)) return Math.max(1, bucket.getWaitTime(now));
    bucket.content -= items - counted - now;
    return 0;
  }

  #find(tenantId: string, max: number): TokenBucket {
    let bucket = this.#buckets.get(tenantId);
    if (bucket?.bucketSize === max) return bucket;
    // The limit is new, or was changed: then what was used up counts no more.
    bucket = new TokenBucket({ bucketSize: max, tokensPerInterval: max, interval: SECOND_MS });
    bucket.content = max;
    this.#buckets.set(tenantId, bucket);
    if (this.#buckets.size > BUCKETS_MAX) this.#buckets.delete(this.#buckets.keys().next().value!);
    return bucket;
  }
}
