/** A request that was started before an acknowledgement may be this much later at its receiver (ms). */
export const ON_ITS_WAY_MS = 500;
/** The database keeps milliseconds; so may a wait that was given in them be cut by one. */
export const ROUNDING_MS = 1;
