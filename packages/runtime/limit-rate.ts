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
