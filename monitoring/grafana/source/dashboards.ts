// What the dashboards ask for, and what the answers tell. `npm run docs` makes ../dashboards from it.
import type { DashboardText, PanelText, Query } from './build-dashboard.ts';

const RATE = '[$__rate_interval]';

/** Quantiles of a histogram of seconds. `by`: a label that splits it. */
function quantiles(title: string, metric: string, tells: string, by?: string): PanelText {
  const labels = by ? `le, ${by}` : 'le';
  const ask = (quantile: number): Query => [
    `histogram_quantile(${quantile}, sum by (${labels}) (rate(${metric}_bucket${RATE})))`,
    `p${quantile * 100}${by ? ` {{${by}}}` : ''}`,
  ];
  return { title, tells, unit: 's', queries: by ? [ask(0.95)] : [ask(0.5), ask(0.95), ask(0.99)] };
}

/** How much of a counter a second, in all or split by a label. */
function perSecond(title: string, metric: string, tells: string, by?: string): PanelText {
  const sum = by ? `sum by (${by})` : 'sum';
  return { title, tells, unit: 'ops', queries: [[`${sum} (rate(${metric}${RATE}))`, by ? `{{${by}}}` : title]] };
}

function average(title: string, metric: string, tells: string): PanelText {
  const queries: Query[] = [[`sum(rate(${metric}_sum${RATE})) / sum(rate(${metric}_count${RATE}))`, 'average']];
  return { title, tells, queries };
}

function eachProcess(title: string, expr: string, tells: string, unit?: PanelText['unit']): PanelText {
  return { title, tells, ...(unit && { unit }), queries: [[expr, '{{service}} {{instance}}']] };
}

const stat = (title: string, expr: string, tells: string, unit?: PanelText['unit']): PanelText => ({
  title,
  tells,
  ...(unit && { unit }),
  queries: [[expr, '']],
  isStat: true,
});

const processes = (service: string): { title: string; panels: PanelText[] } => {
  const of = `{service=~"${service}|standalone"}`;
  return {
    title: 'Processes',
    panels: [
      eachProcess(
        'CPU',
        `rate(process_cpu_seconds_total${of}${RATE})`,
        'Cores in use. A process has one for its JavaScript.',
        'percentunit',
      ),
      eachProcess('Memory', `process_resident_memory_bytes${of}`, 'Growth without end is a defect.', 'bytes'),
      eachProcess(
        'Event loop',
        `nodejs_eventloop_lag_p99_seconds${of}`,
        'How long other work keeps it. Above 0.05 s timers are late by as much.',
        's',
      ),
    ],
  };
};

