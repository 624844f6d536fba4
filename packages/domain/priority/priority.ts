/** The highest priority; the lowest is 0, which is none. Those of one tenant go before each other, and before nobody else's. */
export const PRIORITY_MAX = 9;

/**
 * Of places in a queue for which several wait, one of so many goes by due time alone: so nobody waits for ever behind those with
 * a higher priority, nor behind another tenant's.
 */
export const PLACES_PER_PLAIN_ONE = 4;

/** In a lane each step of priority is worth so long a wait (ms): whoever has waited longer than that goes first all the same. */
export const LANE_HEAD_START_MS = 3_600_000;

/** What is stored of a priority: nothing of none, so that who has none costs nothing. */
export function toStoredPriority(priority: number | null | undefined): number | null {
  return priority || null;
}
