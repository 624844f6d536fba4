import { BULK_SAMPLES_MAX, type BulkOperationRequest, COUNT_MAX, type TimerFilter } from '@punctual/contracts';
import {
  asTenant,
  type BulkOperationRow,
  type BulkPlan,
  type BulkSource,
  type ChangeOrigin,
  countLiveRuns,
  countTimers,
  createDryRun,
  listDeadLetters,
  listTimers,
  type NewBulkOperation,
  type Queryable,
  readTimers,
  readWorkflow,
  recordChanges,
  type TimerCondition,
  type TimerRecord,
  type Transaction,
} from '@punctual/database';
import { createId, type DelayRule, type Fault, formatInstant, LIVE_STATES } from '@punctual/domain';
import { type ApiContext, readAnchorAt } from '../context.ts';
import { refuseFaults } from '../plugins/problems.ts';
import { chooseDueTime } from '../timers/due-time.ts';
import { toCondition } from '../timers/timer-filter.ts';
import { withTransaction } from '../transaction.ts';
import { cancelWorkflow } from '../workflows/pause-workflow.ts';
import { beginBulkOperation } from './begin-bulk-operation.ts';
import type { KeptRequest } from './render-bulk-operation.ts';

type Action = BulkOperationRequest['action'];
type Status = TimerRecord['state'];

/** Statuses of what an action may be about, and of what it is about when the filter names none. */
const STATUSES: Record<Action, { allowed: readonly Status[]; usual: readonly Status[] }> = {
  cancel: { allowed: LIVE_STATES, usual: LIVE_STATES },
  reschedule: { allowed: LIVE_STATES, usual: LIVE_STATES },
  pause: { allowed: LIVE_STATES, usual: LIVE_STATES },
  fire: { allowed: LIVE_STATES, usual: LIVE_STATES },
  resume: { allowed: LIVE_STATES, usual: ['paused'] },
  redrive: { allowed: ['dead'], usual: ['dead'] },
};

/** A request that makes sense, ready to be carried out. */
interface Prepared {
  plan: BulkPlan;
  kept: KeptRequest;
  condition: TimerCondition | undefined;
  ids: readonly string[] | undefined;
}

/**
 * Stores a bulk operation, which begins with the commit; or says what it would be about. Resolves with the stored row. When a
 * whole workflow may be cancelled by it, whoever answers waits until that is heeded. Throws a 400 with everything that is
 * wrong with the request, and a 429 when the tenant has too many.
 */
export async function startBulkOperation(
  context: ApiContext,
  client: Transaction | undefined,
  tenantId: string,
  request: BulkOperationRequest,
  origin: ChangeOrigin,
): Promise<BulkOperationRow> {
  const prepared = prepare(context, tenantId, request);
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    const workflowId = await findWholeWorkflow(transaction, tenantId, request);
    if (workflowId !== undefined && request.dryRun !== true) {
      const rate = request.ratePerSecond ?? null;
      const target = { tenantId, id: workflowId, origin };
      return cancelWorkflow(context, transaction, target, prepared.kept, rate);
    }
    const operation =
      workflowId === undefined
        ? await store(context, transaction, tenantId, request, prepared, origin)
        : await countRuns(transaction, tenantId, workflowId, prepared.kept, origin);
    await recordChanges(transaction, [{ targetId: operation.id, tenantId, origin }]);
    return operation;
  });
}

/** Whether a request closes a gate, if its workflow is there: what its filter matches is all of that. */
export function mayCancelWorkflow(request: BulkOperationRequest): boolean {
  return request.dryRun !== true && namesWholeWorkflow(request);
}

function namesWholeWorkflow({ action, filter }: BulkOperationRequest): boolean {
  return action === 'cancel' && filter?.workflowId !== undefined && Object.keys(filter).length === 1;
}

/** The workflow of which everything is to be cancelled. */
async function findWholeWorkflow(
  client: Transaction,
  tenantId: string,
  request: BulkOperationRequest,
): Promise<string | undefined> {
  if (!namesWholeWorkflow(request)) return undefined;
  const id = request.filter!.workflowId!.toLowerCase();
  return (await readWorkflow(client, tenantId, id)) ? id : undefined;
}

/** What a cancel of a whole workflow would be about. Runs have no due times, so that none are shown. */
async function countRuns(
  client: Transaction,
  tenantId: string,
  workflowId: string,
  kept: KeptRequest,
  { actor, keyId, requestId }: ChangeOrigin,
): Promise<BulkOperationRow> {
  const count = await countLiveRuns(client, tenantId, workflowId, COUNT_MAX + 1);
  return createDryRun(client, {
    id: createId(),
    tenantId,
    action: 'cancel',
    target: 'run',
    request: JSON.stringify({ ...kept, workflowId, dryRun: true, ...(count > COUNT_MAX && { capped: true }) }),
    matched: Math.min(count, COUNT_MAX),
    samples: '[]',
    origin: { actor, keyId, requestId },
  });
}

