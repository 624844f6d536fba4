/**
 * Sets this process' wall clock ahead by `offsetMs`, or back. Its monotonic clock goes on as it was, as on a machine whose
 * clock somebody sets.
 */
export function shiftClock(offsetMs: number): void {
  const RealDate = Date;
  const now = () => RealDate.now() + offsetMs;
  const shifted = function (this: unknown, ...args: unknown[]) {
    if (new.target === undefined) return new RealDate(now()).toString();
    return Reflect.construct(RealDate, args.length === 0 ? [now()] : args, new.target);
  };
  globalThis.Date = Object.assign(shifted, { now, parse: RealDate.parse, UTC: RealDate.UTC }) as never;
  Object.defineProperty(shifted, 'prototype', { value: RealDate.prototype });
}