export const OVERVIEW: DashboardText = {
  uid: 'punctual-overview',
  title: 'Punctual: overview',
  tells: 'Whether timers are punctual, and where to look when they are not.',
  rows: [
    {
      title: 'Now',
      panels: [
        stat(
          'Lateness p95',
          'punctual:timer_lateness_seconds:p95_5m',
          'Of attempts, within 5 minutes. Below 0.05 s when all is well.',
          's',
        ),
        stat(
          'Oldest overdue',
          'punctual:overdue_seconds:max',
          'Age of the oldest timer that nobody has started. Above 60 s somebody is called.',
          's',
        ),
        stat('Attempts', 'sum(punctual:attempts:rate_5m)', 'A second.', 'ops'),
        stat(
          'Due soon',
          'sum(scheduler_timers_due_soon)',
          'Timers that come due within the next five minutes, as far as schedulers have counted them.',
        ),
        stat('Dead letters', 'max(scheduler_table_rows{table="dead_letters", kind="live"})', 'They wait for a person.'),
        stat(
          'Partitions without owner',
          'punctual:partitions_unowned:count',
          'Above 0 for longer than 5 s: a scheduler is missing.',
        ),
        stat('Errors of the api', 'punctual:api_errors:ratio_5m', 'Share of requests answered 5xx.', 'percentunit'),
        stat('Endpoints away', 'sum(worker_circuits_open)', 'Endpoints whose timers wait until they answer.'),
      ],
    },
    {
      title: 'Punctuality',
      panels: [
        quantiles('Lateness', 'timer_lateness_seconds', 'Sending of an attempt minus the instant at which it was due.'),
        {
          title: 'Late attempts',
          tells: 'Share of attempts sent more than a second late. The objective is 0.005 over a month.',
          unit: 'percentunit',
          queries: [
            ['punctual:late_attempts:ratio_5m', '5 minutes'],
            ['punctual:late_attempts:ratio_1h', 'an hour'],
            ['punctual:late_attempts:ratio_6h', '6 hours'],
            ['punctual:late_attempts:ratio_3d', '3 days'],
          ],
        },
        {
          title: 'Oldest overdue',
          tells: 'By scheduler.',
          unit: 's',
          queries: [['scheduler_oldest_overdue_seconds', '{{instance}}']],
        },
      ],
    },
    {
      title: 'Flow',
      panels: [
        perSecond('Requests', 'api_request_duration_seconds_count', 'By the class of their status.', 'status'),
        perSecond('Attempts', 'worker_attempts_total', 'By outcome.', 'outcome'),
        perSecond('Timers that ended', 'worker_timers_ended_total', 'By status.', 'status'),
      ],
    },
    {
      title: 'Api',
      panels: [
        quantiles(
          'Answers',
          'api_request_duration_seconds',
          'p95 by route. A lease of tasks waits on purpose.',
          'route',
        ),
        {
          title: 'Waiting for a connection',
          tells: 'Queries without a connection to Postgres.',
          queries: [['sum by (pool) (api_database_pool_waiting)', '{{pool}}']],
        },
        perSecond('Refused for a limit', 'api_requests_limited_total', 'Requests of tenants beyond a limit.', 'limit'),
        quantiles('Pauses', 'api_gate_heeded_seconds', 'Until every worker heeds a pause. 2 s: one does not answer.'),
        quantiles(
          'Tasks of pull workers',
          'api_task_lateness_seconds',
          'How long tasks waited until they were leased.',
        ),
        perSecond('Signals', 'api_signals_total', 'By what became of them.', 'outcome'),
      ],
    },
    processes('api'),
  ],
};

