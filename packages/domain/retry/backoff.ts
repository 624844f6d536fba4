/** How often, and how long apart, an attempt that failed for a passing reason is repeated. */
export interface RetryPolicy {
  /** Attempts beyond the first. */
  maxRetries: number;
  backoff: {
    initialMs: number;
    factor: number;
    maxMs: number;
    /** Share of the wait by which it is varied at random, 0–1, so that timers that failed together do not return together. */
    jitter: number;
  };
}

/** Any part of a policy; what is missing is as in `RETRY_DEFAULT`. */
export interface PartialRetryPolicy {
  maxRetries?: number;
  backoff?: Partial<RetryPolicy['backoff']>;
}

export const RETRY_DEFAULT: RetryPolicy = {
  maxRetries: 3,
  backoff: { initialMs: 1_000, factor: 2, maxMs: 60_000, jitter: 0.2 },
};

/** The most retries that a policy may ask for. */
export const RETRIES_MAX = 100;
/** The longest wait that a policy may ask for (ms): a day. */
export const BACKOFF_MAX_MS = 86_400_000;
/** The longest wait that a target's `Retry-After` can bring about (ms): an hour. */
export const RETRY_AFTER_MAX_MS = 3_600_000;
/** Times in a row that one attempt may be lost with its worker before the timer becomes a dead letter. */
export const LOST_IN_A_ROW_MAX = 10;

export function completeRetryPolicy(partial: PartialRetryPolicy | undefined): RetryPolicy {
  if (!partial) return RETRY_DEFAULT;
  return {
    maxRetries: partial.maxRetries ?? RETRY_DEFAULT.maxRetries,
    backoff: { ...RETRY_DEFAULT.backoff, ...partial.backoff },
  };
}

/**
 * Milliseconds to wait after attempt number `attempt` (from 1) failed: `initialMs · factor^(attempt − 1)`, at most
 * `maxMs`, varied by ± `jitter` of itself and again at most `maxMs`. A target's `retryAfterMs` lengthens the wait,
 * up to RETRY_AFTER_MAX_MS, and never shortens it. `random` yields numbers in [0, 1).
 */
export function computeBackoffMs(
  policy: RetryPolicy,
  attempt: number,
  random: () => number,
  retryAfterMs?: number,
): number {
  const { initialMs, factor, maxMs, jitter } = policy.backoff;
  const plain = Math.min(maxMs, initialMs * factor ** (attempt - 1));
  const varied = Math.min(maxMs, plain * (1 + jitter * (2 * random() - 1)));
  return Math.round(Math.max(varied, Math.min(retryAfterMs ?? 0, RETRY_AFTER_MAX_MS)));
}
