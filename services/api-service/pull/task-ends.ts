import {
  type AttemptResult,
  asTenant,
  decideOutcome,
  type Outcome,
  readTimers,
  type Transaction,
} from '@punctual/database';
import { completeRetryPolicy, type Lease, type PartialRetryPolicy, readLeaseToken } from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { TenantBatchers } from '../tenant-batchers.ts';
import { readVersionOf } from '../timers/read-timers.ts';
import { cutText } from './cut-text.ts';
import { wakeAfterEnds } from './lane-leases.ts';
import { type TaskStatus, writeOutcomes } from './write-outcomes.ts';

/** What of a context ends tasks. */
type EndContext = Pick<ApiContext, 'config' | 'database' | 'clock' | 'workflowVersions' | 'leaseKey' | 'metrics'>;

/** The end of one task, ready to be written. */
export interface TaskEnd {
  tenantId: string;
  outcome: Outcome;
}

/** What became of a task, or why nothing did. */
export type EndResult = { id: string; status: TaskStatus } | ProblemError;

/** What Postgres stores of a duration (ms): heartbeats may keep a task for longer than these 24.8 days. */
const DURATION_MS_MAX = 2_147_483_647;
/** Transactions under way at once: one waits for the disk while another works. */
const BATCHES_MAX = 2;

/** The way in for ends of single tasks: those of one tenant that come together share their statements, and one commit. */
export function createEndBatcher(
  context: Omit<EndContext, 'leaseKey'> & Pick<ApiContext, 'logger'>,
): TenantBatchers<TaskEnd, EndResult> {
  const { config, metrics } = context;
  return new TenantBatchers({
    store: async (ends) => {
      const results = await writeEnds(context, ends);
      wakeAfterEnds(context, ends[0]!.tenantId, ends.map(readId));
      return results;
    },
    windowMs: config.API_BATCH_WINDOW_MS,
    batchItemsMax: config.API_BATCH_TIMERS_MAX,
    batchesMax: BATCHES_MAX,
    queueMax: config.API_CREATE_QUEUE_MAX,
    waitMsMax: config.API_ANSWER_TIMEOUT_MS,
    onBatch: (tasks) => metrics.endBatchTasks.observe(tasks),
  });
}

/** Writes ends of tasks of one tenant. Answers in their order. */
export async function writeEnds(
  context: Omit<EndContext, 'leaseKey'>,
  ends: readonly TaskEnd[],
  client?: Transaction,
): Promise<EndResult[]> {
  const results = new Map<TaskEnd, EndResult>();
  // No statement names a timer twice: of two ends of one task the second finds what the first has done.
  for (let rest = ends; rest.length > 0; ) {
    const firsts = new Map<string, TaskEnd>();
    for (const end of rest) if (!firsts.has(readId(end))) firsts.set(readId(end), end);
    const group = [...firsts.values()];
    const { tenantId } = group[0]!;
    const outcomes = group.map(({ outcome }) => outcome);
    const statuses = await writeOutcomes(context, tenantId, outcomes, client);
    const missing = group.filter((end) => !statuses.has(readId(end)));
    const ended = missing.length > 0 ? await findRepeated(context, tenantId, missing, client) : new Set();
    for (const end of group) {
      const id = readId(end);
      const wanted = end.outcome.kind === 'finished' ? end.outcome.record.state : undefined;
      // Nobody can ask for `skipped`.
      const repeated = ended.has(id) && wanted !== 'skipped' ? wanted : undefined;
      const status = statuses.get(id) ?? repeated;
      if (statuses.has(id)) context.metrics.tasksEnded.inc({ status: status! });
      results.set(end, status === undefined ? createLeaseLost() : { id, status });
    }
    rest = rest.filter((end) => !results.has(end));
  }
  return ends.map((end) => results.get(end)!);
}

/** Of tasks that were not leased any more, those that had ended by the same attempt in the same way: the end came twice. */
async function findRepeated(
  { database }: Pick<ApiContext, 'database'>,
  tenantId: string,
  ends: readonly TaskEnd[],
  client?: Transaction,
): Promise<Set<string>> {
  const records = await readTimers(client ?? asTenant(database, tenantId).hot, tenantId, ends.map(readId));
  const repeated = ends.filter(({ outcome }) => {
    if (outcome.kind !== 'finished') return false;
    const record = records.get(outcome.record.id);
    return record?.version === outcome.record.version && record.state === outcome.record.state;
  });
  return new Set(repeated.map(readId));
}

const readId = ({ outcome }: TaskEnd) => ('record' in outcome ? outcome.record.id : outcome.id);

/** What a token proves. Throws 409 `lease_lost` when that is nothing. */
export function readLease(context: Pick<ApiContext, 'leaseKey'>, tenantId: string, id: string, token: string): Lease {
  const lease = readLeaseToken(context.leaseKey, tenantId, id, token);
  if (!lease) throw createLeaseLost();
  return lease;
}

export function createLeaseLost(): ProblemError {
  return new ProblemError(409, 'lease_lost', 'The task is not, or no longer, leased by this token.');
}

/** The end of a task that went well. `output` is JSON text. Throws 409. */
export function prepareCompletion(
  context: Pick<ApiContext, 'leaseKey' | 'clock'>,
  tenantId: string,
  { id, leaseToken, output }: { id: string; leaseToken: string; output: string | undefined },
): TaskEnd {
  const lease = readLease(context, tenantId, id, leaseToken);
  return {
    tenantId,
    outcome: decide(context, id, lease, { outcome: 'succeeded', output, responseBody: cutText(output) }),
  };
}

/** The end of a task that failed: a retry as its policy says, or a dead letter. Throws 409. */
export async function prepareFailure(
  context: Pick<ApiContext, 'leaseKey' | 'clock' | 'database' | 'workflowVersions'>,
  tenantId: string,
  { id, leaseToken, error, isRetryable }: { id: string; leaseToken: string; error: string; isRetryable: boolean },
  client?: Transaction,
): Promise<TaskEnd> {
  const lease = readLease(context, tenantId, id, leaseToken);
  const result = { outcome: isRetryable ? ('retryable' as const) : ('permanent' as const), error: cutText(error) };
  if (!isRetryable) return { tenantId, outcome: decide(context, id, lease, result) };
  const database = client ?? asTenant(context.database, tenantId).hot;
  const record = (await readTimers(database, tenantId, [id])).get(id);
  if (!record || record.version !== lease.version) throw createLeaseLost();
  const version = record.workflowId === null ? undefined : await readVersionOf(context, record, database);
  const own = record.retry === null ? undefined : (JSON.parse(record.retry) as PartialRetryPolicy);
  const task = version?.tasks.find(({ key }) => key === record.taskKey);
  return { tenantId, outcome: decide(context, id, lease, result, own ?? task?.retry) };
}

function decide(
  { clock }: Pick<ApiContext, 'clock'>,
  id: string,
  { version, attempt, startedAt, wakeAt, runId }: Lease,
  result: Omit<AttemptResult, 'durationMs'>,
  retry?: PartialRetryPolicy,
): Outcome {
  return decideOutcome(
    { id, version, attempt, wake_at: wakeAt, started_at: startedAt, run_id: runId },
    { ...result, durationMs: Math.min(Math.max(0, clock.now() - startedAt), DURATION_MS_MAX) },
    completeRetryPolicy(retry),
    Math.random,
  );
}