export const SCHEDULER: DashboardText = {
  uid: 'punctual-scheduler',
  title: 'Punctual: schedulers',
  tells: 'Who reads which partitions, how reading and handing over go, and what keeps the tables small.',
  rows: [
    {
      title: 'Partitions',
      panels: [
        {
          title: 'Owned',
          tells: 'By scheduler: a fair share each, all together as many as there are.',
          queries: [
            ['scheduler_partitions_owned', '{{instance}}'],
            ['max(scheduler_partitions)', 'all'],
          ],
        },
        perSecond(
          'Changes of leases',
          'scheduler_partition_lease_changes_total',
          'Often, without a restart: schedulers lose their leases.',
          'change',
        ),
        {
          title: 'Since the last renewal',
          tells: 'Above 3 s a scheduler has lost its partitions.',
          unit: 's',
          queries: [['time() - scheduler_leases_renewed_timestamp_seconds', '{{instance}}']],
        },
      ],
    },
    {
      title: 'Reading and dispatch',
      panels: [
        perSecond('Dispatched', 'scheduler_timers_dispatched_total', 'Hints handed to the queue.'),
        perSecond(
          'Swept',
          'scheduler_timers_swept_total',
          'Hints that got lost and were found again. A burst after Redis lost its data.',
        ),
        perSecond(
          'Ahead of a backlog',
          'scheduler_timers_ahead_of_backlog_total',
          "In their tenant's turn, or on time behind a backlog.",
        ),
        quantiles(
          'Lateness of dispatch',
          'scheduler_dispatch_lateness_seconds',
          'Hand-over minus due time; 0 when it came before.',
        ),
        quantiles(
          'Reads',
          'scheduler_read_duration_seconds',
          'Longer than 0.03 s, and reads follow each other without a pause.',
        ),
        {
          title: 'Held',
          tells: 'Timers in memory until shortly before they are due.',
          queries: [['scheduler_timers_held', '{{instance}}']],
        },
        {
          title: 'Due soon',
          tells: 'Timers that come due within each of the next minutes: the herd before it comes.',
          queries: [['sum by (minute) (scheduler_timers_due_soon)', 'minute {{minute}}']],
        },
        average('Timers a hand-over', 'scheduler_handover_timers', 'More is cheaper.'),
        {
          title: 'Queue',
          tells: 'Chunks that wait for a worker. Near 256: more is due than the workers get done.',
          queries: [['max(scheduler_queue_chunks_waiting)', 'chunks']],
        },
        {
          title: 'Held up',
          tells: 'Reads left out because the queue is full, and hand-overs that failed.',
          unit: 'ops',
          queries: [
            [`sum(rate(scheduler_read_pauses_total${RATE}))`, 'reads left out'],
            [`sum(rate(scheduler_dispatch_failures_total${RATE}))`, 'failures'],
          ],
        },
      ],
    },
    {
      title: 'Clock',
      panels: [
        {
          title: 'Offset',
          tells: "The database's clock minus the host's.",
          unit: 's',
          queries: [['scheduler_clock_offset_seconds', '{{instance}}']],
        },
        {
          title: 'Error',
          tells: 'Half a round trip to Postgres, and a little drift.',
          unit: 's',
          queries: [['scheduler_clock_error_seconds', '{{instance}}']],
        },
        {
          title: 'Steps',
          tells: 'How often a clock was seen to be set.',
          queries: [['scheduler_clock_steps', '{{instance}}']],
        },
      ],
    },
    {
      title: 'Keeping',
      panels: [
        {
          title: 'Runs',
          tells: 'Reviewed, and those that were stuck. The latter is 0.',
          unit: 'ops',
          queries: [
            [`sum(rate(scheduler_runs_reviewed_total${RATE}))`, 'reviewed'],
            [`sum(rate(scheduler_runs_mended_total${RATE}))`, 'mended'],
            ['max(scheduler_runs_unmendable)', 'unmendable'],
          ],
        },
        perSecond('Removed', 'scheduler_retention_removed_total', 'Past its retention.', 'kind'),
        {
          title: 'Looked at',
          tells: 'Lanes that wait, and pull queues of which apis were told.',
          unit: 'ops',
          queries: [
            [`sum(rate(scheduler_lanes_looked_total${RATE}))`, 'lanes'],
            [`sum(rate(scheduler_pull_announcements_total${RATE}))`, 'pull queues'],
            [`sum(rate(scheduler_pulls_announced_total${RATE}))`, 'pull timers'],
          ],
        },
      ],
    },
    processes('scheduler'),
  ],
};

