import type { DashboardText } from './build-dashboard.ts';
import { perSecond, processes, quantiles, stat } from './panels.ts';

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
