/** States of a timer. The first three are live, the others final. */
export const LIVE_STATES = ['scheduled', 'running', 'paused'] as const;
export const FINAL_STATES = ['succeeded', 'dead', 'cancelled', 'skipped'] as const;
export type LiveState = (typeof LIVE_STATES)[number];
export type FinalState = (typeof FINAL_STATES)[number];

/** Shortest, longest and usual time that an attempt may take (ms). */
export const TIMEOUT_MS_MIN = 1;
export const TIMEOUT_MS_MAX = 60_000;
export const TIMEOUT_MS_DEFAULT = 10_000;

/**
 * What a timer of the system does: a turn of some long work, by its kind and what it is about. Clients can not ask for it, the
 * contracts do not know it.
 */
export interface SystemAction {
  type: 'system';
  task: 'bulk-operation' | 'schedule';
  id: string;
  /** Whose schedule it is; timers that were stored before this was noted have none. */
  tenantId?: string;
}

/** What a timer does when it is due. */
export type Action =
  | { type: 'http'; url: string; method?: string; headers?: Record<string, string>; body?: unknown }
  | { type: 'pull'; queue: string }
  | { type: 'noop'; durationMs?: number; output?: unknown };
