import { areFaultsInjected } from './faults/settings.ts';

/** How long `waitUntil` waits before it gives up, unless told otherwise (ms). */
const LIMIT_MS_DEFAULT = 10_000;
const POLL_MS = 10;
/** While faults are injected an attempt may get lost, and is begun again when its lease has ended (ms). */
const LIMIT_MS_UNDER_FAULTS = 60_000;

/**
 * Waits until `condition` returns something truthy and returns it. After `wantedLimitMs`, or later while faults are
 * injected, it throws, naming what was awaited: the one way in which tests wait for other processes.
 */
export async function waitUntil<T>(
  what: string,
  condition: () => T | Promise<T>,
  wantedLimitMs: number = LIMIT_MS_DEFAULT,
): Promise<NonNullable<T>> {
  const limitMs = areFaultsInjected ? Math.max(wantedLimitMs, LIMIT_MS_UNDER_FAULTS) : wantedLimitMs;
  const deadline = performance.now() + limitMs;
  for (;;) {
    const value = await condition();
    if (value) return value as NonNullable<T>;
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
