import type { ChaosCase } from '../chaos-case.ts';
import { findPgbouncerObstacle, startPgbouncer } from '../system/pgbouncer.ts';
import { startReplicatedPostgres } from '../system/postgres-replica.ts';
import { startCluster, startSentinels } from '../system/redis-topologies.ts';

const fault: ChaosCase['fault'] = async ({ surroundings, log }) => {
  const beganAt = performance.now();
  await surroundings!.strike();
  log(`  another server has taken over after ${Math.round(performance.now() - beganAt)} ms`);
};

/** The server in use dies, and another takes its place. */
export const failOvers: readonly ChaosCase[] = [
  {
    name: 'fail-over:redis-sentinel',
    summary: 'a Redis master dies, and three Sentinels make its replica the master',
    surroundings: startSentinels,
    allowsRepeats: false,
    fault,
  },
  {
    name: 'fail-over:redis-cluster',
    summary: 'in a Redis Cluster of three masters the one that holds the queue dies, and its replica takes over',
    surroundings: startCluster,
    allowsRepeats: false,
    fault,
  },
  {
    name: 'fail-over:redis-cluster-queues',
    summary: 'four queues on all three masters of a Redis Cluster, of which one dies, and its replica takes over',
    surroundings: (folder) => startCluster(folder, 'everywhere'),
    system: { env: { QUEUE_COUNT: '4' } },
    allowsRepeats: false,
    fault,
  },
  {
    name: 'fail-over:postgres',
    summary: 'the primary Postgres dies, and its synchronous replica is promoted',
    surroundings: startReplicatedPostgres,
    allowsRepeats: true,
    fault,
  },
  {
    name: 'fail-over:pgbouncer',
    summary: 'PgBouncer in transaction mode stands before Postgres; it is killed, and started again after 3 s',
    surroundings: startPgbouncer,
    findObstacle: findPgbouncerObstacle,
    system: { env: { DATABASE_POOLER: 'transaction' } },
    allowsRepeats: true,
    async fault({ surroundings, last }) {
      await surroundings!.strike();
      await last(3_000);
      await surroundings!.heal();
    },
  },
];
