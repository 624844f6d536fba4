/** Faults of a backend that is away come in floods; one line in this time tells enough (ms). */
export const OUTAGE_LOG_INTERVAL_MS = 10_000;

/**
 * Calls `act` at most once in `intervalMs` and leaves out the calls in between: for log lines about a fault that
 * comes in floods.
 */
export function limitRate<Arguments extends unknown[]>(
  act: (...args: Arguments) => void,
  intervalMs: number,
): (...args: Arguments) => void {
  let actedAt = Number.NEGATIVE_INFINITY;
  return (...args) => {
    if (performance.now() - actedAt < intervalMs) return;
    actedAt = performance.now();
    act(...args);
  };
}
