import { TENANTS_SHOWN_MAX } from '@punctual/database';
import { LATENCY_BUCKETS_SECONDS } from '@punctual/runtime';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export interface SchedulerMetrics {
  partitionsOwned: Gauge;
  leaseChanges: Counter<'change'>;
  oldestOverdueSeconds: Gauge;
  timersRead: Counter;
  readSeconds: Histogram;
  timersHeld: Gauge;
  timersDueSoon: Gauge<'minute'>;
  timersDispatched: Counter;
  timersRedispatched: Counter;
  timersAheadOfBacklog: Counter;
  timersRaised: Counter;
  dispatchFailures: Counter;
  handoverTimers: Histogram;
  dispatchLatenessSeconds: Histogram;
  queueChunksWaiting: Gauge;
  readPauses: Counter;
  clockOffsetSeconds: Gauge;
  clockErrorSeconds: Gauge;
  clockSteps: Gauge;
  lanesLooked: Counter;
  pullsAnnounced: Counter;
  pullAnnouncements: Counter;
  runsReviewed: Counter;
  runsMended: Counter;
  runsUnmendable: Gauge;
  retentionRemoved: Counter<'kind'>;
  retentionWalkedAt: Gauge;
  oldestHistoryDay: Gauge;
  partitions: Gauge;
  leasesRenewedAt: Gauge;
  figuresReadAt: Gauge;
  databaseBytes: Gauge;
  databaseConnections: Gauge<'kind'>;
  oldestTransactionSeconds: Gauge;
  tableBytes: Gauge<'table'>;
  tableRows: Gauge<'table' | 'kind'>;
  tenantTimers: Gauge<'tenant' | 'status'>;
}

/** Every metric of the scheduler, in `registry`. */
export function createSchedulerMetrics(registry: Registry): SchedulerMetrics {
  const registers = [registry];
  return {
    partitionsOwned: new Gauge({
      name: 'scheduler_partitions_owned',
      help: 'Partitions that this scheduler reads.',
      registers,
    }),
    partitions: new Gauge({
      name: 'scheduler_partitions',
      help: 'Partitions of the installation; all schedulers together should own as many.',
      registers,
    }),
    leasesRenewedAt: new Gauge({
      name: 'scheduler_leases_renewed_timestamp_seconds',
      help: 'When this scheduler last renewed its leases: while it stands, the other gauges keep their last values.',
      registers,
    }),
    leaseChanges: new Counter({
      name: 'scheduler_partition_lease_changes_total',
      help: 'Partition leases gained, released and lost.',
      labelNames: ['change'],
      registers,
    }),
    oldestOverdueSeconds: new Gauge({
      name: 'scheduler_oldest_overdue_seconds',
      help: 'Age of the oldest timer in owned partitions that should have been started and was not.',
      registers,
    }),
    timersRead: new Counter({
      name: 'scheduler_timers_read_total',
      help: 'Rows read ahead, known ones included.',
      registers,
    }),
    readSeconds: new Histogram({
      name: 'scheduler_read_duration_seconds',
      help: 'Time of one read ahead.',
      buckets: LATENCY_BUCKETS_SECONDS,
      registers,
    }),
    timersHeld: new Gauge({
      name: 'scheduler_timers_held',
      help: 'Timers that wait in memory until shortly before they are due.',
      registers,
    }),
    timersDueSoon: new Gauge({
      name: 'scheduler_timers_due_soon',
      help: 'Timers of owned partitions that come due within each of the next minutes, 1 being the one that has begun. Where there are many, reckoned from some of the partitions.',
      labelNames: ['minute'],
      registers,
    }),
    timersDispatched: new Counter({
      name: 'scheduler_timers_dispatched_total',
      help: 'Hints handed to the queue.',
      registers,
    }),
    timersRedispatched: new Counter({
      name: 'scheduler_timers_swept_total',
      help: 'Overdue timers found by a sweep and handed to the queue (again).',
      registers,
    }),
    timersRaised: new Counter({
      name: 'scheduler_timers_raised_total',
      help: 'Timers handed over before all that waited because of their priority.',
      registers,
    }),
    timersAheadOfBacklog: new Counter({
      name: 'scheduler_timers_ahead_of_backlog_total',
      help: "Timers that were handed over before those that waited: in their tenant's turn, or on time behind a backlog.",
      registers,
    }),
    dispatchFailures: new Counter({
      name: 'scheduler_dispatch_failures_total',
      help: 'Hand-overs to the queue that failed; the timers are read again.',
      registers,
    }),
    handoverTimers: new Histogram({
      name: 'scheduler_handover_timers',
      help: 'Timers in one hand-over to the queue.',
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096],
      registers,
    }),
    dispatchLatenessSeconds: new Histogram({
      name: 'scheduler_dispatch_lateness_seconds',
      help: 'Hand-over to the queue minus due time; 0 when it came before.',
      buckets: LATENCY_BUCKETS_SECONDS,
      registers,
    }),
    queueChunksWaiting: new Gauge({
      name: 'scheduler_queue_chunks_waiting',
      help: 'Chunks that wait for a worker.',
      registers,
    }),
    readPauses: new Counter({
      name: 'scheduler_read_pauses_total',
      help: 'Turns without a read because the queue held enough.',
      registers,
    }),
    clockOffsetSeconds: new Gauge({
      name: 'scheduler_clock_offset_seconds',
      help: "The database's clock minus this host's. Harmless by itself; an alarm that one of them is wrong.",
      registers,
    }),
    clockErrorSeconds: new Gauge({
      name: 'scheduler_clock_error_seconds',
      help: 'Greatest error of that offset.',
      registers,
    }),
    clockSteps: new Gauge({
      name: 'scheduler_clock_steps',
      help: 'How often one of both clocks was seen to be set.',
      registers,
    }),
    lanesLooked: new Counter({
      name: 'scheduler_lanes_looked_total',
      help: 'Lanes in which timers wait, looked at because nobody else had for a second.',
      registers,
    }),
    pullsAnnounced: new Counter({
      name: 'scheduler_pulls_announced_total',
      help: 'Due timers that wait for pull workers, of which the apis were told.',
      registers,
    }),
    pullAnnouncements: new Counter({
      name: 'scheduler_pull_announcements_total',
      help: 'Task queues of which the apis were told that something is to be leased.',
      registers,
    }),
    runsReviewed: new Counter({
      name: 'scheduler_runs_reviewed_total',
      help: 'Running runs that this scheduler looked at, to see whether something of them is live.',
      registers,
    }),
    runsMended: new Counter({
      name: 'scheduler_runs_mended_total',
      help: 'Runs that were under way with nothing live, and that this scheduler mended. Each is worth a look.',
      registers,
    }),
    runsUnmendable: new Gauge({
      name: 'scheduler_runs_unmendable',
      help: 'Such runs that it could not mend at its last review.',
      registers,
    }),
    retentionRemoved: new Counter({
      name: 'scheduler_retention_removed_total',
      help: 'What was past its retention and removed row by row: runs, timers, dead_letters, bulk_operations, answers about what was erased; or with a day of the history: days.',
      labelNames: ['kind'],
      registers,
    }),
    retentionWalkedAt: new Gauge({
      name: 'scheduler_retention_walked_timestamp_seconds',
      help: 'When this scheduler last had looked at all that may be past its retention; 0 where another one does.',
      registers,
    }),
    oldestHistoryDay: new Gauge({
      name: 'scheduler_oldest_history_day_timestamp_seconds',
      help: 'Beginning of the oldest day of finished timers, attempts and the audit log that is kept, as last seen by this scheduler.',
      registers,
    }),
    ...createFigures(registry),
  };
}

