import type { DashboardText } from './build-dashboard.ts';
import { average, perSecond, processes, quantiles, RATE } from './panels.ts';

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