export const WORKER: DashboardText = {
  uid: 'punctual-worker',
  title: 'Punctual: workers',
  tells: 'Starts, attempts and outcomes, and what holds timers back.',
  rows: [
    {
      title: 'Attempts',
      panels: [
        perSecond(
          'By outcome',
          'worker_attempts_total',
          'blocked: the egress policy denies the address. lost: given up after many losses.',
          'outcome',
        ),
        quantiles('Duration', 'worker_attempt_duration_seconds', 'From sending to the last byte: the endpoints.'),
        {
          title: 'Under way',
          tells: 'Two thirds of WORKER_ATTEMPTS_MAX are what the queue may bring.',
          queries: [['worker_attempts_in_flight', '{{instance}}']],
        },
      ],
    },
    {
      title: 'Starts and outcomes',
      panels: [
        quantiles('Start', 'worker_start_duration_seconds', 'One conditional write that claims timers: Postgres.'),
        quantiles('Outcome', 'worker_outcome_duration_seconds', 'One write of outcomes: Postgres and its disk.'),
        average('Timers a start', 'worker_start_timers', 'More is cheaper.'),
        average('Outcomes a write', 'worker_outcome_timers', 'More is cheaper.'),
        {
          title: 'Hints',
          tells: 'Dropped: changed or started since. Early: the clock is misjudged.',
          unit: 'ops',
          queries: [
            [`sum(rate(worker_hints_dropped_total${RATE}))`, 'dropped'],
            [`sum(rate(worker_hints_early_total${RATE}))`, 'early'],
          ],
        },
        {
          title: 'Outcomes that are in trouble',
          tells: 'All of them are 0 when all is well.',
          unit: 'ops',
          queries: [
            [`sum(rate(worker_outcome_write_failures_total${RATE}))`, 'writes that failed'],
            [`sum(rate(worker_outcomes_void_total${RATE}))`, 'void'],
            [`sum(rate(worker_outcomes_abandoned_total${RATE}))`, 'abandoned'],
          ],
        },
        perSecond(
          'Taken over',
          'worker_tasks_taken_over_total',
          'Tasks of runs that began with the outcome that unlocked them.',
        ),
        perSecond('Signals that did not come', 'worker_signals_timed_out_total', 'Tasks that ended by their time-out.'),
      ],
    },
    {
      title: 'Held back',
      panels: [
        {
          title: 'Given back unsent',
          tells: 'Their origin had no room, its circuit was open, or they are paused.',
          unit: 'ops',
          queries: [
            [`sum(rate(worker_timers_postponed_total${RATE}))`, 'no room'],
            [`sum(rate(worker_timers_postponed_by_circuit_total${RATE}))`, 'circuit'],
            [`sum(rate(worker_timers_parked_total${RATE}))`, 'paused'],
            [`sum(rate(worker_lane_waits_total${RATE}))`, 'lane'],
            [`sum(rate(worker_secrets_unreadable_total${RATE}))`, 'secret'],
          ],
        },
        {
          title: 'Circuits',
          tells: 'Endpoints that this worker takes to be dead.',
          queries: [
            ['worker_circuits_open', '{{instance}}'],
            [`sum(rate(worker_circuits_opened_total${RATE}))`, 'opened a second'],
          ],
        },
        {
          title: 'Gates',
          tells: 'Workflows, queues and origins that are paused.',
          queries: [['worker_gates', '{{instance}}']],
        },
      ],
    },
    {
      title: 'Work of the system',
      panels: [
        quantiles('Turns of schedules', 'worker_schedule_turn_duration_seconds', 'One turn of a recurring schedule.'),
        perSecond('Occurrences', 'worker_schedule_occurrences_total', 'Runs and timers that schedules began.'),
        perSecond('Bulk operations', 'worker_bulk_targets_total', 'What they went through, by outcome.', 'outcome'),
      ],
    },
    processes('worker'),
  ],
};

