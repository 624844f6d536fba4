import type { ChunkMessage } from '@punctual/contracts';
import { isId } from '@punctual/domain';

/** Timers that travel together in one queue job. More would make a job slow to start; fewer cost more jobs. */
export const TIMERS_PER_CHUNK_MAX = 64;

/** What a hint names: start this version of this timer, if it still stands. */
export interface Hint {
  id: string;
  version: number;
  /** When it is due by the database's clock (epoch ms); absent: it is. */
  wakeAt?: number;
}

export function encodeChunk(hints: readonly Hint[]): ChunkMessage {
  const message = { ids: hints.map((hint) => hint.id), versions: hints.map((hint) => hint.version) };
  if (hints.every((hint) => hint.wakeAt === undefined)) return message;
  return { ...message, wakeAts: hints.map((hint) => Math.ceil(hint.wakeAt ?? 0)) };
}

/** The highest version that a timer's row can have: beyond, the start of the whole chunk would fail. */
const VERSION_MAX = 2 ** 31 - 1;

/** Reads a chunk; a message that is none (another version's, or damaged) yields nothing: hints may be lost. */
export function decodeChunk(message: unknown): Hint[] {
  const { ids, versions, wakeAts } = (message ?? {}) as Partial<ChunkMessage>;
  if (!Array.isArray(ids) || !Array.isArray(versions) || ids.length !== versions.length) return [];
  const hints = ids.slice(0, TIMERS_PER_CHUNK_MAX).map((id, index): Hint => ({ id, version: versions[index]! }));
  if (Array.isArray(wakeAts)) for (const [index, hint] of hints.entries()) hint.wakeAt = wakeAts[index] ?? Number.NaN;
  return hints.every(isHint) ? hints : [];
}

function isHint({ id, version, wakeAt = 0 }: Hint): boolean {
  const isVersion = Number.isInteger(version) && version >= 1 && version <= VERSION_MAX;
  return typeof id === 'string' && isId(id) && isVersion && Number.isFinite(wakeAt);
}
