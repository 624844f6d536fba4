export type Target = 'good' | 'flaky' | 'failing';
/** Three endpoints: always good; good at the third attempt; never good. */
export const TARGETS: readonly Target[] = ['good', 'flaky', 'failing'];

/** Attempts at which the flaky endpoint answers 503. */
export const FLAKY_FAILURES = 2;
/** What it then says on the first of them: longer than the backoff of most of the test's timers. */
export const RETRY_AFTER_SECONDS = 1;

/** One request, as its endpoint wrote it down; the place in the list is its place among all requests. */
export interface Delivery {
  target: Target;
  /** By the headers. */
  timerId: string;
  idempotencyKey: string;
  attempt: number;
  /** Epoch ms. */
  dueAt: number;
  /** By the body. */
  body: {
    timerId: string;
    runId: string | null;
    taskKey: string | null;
    attempt: number;
    dueAt: string;
    payload: { n?: number; revision?: number } | null;
    /** Of a task that runs once per element; and outputs of the tasks before it. */
    item?: unknown;
    inputs?: Record<string, unknown>;
  };
  /** Epoch ms by this host's clock, which is the database's too. */
  receivedAt: number;
}
