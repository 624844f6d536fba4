import { planRun } from '@punctual/domain';
import type { Transaction } from '../connect.ts';
import { choosePullQueue } from '../pull-queue.ts';
import { nameStatement, toPlainArray } from '../statement.ts';
import type { WorkflowVersion } from '../workflow-versions.ts';

/** Signals of one run, delivered or not: far more than a workflow has tasks that could wait for them. */
export const SIGNALS_PER_RUN_MAX = 1_000;
/** Their payloads together, as JSON text (bytes of UTF-8): as much as a run may keep of outputs. */
export const SIGNAL_BYTES_PER_RUN_MAX = 1_048_576;
/** Timers that one statement is about: a run with elements may have thousands that wait, and a statement has its time-out. */
const TIMERS_PER_DELIVERY_MAX = 1_000;

/** A signal that a run is sent. */
export interface NewSignal {
  runId: string;
  tenantId: string;
  name: string;
  /** JSON text. */
  payload: string;
}

const insertSignal = nameStatement<{ number: number }>(
  'store_run_signal',
  `INSERT INTO run_signals (run_id, number, tenant_id, name, payload)
   SELECT $1, kept.last + 1, $2, $3, $4::json
   FROM (
     SELECT count(*) AS count, coalesce(max(number), 0) AS last, coalesce(sum(octet_length(payload::text)), 0) AS bytes
     FROM run_signals WHERE run_id = $1
   ) AS kept
   WHERE kept.count < ${SIGNALS_PER_RUN_MAX} AND kept.bytes + octet_length($4::text) <= ${SIGNAL_BYTES_PER_RUN_MAX}
   RETURNING number`,
);

/** Keeps a signal of a run whose lock the caller holds; false when the run has no room for it. */
export async function storeSignal(client: Transaction, signal: NewSignal): Promise<boolean> {
  const rows = await insertSignal(client, [signal.runId, signal.tenantId, signal.name, signal.payload]);
  return rows.length === 1;
}

/** A name for which timers of a run may wait. */
export interface SignalWish {
  runId: string;
  name: string;
  /** That which the run follows. */
  version: WorkflowVersion;
}

/** A timer that got its signal. */
export interface SignalledTimer {
  id: string;
  runId: string;
}

interface Delivery extends SignalledTimer {
  number: number;
  taskKey: string;
  /** It was given an action of its own, with this queue. */
  hasAction: boolean;
  queue: string | null;
}

// THE decision between a signal and its time-out. Locks the timers in the order of their ids; the caller holds the locks of
// their runs already. One whose time-out was started first runs by now, and does not match; one that is locked here is another
// version for a start that comes after it.
const lockWaiting = nameStatement<Delivery>(
  'lock_timers_for_signals',
  `SELECT t.id, s.run_id AS "runId", s.number, t.task_key AS "taskKey", t.action IS NOT NULL AS "hasAction",
     CASE WHEN t.action ->> 'type' = 'pull' THEN t.action ->> 'queue' END AS queue
   FROM (
     SELECT DISTINCT ON (s.run_id, s.name) s.run_id, s.name, s.number
     FROM unnest($1::uuid[], $2::text[]) AS w(run_id, name)
     JOIN run_signals AS s ON s.run_id = w.run_id AND s.name = w.name AND s.delivered_at IS NULL
     ORDER BY s.run_id, s.name, s.number
   ) AS s
   JOIN timers AS t ON t.run_id = s.run_id AND t.waits_for = s.name
   WHERE t.state IN ('scheduled', 'paused') AND t.attempt = 0
   ORDER BY t.id FOR UPDATE OF t`,
);
// The rows are locked. A paused one stays paused.
const signalTimers = nameStatement(
  'signal_timers',
  `UPDATE timers AS t SET waits_for = NULL, signal = d.number, version = t.version + 1, due_at = least(t.due_at, clock_timestamp()), pull_queue = d.queue,
     wake_at = CASE t.state WHEN 'scheduled' THEN clock_timestamp() ELSE t.wake_at END
   FROM unnest($1::uuid[], $2::int[], $3::text[]) AS d(id, number, queue) WHERE t.id = d.id`,
);
const markDelivered = nameStatement(
  'mark_signals_delivered',
  `UPDATE run_signals AS s SET delivered_at = clock_timestamp()
   FROM unnest($1::uuid[], $2::int[]) AS d(run_id, number) WHERE s.run_id = d.run_id AND s.number = d.number`,
);

/**
 * Gives the timers of these runs that wait for one of the names the first signal of it that is still kept: they are due now. All
 * that wait at this instant share it. The caller holds the locks of the runs. Returns those that got one.
 */
export async function deliverSignals(client: Transaction, wishes: readonly SignalWish[]): Promise<SignalledTimer[]> {
  if (wishes.length === 0) return [];
  const distinct = [...new Map(wishes.map((wish) => [`${wish.runId} ${wish.name}`, wish])).values()];
  const deliveries = await lockWaiting(client, [
    toPlainArray(distinct.map(({ runId }) => runId)),
    distinct.map(({ name }) => name),
  ]);
  if (deliveries.length === 0) return [];
  const versions = new Map(distinct.map(({ runId, version }) => [runId, version]));
  for (let start = 0; start < deliveries.length; start += TIMERS_PER_DELIVERY_MAX) {
    const some = deliveries.slice(start, start + TIMERS_PER_DELIVERY_MAX);
    await signalTimers(client, [
      toPlainArray(some.map(({ id }) => id)),
      toPlainArray(some.map(({ number }) => number)),
      some.map(({ runId, taskKey, hasAction, queue }) =>
        hasAction ? queue : readQueue(versions.get(runId)!, taskKey),
      ),
    ]);
  }
  const delivered = [...new Map(deliveries.map((signal) => [`${signal.runId} ${signal.number}`, signal])).values()];
  await markDelivered(client, [
    toPlainArray(delivered.map(({ runId }) => runId)),
    toPlainArray(delivered.map(({ number }) => number)),
  ]);
  return deliveries.map(({ id, runId }) => ({ id, runId }));
}

/** The queue of a task that waits for nothing any more. */
function readQueue({ tasks }: WorkflowVersion, taskKey: string): string | null {
  const task = tasks[planRun(tasks).indexByKey.get(taskKey) ?? -1];
  return task ? choosePullQueue(task, null) : null;
}

const waitAgain = nameStatement(
  'wait_again_for_signals',
  `UPDATE timers AS t SET due_at = to_timestamp(w.due_at / 1000), waits_for = w.name, pull_queue = NULL,
     wake_at = CASE t.state WHEN 'scheduled' THEN greatest(to_timestamp(w.due_at / 1000), clock_timestamp()) ELSE t.wake_at END
   FROM unnest($1::uuid[], $2::float8[], $3::text[]) AS w(id, due_at, name) WHERE t.id = w.id`,
);

/** A task that is to wait for a signal until then (epoch ms), and ends when it does not come. */
export interface RenewedWait extends SignalWish {
  id: string;
  dueAt: number;
}

/** Has timers that this transaction made live again wait for their signals. */
export async function waitForSignals(client: Transaction, timers: readonly RenewedWait[]): Promise<void> {
  if (timers.length === 0) return;
  await waitAgain(client, [
    toPlainArray(timers.map(({ id }) => id)),
    toPlainArray(timers.map(({ dueAt }) => dueAt)),
    timers.map(({ name }) => name),
  ]);
}
