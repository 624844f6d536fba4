import type { DashboardText } from './build-dashboard.ts';
import { average, perSecond, processes, quantiles, RATE } from './panels.ts';

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