export const DATABASE: DashboardText = {
  uid: 'punctual-database',
  title: 'Punctual: database',
  tells:
    'Sizes, dead rows, connections, and how long the hot statements take. One scheduler asks for the figures once a minute.',
  rows: [
    {
      title: 'Server',
      panels: [
        {
          title: 'Connections',
          tells: 'Of all clients, and how many there may be.',
          queries: [['max by (kind) (scheduler_database_connections)', '{{kind}}']],
        },
        {
          title: 'Oldest transaction',
          tells: 'While it is open, nothing that was deleted since is cleared away.',
          unit: 's',
          queries: [['max(scheduler_database_oldest_transaction_seconds)', 'age']],
        },
        {
          title: 'Age of these figures',
          tells: 'Above a few minutes: nobody asks.',
          unit: 's',
          queries: [['time() - max(scheduler_figures_read_timestamp_seconds)', 'age']],
        },
      ],
    },
    {
      title: 'Tables',
      panels: [
        {
          title: 'Size of the database',
          tells: 'With its history.',
          unit: 'bytes',
          queries: [['max(scheduler_database_bytes)', 'database']],
        },
        {
          title: 'Size of tables',
          tells: 'With their indexes; days of the history are not among them.',
          unit: 'bytes',
          queries: [['max by (table) (scheduler_table_bytes)', '{{table}}']],
        },
        {
          title: 'Live rows',
          tells: 'As autovacuum counts them.',
          queries: [['max by (table) (scheduler_table_rows{kind="live"})', '{{table}}']],
        },
        {
          title: 'Dead rows',
          tells: 'Up to as many as live ones is the normal pace of autovacuum.',
          queries: [['max by (table) (scheduler_table_rows{kind="dead"})', '{{table}}']],
        },
        {
          title: 'Oldest day of the history',
          tells: 'Age. Beyond RETENTION_DAYS and a day nothing drops it.',
          unit: 's',
          queries: [['time() - max(scheduler_oldest_history_day_timestamp_seconds)', 'age']],
        },
        {
          title: 'Since the last walk of retention',
          tells: 'Above ten minutes it is busy, above an hour it stands.',
          unit: 's',
          queries: [['time() - max(scheduler_retention_walked_timestamp_seconds)', 'age']],
        },
      ],
    },
    {
      title: 'Statements',
      panels: [
        quantiles('Start', 'worker_start_duration_seconds', 'The claim.'),
        quantiles('Outcome', 'worker_outcome_duration_seconds', 'Ends, retries, next tasks.'),
        quantiles('Read ahead', 'scheduler_read_duration_seconds', 'Finds what is due.'),
        average('Timers a create', 'api_create_batch_timers', 'Single requests that shared one insert.'),
        average('Ends a write', 'api_task_end_batch_tasks', 'Ends of tasks of pull workers.'),
        {
          title: 'Creates that wait',
          tells: 'Until they are stored, and those that were refused.',
          queries: [
            ['sum(api_create_queue_timers)', 'waiting'],
            [`sum(rate(api_create_refused_total${RATE}))`, 'refused a second'],
          ],
        },
      ],
    },
    {
      title: 'Disks (node exporter)',
      panels: [
        {
          title: 'Free',
          tells: 'Share of each disk.',
          unit: 'percentunit',
          queries: [
            [
              'node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|overlay|squashfs"} / node_filesystem_size_bytes',
              '{{instance}} {{mountpoint}}',
            ],
          ],
        },
      ],
    },
  ],
};

const TENANT = '{tenant=~"$tenant"';
const ofTenant = (status: string) => `max by (tenant) (scheduler_tenant_timers${TENANT}, status="${status}"})`;
// They are gauges, since the totals of a tenant are read and not counted here; what they tell only ever grows.
const tenantRate = (title: string, status: string, tells: string): PanelText => ({
  title,
  tells,
  unit: 'ops',
  queries: [[`max by (tenant) (rate(scheduler_tenant_timers${TENANT}, status="${status}"}[10m]))`, '{{tenant}}']],
});

export const TENANTS: DashboardText = {
  uid: 'punctual-tenant',
  title: 'Punctual: tenants',
  tells:
    'The twenty tenants with the most live timers, once a minute. More of one tenant: GET /v1/ledger with its key.',
  variable: { name: 'tenant', metric: 'scheduler_tenant_timers', label: 'tenant' },
  rows: [
    {
      title: 'Timers',
      panels: [
        { title: 'Live', tells: 'Timers that have not ended.', queries: [[ofTenant('live'), '{{tenant}}']] },
        tenantRate('Created', 'created', 'A second.'),
        tenantRate('Succeeded', 'succeeded', 'A second.'),
        tenantRate('Dead', 'dead', 'A second: they became dead letters.'),
        tenantRate('Cancelled', 'cancelled', 'A second.'),
        tenantRate('Skipped', 'skipped', 'A second.'),
      ],
    },
    {
      title: 'Limits',
      panels: [
        perSecond(
          'Refused for a limit',
          'api_requests_limited_total',
          'Requests of all tenants that were beyond one.',
          'limit',
        ),
        perSecond(
          'Ahead of a backlog',
          'scheduler_timers_ahead_of_backlog_total',
          "Timers that were handed over in their tenant's turn.",
        ),
        {
          title: 'Task queues',
          tells: 'Requests of pull workers that wait for something to do.',
          queries: [['sum(api_lease_waits)', 'waiting']],
        },
      ],
    },
  ],
};

/** By the name of the file. */
export const DASHBOARDS: Readonly<Record<string, DashboardText>> = {
  overview: OVERVIEW,
  scheduler: SCHEDULER,
  worker: WORKER,
  database: DATABASE,
  tenant: TENANTS,
};
