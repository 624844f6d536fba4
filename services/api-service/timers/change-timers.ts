import type { TimerChange } from '@punctual/contracts';
import {
  asTenant,
  type ChangeOrigin,
  changeTimers,
  type Queryable,
  readTimers,
  type TimerEdit,
  type TimerRecord,
  type Transaction,
} from '@punctual/database';
import { type Action, type DelayRule, type Fault, hasMask } from '@punctual/domain';
import { type ApiContext, readAnchorAt } from '../context.ts';
import { createInvalidRequest } from '../plugins/problems.ts';
import { ProblemError } from '../problem.ts';
import { isTooLarge, PAYLOAD_TOO_LARGE } from './action-faults.ts';
import { chooseDueTime } from './due-time.ts';
import { createRestless, findObstacle, type ItemResult, ROUNDS_MAX, showAmong } from './item-results.ts';
import { createTimerNotFound, readVersionOf } from './read-timers.ts';
import { prepareAction } from './stored-action.ts';

/** A change of one timer. `matches` tells whether the version that is there is the one that is to be changed. */
export interface ChangeRequest {
  id: string;
  change: TimerChange;
  origin: ChangeOrigin;
  matches?: (version: number) => boolean;
}

/**
 * Changes timers, each by itself. What does not depend on the timer as it is, is written at once. The others are read,
 * reckoned, and written on condition that nothing happened in between; what lost that race is read again, and so is what
 * could not be written at once, to say why. An attempt that started first wins, and then the answer says so. No two of
 * the requests may name the same timer. With a `client` everything happens in its transaction.
 */
export async function applyChanges(
  context: ApiContext,
  tenantId: string,
  requests: readonly ChangeRequest[],
  client?: Transaction,
): Promise<ItemResult[]> {
  const database = client ?? asTenant(context.database, tenantId).hot;
  const results = new Map<ChangeRequest, ItemResult>();
  let pending = requests;
  const write = async (edits: readonly TimerEdit[]) => {
    if (edits.length === 0) return;
    const changed = new Map((await changeTimers(database, tenantId, edits)).map((record) => [record.id, record]));
    for (const request of pending) {
      const record = changed.get(request.id);
      if (record) results.set(request, await showAmong(requests.length, context, record, database));
    }
    pending = pending.filter((request) => !results.has(request));
  };
  // In a transaction one statement writes several timers, in the order of their ids: after two statements two transactions
  // could wait for each other.
  if (!client || requests.length === 1) {
    await write(requests.flatMap((request) => prepareBlindEdit(context, tenantId, request) ?? []));
  }
  for (let round = 0; round < ROUNDS_MAX && pending.length > 0; round += 1) {
    const records = await readTimers(
      database,
      tenantId,
      pending.map(({ id }) => id),
    );
    const edits: TimerEdit[] = [];
    for (const request of pending) {
      const edit = await prepareEdit(context, tenantId, request, records.get(request.id), database);
      if (edit instanceof ProblemError) results.set(request, { error: edit });
      else edits.push(edit);
    }
    pending = pending.filter((request) => !results.has(request));
    await write(edits);
  }
  return requests.map((request) => results.get(request) ?? { error: createRestless() });
}

async function prepareEdit(
  context: ApiContext,
  tenantId: string,
  { id, change, origin, matches }: ChangeRequest,
  record: TimerRecord | undefined,
  database: Queryable,
): Promise<TimerEdit | ProblemError> {
  if (!record) return createTimerNotFound();
  const obstacle = findObstacle(record);
  if (obstacle) return obstacle;
  if ((change.version !== undefined && change.version !== record.version) || matches?.(record.version) === false) {
    return new ProblemError(412, 'version_mismatch', `The timer has version ${record.version} by now.`);
  }
  const edit: TimerEdit = { id, version: record.version, origin };
  const zone = change.delay === undefined ? undefined : await readVersionOf(context, record, database);
  const faults = addChange(context, tenantId, change, edit, {
    createdAt: record.createdAt,
    timeZone: record.timeZone ?? zone?.timeZone,
    // Whoever sends back what was shown sends masks: those keep what is stored.
    action: needsStoredAction(change) ? await readStoredAction(context, record, database) : undefined,
  });
  return faults.length > 0 ? createInvalidRequest(faults) : edit;
}

/** An edit that is right whatever the timer is like, or undefined: then somebody has to look at the timer first. */
function prepareBlindEdit(
  context: ApiContext,
  tenantId: string,
  { id, change, origin, matches }: ChangeRequest,
): TimerEdit | undefined {
  if (change.delay !== undefined || change.version !== undefined || matches !== undefined) return undefined;
  if (needsStoredAction(change)) return undefined;
  const edit: TimerEdit = { id, version: null, origin };
  return addChange(context, tenantId, change, edit, undefined).length > 0 ? undefined : edit;
}

const needsStoredAction = ({ action }: TimerChange) => action !== undefined && hasMask(action as Action);

/** What a rule is reckoned from, and the action whose secrets stay. */
interface Waiting {
  createdAt: number;
  timeZone: string | undefined;
  action: Action | undefined;
}

function addChange(
  context: ApiContext,
  tenantId: string,
  change: TimerChange,
  edit: TimerEdit,
  waiting: Waiting | undefined,
): Fault[] {
  if (change.retry !== undefined) edit.retry = JSON.stringify(change.retry);
  if (change.priority !== undefined) edit.priority = change.priority;
  return [
    ...addDueTime(context, change, edit, waiting),
    ...addPayload(change, edit),
    ...addAction(context, tenantId, change, edit, waiting?.action),
  ];
}

/** A rule counts from the anchor, which may make it due at once; an instant is compared with the present. */
function addDueTime(context: ApiContext, change: TimerChange, edit: TimerEdit, waiting: Waiting | undefined): Fault[] {
  const delay = change.delay as DelayRule | undefined;
  if (delay === undefined && change.dueAt === undefined) return [];
  const anchorAt = delay === undefined ? readAnchorAt(context) : waiting!.createdAt;
  const due = chooseDueTime({ delay, dueAt: change.dueAt, timeZone: waiting?.timeZone }, anchorAt, context);
  if (due.kind === 'fault') return due.faults;
  if (due.kind === 'skip') {
    return [{ pointer: '/delay', detail: 'The date is past and the rule says to skip it; cancel the timer instead.' }];
  }
  edit.due = { dueAt: due.dueAt, delay: delay === undefined ? null : JSON.stringify(delay) };
  return [];
}

function addPayload(change: TimerChange, edit: TimerEdit): Fault[] {
  if (change.payload === undefined) return [];
  edit.payload = JSON.stringify(change.payload);
  return isTooLarge(edit.payload) ? [{ pointer: '/payload', detail: PAYLOAD_TOO_LARGE }] : [];
}

function addAction(
  context: ApiContext,
  tenantId: string,
  change: TimerChange,
  edit: TimerEdit,
  stored: Action | undefined,
): Fault[] {
  if (change.action === undefined) return [];
  const { text, faults } = prepareAction(context, tenantId, change.action as Action, stored);
  edit.action = text;
  edit.pullQueue = change.action.type === 'pull' ? change.action.queue : null;
  return faults.map((fault) => ({ ...fault, pointer: `/action${fault.pointer}` }));
}

async function readStoredAction(
  context: ApiContext,
  record: TimerRecord,
  database: Queryable,
): Promise<Action | undefined> {
  if (record.action !== null) return JSON.parse(record.action) as Action;
  const version = await readVersionOf(context, record, database);
  return version?.tasks.find(({ key }) => key === record.taskKey)?.action;
}
