import pg from 'pg';

// SQLSTATE classes, and single states, that tell of the server and not of the statement: connection faults, lack of
// resources, operator intervention (shutdown, restart, cancelled statement), lock not available, read-only standby, a
// transaction that was idle for too long.
const UNAVAILABLE = /^(08|53|57|55P03|25006|25P03)/;
// The statement may be tried again as it is: serialization failure and deadlock.
const CONFLICT = /^40/;

/** All connections of a pool were taken for too long, by statements that Postgres went on answering. */
export class PoolExhaustedError extends Error {
  readonly code = 'pool_exhausted';
  readonly isRetryable = true;

  constructor(cause: Error) {
    super('no connection to the database became free in time', { cause });
    this.name = 'PoolExhaustedError';
  }
}

/** Whether a caller waited in vain for one of a pool's connections to become free. The pool gives this fault no code. */
export function isPoolTimeout(error: Error): boolean {
  return error.message === 'timeout exceeded when trying to connect';
}

/**
 * Whether Postgres, rather than the statement, is at fault: away, restarting, overloaded, or slower than our time
 * limits, or our own connections to it were all taken. Such a call may be repeated when it is back; nobody knows whether
 * it took effect.
 */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return UNAVAILABLE.test(error.code ?? '') || CONFLICT.test(error.code ?? '');
  if (!(error instanceof Error)) return false;
  if (error instanceof PoolExhaustedError || isPoolTimeout(error)) return true;
  const { code } = error as { code?: string };
  if (code !== undefined) return /^E[A-Z]+$/.test(code);
  // pg gives these faults no code, nor does Kysely, to whom the last is a connection that broke within a transaction.
  return /connection terminated|query read timeout|client has encountered a connection error|cannot use a pool after|connection has been discarded/i.test(
    error.message,
  );
}

// SQLSTATE of a statement that its time limit ended.
const QUERY_CANCELED = '57014';

/** Whether a statement was given up because it took too long, perhaps waiting for a lock that others do not need. */
export function isStatementTimeout(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return error.code === QUERY_CANCELED;
  return error instanceof Error && /query read timeout/i.test(error.message);
}