// Of the one scheduler that asks for them; the others show none.
function createFigures(registry: Registry) {
  const registers = [registry];
  return {
    figuresReadAt: new Gauge({
      name: 'scheduler_figures_read_timestamp_seconds',
      help: 'When this scheduler last asked Postgres for the figures of the database; 0 where another one does.',
      registers,
    }),
    databaseBytes: new Gauge({
      name: 'scheduler_database_bytes',
      help: 'Size of the database on its disk; 0 where another scheduler asks.',
      registers,
    }),
    databaseConnections: new Gauge({
      name: 'scheduler_database_connections',
      help: 'Connections of clients to the server, by kind: open, and max, which it has.',
      labelNames: ['kind'],
      registers,
    }),
    oldestTransactionSeconds: new Gauge({
      name: 'scheduler_database_oldest_transaction_seconds',
      help: 'Age of the oldest open transaction: what was deleted since can not be cleared away.',
      registers,
    }),
    tableBytes: new Gauge({
      name: 'scheduler_table_bytes',
      help: 'Size of a table with its indexes.',
      labelNames: ['table'],
      registers,
    }),
    tableRows: new Gauge({
      name: 'scheduler_table_rows',
      help: 'Rows of a table as autovacuum counts them, by kind: live, and dead, which wait to be cleared away.',
      labelNames: ['table', 'kind'],
      registers,
    }),
    tenantTimers: new Gauge({
      name: 'scheduler_tenant_timers',
      help: `Timers of the ${TENANTS_SHOWN_MAX} tenants with the most live ones, by status: live; and since their beginning created, succeeded, dead, cancelled, skipped.`,
      labelNames: ['tenant', 'status'],
      registers,
    }),
  };
}
