import { type Database, inTransaction, type Transaction } from '@punctual/database';

/** Runs `work` in the transaction given, or else in one of its own on the pool for ordinary queries. */
export function withTransaction<T>(
  context: { readonly database: Pick<Database, 'ordinary'> },
  client: Transaction | undefined,
  work: (client: Transaction) => Promise<T>,
): Promise<T> {
  return client ? work(client) : inTransaction(context.database.ordinary, work);
}
