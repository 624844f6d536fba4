import { LATENCY_BUCKETS_SECONDS } from '@punctual/runtime';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export interface WorkerMetrics {
  latenessSeconds: Histogram;
  startSeconds: Histogram;
  attemptSeconds: Histogram;
  outcomeSeconds: Histogram;
  outcomes: Counter<'outcome'>;
  timersEnded: Counter<'status'>;
  startChunkTimers: Histogram;
  outcomeBatchTimers: Histogram;
  hintsDropped: Counter;
  hintsEarly: Counter;
  timersPostponed: Counter;
  timersHeldByCircuit: Counter;
  timersHeld: Counter;
  laneWaits: Counter;
  signalsTimedOut: Counter;
  gates: Gauge;
  bulkSeconds: Histogram;
  bulkTargets: Counter<'outcome'>;
  scheduleSeconds: Histogram;
  occurrences: Counter;
  circuitsOpen: Gauge;
  circuitsOpened: Counter;
  secretsUnreadable: Counter;
  outcomesVoid: Counter;
  outcomeWriteFailures: Counter;
  outcomesAbandoned: Counter;
  tasksTakenOver: Counter;
  attemptsInFlight: Gauge;
  draining: Gauge;
}

const COUNT_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/** Every metric of the worker, in `registry`. */
export function createWorkerMetrics(registry: Registry): WorkerMetrics {
  const registers = [registry];
  const seconds = (name: string, help: string) =>
    new Histogram({ name, help, buckets: LATENCY_BUCKETS_SECONDS, registers });
  return {
    latenessSeconds: seconds(
      'timer_lateness_seconds',
      "Sending of an attempt minus its due time, by the database's clock.",
    ),
    startSeconds: seconds('worker_start_duration_seconds', 'Time of one conditional write that claims timers.'),
    attemptSeconds: seconds('worker_attempt_duration_seconds', 'Time of one attempt, from sending to the last byte.'),
    outcomeSeconds: seconds('worker_outcome_duration_seconds', 'Time of one write of outcomes.'),
    outcomes: new Counter({
      name: 'worker_attempts_total',
      help: 'Attempts by outcome: succeeded, retryable, permanent, timedOut, blocked, lost.',
      labelNames: ['outcome'],
      registers,
    }),
    timersEnded: new Counter({
      name: 'worker_timers_ended_total',
      help: 'Timers that ended, by status: succeeded, dead, cancelled with their run while an attempt was under way, or skipped by a condition that was asked again.',
      labelNames: ['status'],
      registers,
    }),
    startChunkTimers: new Histogram({
      name: 'worker_start_timers',
      help: 'Hints in one such write.',
      buckets: COUNT_BUCKETS,
      registers,
    }),
    outcomeBatchTimers: new Histogram({
      name: 'worker_outcome_timers',
      help: 'Outcomes in one write.',
      buckets: COUNT_BUCKETS,
      registers,
    }),
    signalsTimedOut: new Counter({
      name: 'worker_signals_timed_out_total',
      help: 'Tasks that ended because their signal did not come in time.',
      registers,
    }),
    hintsDropped: new Counter({
      name: 'worker_hints_dropped_total',
      help: 'Hints whose timer had been changed, cancelled, started or finished.',
      registers,
    }),
    hintsEarly: new Counter({
      name: 'worker_hints_early_total',
      help: 'Hints that the database called early when the worker tried to start them; it waited. An alarm that the clock is misjudged, or that a worker is older than the schedulers.',
      registers,
    }),
    laneWaits: new Counter({
      name: 'worker_lane_waits_total',
      help: 'Starts that found no place in a lane; their timers wait until it is their turn.',
      registers,
    }),
    timersPostponed: new Counter({
      name: 'worker_timers_postponed_total',
      help: 'Started timers given back unsent because their origin had no room.',
      registers,
    }),
    timersHeldByCircuit: new Counter({
      name: 'worker_timers_postponed_by_circuit_total',
      help: 'Started timers given back unsent because the circuit of their endpoint was open.',
      registers,
    }),
    timersHeld: new Counter({
      name: 'worker_timers_parked_total',
      help: 'Started timers given back unsent because their workflow, queue or origin is paused.',
      registers,
    }),
    gates: new Gauge({
      name: 'worker_gates',
      help: 'Workflows, queues and origins that this worker knows to be paused, or cancelled and not yet gone through.',
      registers,
    }),
    bulkSeconds: seconds('worker_bulk_portion_duration_seconds', 'Time of one portion of a bulk operation.'),
    bulkTargets: new Counter({
      name: 'worker_bulk_targets_total',
      help: 'Timers, dead letters and runs that bulk operations went through here, by outcome: done, failed.',
      labelNames: ['outcome'],
      registers,
    }),
    scheduleSeconds: seconds('worker_schedule_turn_duration_seconds', 'Time of one turn of a recurring schedule.'),
    occurrences: new Counter({
      name: 'worker_schedule_occurrences_total',
      help: 'Occurrences of recurring schedules for which a run or timer was begun here.',
      registers,
    }),
    circuitsOpen: new Gauge({
      name: 'worker_circuits_open',
      help: 'Endpoints that this worker takes to be dead, counted for each tenant that calls them.',
      registers,
    }),
    circuitsOpened: new Counter({
      name: 'worker_circuits_opened_total',
      help: 'Circuits that opened; those whose probe failed are not counted again.',
      registers,
    }),
    secretsUnreadable: new Counter({
      name: 'worker_secrets_unreadable_total',
      help: 'Started timers given back unsent because a secret of theirs could not be decrypted: this worker lacks a key.',
      registers,
    }),
    outcomesVoid: new Counter({
      name: 'worker_outcomes_void_total',
      help: 'Outcomes that came after their lease had ended and the attempt had been begun again.',
      registers,
    }),
    outcomeWriteFailures: new Counter({
      name: 'worker_outcome_write_failures_total',
      help: 'Writes of outcomes that failed and were tried again.',
      registers,
    }),
    outcomesAbandoned: new Counter({
      name: 'worker_outcomes_abandoned_total',
      help: 'Outcomes that Postgres refused every time; their attempts are begun again when the leases end.',
      registers,
    }),
    tasksTakenOver: new Counter({
      name: 'worker_tasks_taken_over_total',
      help: 'Tasks of runs that were started together with the outcome that unlocked them, without schedulers and queue.',
      registers,
    }),
    attemptsInFlight: new Gauge({
      name: 'worker_attempts_in_flight',
      help: 'Timers started here whose outcome is not yet written.',
      registers,
    }),
    draining: new Gauge({
      name: 'worker_draining',
      help: '1 while an operator has asked this worker to take no more, else 0.',
      registers,
    }),
  };
}
