/** What is wrong with where a service is told that the queue is, one sentence each. */
export function findPoolerFaults(config: { DATABASE_POOLER: string; REDIS_URL?: string | undefined }): string[] {
  return config.DATABASE_POOLER !== 'none' && config.REDIS_URL === undefined
    ? ['DATABASE_POOLER needs REDIS_URL: the queue on Postgres does not go through a pooler.']
    : [];
}