async function store(
  context: ApiContext,
  client: Transaction,
  tenantId: string,
  { action, dryRun, ratePerSecond }: BulkOperationRequest,
  { plan, kept, condition, ids }: Prepared,
  { actor, keyId, requestId }: ChangeOrigin,
): Promise<BulkOperationRow> {
  const isOfLetters = action === 'redrive';
  const operation: Omit<NewBulkOperation, 'plan' | 'source' | 'ratePerSecond' | 'request'> = {
    id: createId(),
    tenantId,
    action,
    target: isOfLetters ? 'deadLetter' : 'timer',
    origin: { actor, keyId, requestId },
  };
  if (dryRun === true) {
    const found = condition
      ? await sampleByFilter(client, condition, isOfLetters)
      : await sampleByIds(client, tenantId, ids!, STATUSES[action].allowed);
    const request = JSON.stringify({ ...kept, dryRun, ...(found.matched > COUNT_MAX && { capped: true }) });
    const samples = found.samples.map(({ id, state, dueAt }) => ({ id, status: state, dueAt: formatInstant(dueAt) }));
    return createDryRun(client, {
      ...operation,
      request,
      matched: Math.min(found.matched, COUNT_MAX),
      samples: JSON.stringify(samples),
    });
  }
  const source: BulkSource = condition
    ? { of: isOfLetters ? 'deadLetters' : 'timers', condition }
    : { of: 'ids', ids: ids! };
  return beginBulkOperation(context, client, {
    ...operation,
    request: JSON.stringify(kept),
    plan,
    source,
    ratePerSecond: ratePerSecond ?? null,
  });
}

async function sampleByFilter(database: Queryable, condition: TimerCondition, isOfLetters: boolean) {
  const tables = isOfLetters ? (['dead_letters'] as const) : (['timers'] as const);
  const list = isOfLetters ? listDeadLetters : listTimers;
  return {
    matched: await countTimers(database, condition, COUNT_MAX + 1, tables),
    samples: await list(database, condition, { limit: BULK_SAMPLES_MAX }),
  };
}

async function sampleByIds(database: Queryable, tenantId: string, ids: readonly string[], allowed: readonly Status[]) {
  const records = [...(await readTimers(database, tenantId, ids)).values()].filter(({ state }) =>
    allowed.includes(state),
  );
  return { matched: records.length, samples: records.slice(0, BULK_SAMPLES_MAX) };
}

function prepare(context: ApiContext, tenantId: string, request: BulkOperationRequest): Prepared {
  const { action, filter, ids, change, ratePerSecond, reason } = request;
  const faults: Fault[] = [];
  if ((filter === undefined) === (ids === undefined)) {
    faults.push({ pointer: '', detail: 'Give either filter or ids.' });
  }
  faults.push(...findStatusFaults(action, filter));
  const { plan, faults: changeFaults } = preparePlan(context, tenantId, request);
  faults.push(...changeFaults);
  refuseFaults(faults);
  const usual = { ...filter, status: filter?.status ?? [...STATUSES[action].usual] };
  return {
    plan: plan!,
    kept: {
      ...(filter !== undefined && { filter }),
      ...(change !== undefined && { change }),
      ...(ratePerSecond !== undefined && { ratePerSecond }),
      ...(reason !== undefined && { reason }),
    },
    condition: filter && toCondition(tenantId, usual, '/filter'),
    ids: ids && [...new Set(ids.map((id) => id.toLowerCase()))],
  };
}

function findStatusFaults(action: Action, filter: TimerFilter | undefined): Fault[] {
  const { allowed } = STATUSES[action];
  if (filter?.status === undefined || [filter.status].flat().every((status) => allowed.includes(status))) return [];
  return [{ pointer: '/filter/status', detail: `For ${action} it must be among ${allowed.join(', ')}.` }];
}

function preparePlan(
  context: ApiContext,
  tenantId: string,
  { action, change, ratePerSecond }: BulkOperationRequest,
): { plan?: BulkPlan; faults: Fault[] } {
  const refuse = (detail: string) => ({ faults: [{ pointer: '/change', detail }] });
  if (action === 'resume') {
    if (change !== undefined && change.dueTimes === undefined) return refuse('For resume it may have dueTimes only.');
    const paceMs = ratePerSecond === undefined ? 0 : 1000 / ratePerSecond;
    return { plan: { do: 'resume', dueTimes: change?.dueTimes ?? 'keep', paceMs }, faults: [] };
  }
  if (action !== 'reschedule') {
    if (change !== undefined) return refuse(`${action} takes no change.`);
    if (action !== 'redrive') return { plan: { do: action }, faults: [] };
    // Workers do not know the limits that the api's settings give.
    const liveTimersMax = context.limits.find(tenantId)?.liveTimersMax;
    return { plan: { do: action, ...(liveTimersMax !== undefined && { liveTimersMax }) }, faults: [] };
  }
  const { maxWaitMs } = context;
  if (change === undefined || change.dueTimes !== undefined) return refuse('Give delay, dueAt or shiftMs.');
  if (change.shiftMs !== undefined)
    return { plan: { do: 'reschedule', change: { shiftMs: change.shiftMs }, maxWaitMs }, faults: [] };
  const due = chooseDueTime(
    {
      ...(change.delay && { delay: change.delay as DelayRule }),
      ...(change.dueAt !== undefined && { dueAt: change.dueAt }),
    },
    readAnchorAt(context),
    context,
  );
  if (due.kind === 'fault') {
    return { faults: due.faults.map((fault) => ({ ...fault, pointer: `/change${fault.pointer}` })) };
  }
  const wanted = change.delay ? { delay: change.delay } : { dueAt: due.dueAt };
  return { plan: { do: 'reschedule', change: wanted, maxWaitMs }, faults: [] };
}
