import { inTransaction, type Transaction, type TransactionPool } from '@punctual/database';

/** Runs `work` in the transaction given, or else in one of its own that begins in `pool`. */
export function withTransaction<T>(
  pool: TransactionPool,
  client: Transaction | undefined,
  work: (client: Transaction) => Promise<T>,
): Promise<T> {
  return client ? work(client) : inTransaction(pool, work);
}
