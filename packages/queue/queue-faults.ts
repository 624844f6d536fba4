/** What is wrong with where a service is told that the queue is, one sentence each. */
export function findQueueFaults(config: {
  DATABASE_POOLER: string;
  REDIS_URL?: string | undefined;
  QUEUE_COUNT: number;
}): string[] {
  if (config.REDIS_URL !== undefined) return [];
  const faults: string[] = [];
  if (config.DATABASE_POOLER !== 'none') {
    faults.push('DATABASE_POOLER needs REDIS_URL: the queue on Postgres does not go through a pooler.');
  }
  if (config.QUEUE_COUNT > 1) {
    faults.push('QUEUE_COUNT above 1 needs REDIS_URL: several queues are for several nodes of a Redis Cluster.');
  }
  return faults;
}

/** What a log says when a client of the queue has lost it. */
export function describeOutage({ QUEUE_COUNT: count }: { QUEUE_COUNT: number }): string {
  return count > 1
    ? 'a queue is away; the others take its share'
    : 'the queue is away; deliveries wait until it is back';
}
