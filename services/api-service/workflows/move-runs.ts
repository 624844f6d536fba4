import type { RunsChoice } from '@punctual/contracts';
import type { ChangeOrigin, TimerCondition, Transaction } from '@punctual/database';
import { createId, LIVE_STATES } from '@punctual/domain';
import { beginBulkOperation } from '../bulk-operations/begin-bulk-operation.ts';
import type { ApiContext } from '../context.ts';
import { refuseFaults } from '../plugins/problems.ts';
import { toCondition } from '../timers/timer-filter.ts';

/** Runs of a workflow that are to be moved: all that are live, or those with such a live timer. */
export interface RunMove {
  tenantId: string;
  workflowId: string;
  timers: TimerCondition | undefined;
  /** As it is shown. */
  filter: object | undefined;
}

/** What becomes of a workflow's runs; undefined: they keep their version. Throws a 400. */
export function prepareMove(tenantId: string, workflowId: string, runs: RunsChoice): RunMove | undefined {
  if (runs === undefined || runs === 'keep') return undefined;
  if (runs === 'move') return { tenantId, workflowId, timers: undefined, filter: undefined };
  const { move: filter } = runs;
  if (filter.workflowId !== undefined && filter.workflowId.toLowerCase() !== workflowId.toLowerCase()) {
    refuseFaults([{ pointer: '/runs/move/workflowId', detail: 'It must be the workflow itself, or be left out.' }]);
  }
  const isLive = (status: string) => (LIVE_STATES as readonly string[]).includes(status);
  if (filter.status && ![filter.status].flat().every(isLive)) {
    refuseFaults([{ pointer: '/runs/move/status', detail: `It must be among ${LIVE_STATES.join(', ')}.` }]);
  }
  const condition = toCondition(tenantId, { status: [...LIVE_STATES], ...filter, workflowId }, '/runs/move');
  return { tenantId, workflowId, timers: condition, filter };
}

/** Begins to move runs to a version that is stored in the same transaction. Returns the operation's id. */
export async function moveRunsTo(
  context: Pick<ApiContext, 'partitionCount'>,
  client: Transaction,
  { tenantId, workflowId, timers, filter }: RunMove,
  version: number,
  origin: ChangeOrigin,
): Promise<string> {
  const id = createId();
  await beginBulkOperation(context, client, {
    id,
    tenantId,
    action: 'move',
    target: 'run',
    request: JSON.stringify({ workflowId, ...(filter && { filter }) }),
    plan: { do: 'moveRuns', workflowId, version },
    source: { of: 'liveRuns', workflowId, ...(timers && { timers }) },
    ratePerSecond: null,
    origin,
  });
  return id;
}
