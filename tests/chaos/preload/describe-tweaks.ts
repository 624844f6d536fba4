import { fileURLToPath } from 'node:url';
import type { Tweaks } from './tweaks.ts';

const PROGRAM = fileURLToPath(new URL('./edit-sources.ts', import.meta.url));

/** The environment that gives a service its tweaks. */
export function describeTweaks(tweaks: Tweaks | undefined): NodeJS.ProcessEnv {
  if (tweaks === undefined) return {};
  const { heapMegabytes } = tweaks;
  const limit = heapMegabytes === undefined ? [] : [`--max-old-space-size=${heapMegabytes}`];
  return { NODE_OPTIONS: [`--import=${PROGRAM}`, ...limit].join(' '), CHAOS_TWEAKS: JSON.stringify(tweaks) };
}
