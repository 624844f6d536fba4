/** How long `waitUntil` waits before it gives up, unless told otherwise (ms). */
const LIMIT_MS_DEFAULT = 10_000;
const POLL_MS = 10;

/**
 * Waits until `condition` returns something truthy and returns it. After `limitMs` it throws, naming what was awaited:
 * the one way in which tests wait for other processes.
 */
export async function waitUntil<T>(
  what: string,
  condition: () => T | Promise<T>,
  limitMs: number = LIMIT_MS_DEFAULT,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const value = await condition();
    if (value) return value as NonNullable<T>;
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
