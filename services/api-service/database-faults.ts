import { isDatabaseUnavailable, PoolExhaustedError } from '@punctual/database';

/** What a failed query means for the client. */
export type DatabaseFault = 'unavailable' | 'exhausted' | 'data' | 'other';

// Data exceptions and violated constraints (appendix A of the manual of Postgres).
const DATA_STATES = /^(?:22|23)...$/;

/**
 * Sorts errors of pg: Postgres is out of reach or too busy, our connections to it were all taken, it refused the data, or
 * something else went wrong.
 */
export function classifyDatabaseError(error: unknown): DatabaseFault {
  // A host with several addresses fails with one error for each.
  if (error instanceof AggregateError && error.errors.length > 0) return classifyDatabaseError(error.errors[0]);
  if (error instanceof PoolExhaustedError) return 'exhausted';
  if (isDatabaseUnavailable(error)) return 'unavailable';
  const { code } = (error ?? {}) as { code?: unknown };
  // Names that can not be resolved have codes of their own kind.
  if (code === 'EAI_AGAIN') return 'unavailable';
  return typeof code === 'string' && DATA_STATES.test(code) ? 'data' : 'other';
}
