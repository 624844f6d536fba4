import { LATENCY_BUCKETS_SECONDS } from '@punctual/runtime';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Sizes of create batches: powers of two up to the largest insert, roughly. */
const BATCH_SIZE_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000];

/** Every metric of the api, with its labels. */
export interface ApiMetrics {
  /** `route` is the pattern, never the path; `status` is the class, `2xx`. */
  requestSeconds: Histogram<'method' | 'route' | 'status'>;
  createBatchTimers: Histogram;
  createRefused: Counter;
  /** `limit`: `rate` or `live_timers`. */
  requestsLimited: Counter<'limit'>;
  gatesHeededSeconds: Histogram;
  /** `outcome`: `delivered`, `kept` or `too_late`. */
  signals: Counter<'outcome'>;
  signalsTimedOut: Counter;
  tasksLeased: Counter;
  /** `status`: as the task is shown then. */
  tasksEnded: Counter<'status'>;
  taskLatenessSeconds: Histogram;
  endBatchTasks: Histogram;
}

/** What the metrics read when they are scraped. */
export interface MeasuredParts {
  countWaitingQueries(pool: 'hot' | 'ordinary'): number;
  countWaitingTimers(): number;
  countBodyBytes(): number;
  countLeaseWaits(): number;
}

/** Registers the api's metrics. Twice on one registry throws. */
export function createApiMetrics(registry: Registry, parts: MeasuredParts): ApiMetrics {
  const registers = [registry];
  new Gauge({
    name: 'api_database_pool_waiting',
    help: 'Queries that wait for a connection.',
    labelNames: ['pool'],
    registers,
    collect() {
      for (const pool of ['hot', 'ordinary'] as const) this.set({ pool }, parts.countWaitingQueries(pool));
    },
  });
  new Gauge({
    name: 'api_create_queue_timers',
    help: 'New timers that wait to be stored.',
    registers,
    collect() {
      this.set(parts.countWaitingTimers());
    },
  });
  new Gauge({
    name: 'api_bodies_bytes',
    help: 'Announced sizes of the bodies of all requests under way; API_BODIES_BYTES_MAX is the most.',
    registers,
    collect() {
      this.set(parts.countBodyBytes());
    },
  });
  new Gauge({
    name: 'api_lease_waits',
    help: 'Requests that wait for tasks of pull queues; API_LEASE_WAITS_MAX is the most.',
    registers,
    collect() {
      this.set(parts.countLeaseWaits());
    },
  });
  return {
    requestSeconds: new Histogram({
      name: 'api_request_duration_seconds',
      help: 'From the head of a request to the end of its answer.',
      labelNames: ['method', 'route', 'status'],
      buckets: LATENCY_BUCKETS_SECONDS,
      registers,
    }),
    createBatchTimers: new Histogram({
      name: 'api_create_batch_timers',
      help: 'Single requests for new timers that shared one transaction.',
      buckets: BATCH_SIZE_BUCKETS,
      registers,
    }),
    createRefused: new Counter({
      name: 'api_create_refused_total',
      help: 'New timers refused because too many waited.',
      registers,
    }),
    gatesHeededSeconds: new Histogram({
      name: 'api_gate_heeded_seconds',
      help: 'From the commit of a pause, or of a cancel of a whole workflow, until every worker heeds it.',
      buckets: LATENCY_BUCKETS_SECONDS,
      registers,
    }),
    signals: new Counter({
      name: 'api_signals_total',
      help: 'Signals sent to runs, by what became of them: delivered, kept or too_late.',
      labelNames: ['outcome'],
      registers,
    }),
    signalsTimedOut: new Counter({
      name: 'api_signals_timed_out_total',
      help: 'Tasks for pull workers that ended because their signal did not come in time.',
      registers,
    }),
    requestsLimited: new Counter({
      name: 'api_requests_limited_total',
      help: 'Requests refused because their tenant was beyond a limit: rate or live_timers.',
      labelNames: ['limit'],
      registers,
    }),
    tasksLeased: new Counter({
      name: 'api_tasks_leased_total',
      help: 'Tasks leased to pull workers, lost ones that are offered again included.',
      registers,
    }),
    tasksEnded: new Counter({
      name: 'api_tasks_ended_total',
      help: 'Attempts that pull workers ended, by the status of the task then; scheduled: it waits for a retry.',
      labelNames: ['status'],
      registers,
    }),
    taskLatenessSeconds: new Histogram({
      name: 'api_task_lateness_seconds',
      help: 'Lease minus the instant at which the task could be leased: how long it waited for a pull worker.',
      buckets: LATENCY_BUCKETS_SECONDS,
      registers,
    }),
    endBatchTasks: new Histogram({
      name: 'api_task_end_batch_tasks',
      help: 'Ends of single tasks that shared one write.',
      buckets: BATCH_SIZE_BUCKETS,
      registers,
    }),
  };
}
