import type { DashboardText } from './build-dashboard.ts';
import { average, quantiles, RATE } from './panels.ts';

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
