/** Epoch milliseconds with fractions, by a clock that does not step back while the process runs. */
export function readMonotonicMs(): number {
  return performance.timeOrigin + performance.now();
}
