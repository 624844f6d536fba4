import type { Gate as ShownGate } from '@punctual/contracts';
import {
  abortReleasesOf,
  announceGates,
  asTenant,
  type ChangeOrigin,
  closeGate,
  findReleaseOf,
  type Gate,
  type GateKey,
  hasGatesEnough,
  hasParked,
  lockGate,
  nameParking,
  openGate,
  type ResumeManner,
  recordChanges,
  type Transaction,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import { beginBulkOperation } from '../bulk-operations/begin-bulk-operation.ts';
import type { ApiContext } from '../context.ts';
import { ProblemError } from '../problem.ts';
import { withTransaction } from '../transaction.ts';

/** A gate as the api shows it; undefined: it is open. */
export function renderGate(key: GateKey, gate: Gate | undefined, bulkOperationId?: string): ShownGate {
  return {
    kind: key.kind,
    name: key.name,
    status: gate?.pausedAt == null ? 'open' : 'paused',
    ...(gate?.pausedAt != null && { pausedAt: new Date(gate.pausedAt).toISOString() }),
    ...(gate?.cancelledBefore != null && { cancelledBefore: new Date(gate.cancelledBefore).toISOString() }),
    ...(bulkOperationId !== undefined && { bulkOperationId }),
  };
}

/** By whom a gate is changed, and of what the audit log tells it. */
export interface GateChange {
  key: GateKey;
  /** The workflow; of what has no id of its own, the tenant. */
  targetId: string;
  origin: ChangeOrigin;
}

/**
 * Closes a gate within a transaction, and enters it in the audit log unless it was closed. Throws ProblemError when the tenant
 * has too many. Whoever commits waits until it is heeded.
 */
export async function closeWithin(client: Transaction, { key, targetId, origin }: GateChange): Promise<Gate> {
  const present = await lockGate(client, key);
  if (!present && (await hasGatesEnough(client, key.tenantId))) {
    throw new ProblemError(
      409,
      'too_many_gates',
      'So many workflows, queues and origins are paused that no more can be.',
    );
  }
  const gate = await closeGate(client, key);
  // After the gate, as whoever opens it. Nobody who has a release locked waits for a gate.
  await abortReleasesOf(client, key);
  if (present?.pausedAt == null) await recordChanges(client, [{ targetId, tenantId: key.tenantId, origin }]);
  await announceGates(client);
  return gate;
}

/**
 * Opens a gate within a transaction, and begins to release what it held back. Returns the operation that does, if there is one.
 * Does nothing when it is open and nothing is held back, or when that is being released: it returns the operation that does.
 */
export async function openWithin(
  context: Pick<ApiContext, 'partitionCount'>,
  client: Transaction,
  { key, targetId, origin }: GateChange,
  manner: ResumeManner & { ratePerSecond: number },
): Promise<string | undefined> {
  const { tenantId } = key;
  const opened = await openGate(client, key);
  if (opened) await abortReleasesOf(client, key);
  else {
    const releasingId = await findReleaseOf(client, key);
    if (releasingId !== undefined) return releasingId;
  }
  const isReleasing = await hasParked(client, tenantId, nameParking(key));
  const bulkOperationId = isReleasing ? await beginRelease(context, client, key, manner, origin) : undefined;
  if (opened || isReleasing) await recordChanges(client, [{ targetId, tenantId, origin }]);
  if (opened) await announceGates(client);
  return bulkOperationId;
}

async function beginRelease(
  context: Pick<ApiContext, 'partitionCount'>,
  client: Transaction,
  key: GateKey,
  { dueTimes, paceMs, ratePerSecond }: ResumeManner & { ratePerSecond: number },
  origin: ChangeOrigin,
): Promise<string> {
  const id = createId();
  const { tenantId, kind, name } = key;
  const request = {
    action: 'resume',
    change: { dueTimes },
    ratePerSecond,
    ...(kind === 'workflow' && { workflowId: name }),
  };
  await beginBulkOperation(context, client, {
    id,
    tenantId,
    action: 'resume',
    target: 'timer',
    request: JSON.stringify(request),
    plan: { do: 'release', gate: { kind, name }, dueTimes, paceMs },
    source: { of: 'parked', parkedFor: nameParking(key) },
    ratePerSecond,
    origin,
  });
  return id;
}

/** Pauses a queue or an origin. Does nothing when it is paused already. */
export function pauseGate(
  context: ApiContext,
  client: Transaction | undefined,
  key: GateKey,
  origin: ChangeOrigin,
): Promise<ShownGate> {
  const { tenantId } = key;
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    return renderGate(key, await closeWithin(transaction, { key, targetId: tenantId, origin }));
  });
}

/** Lets a queue or an origin go on. Does nothing when it was open and nothing is held back. */
export function resumeGate(
  context: ApiContext,
  client: Transaction | undefined,
  key: GateKey,
  manner: ResumeManner & { ratePerSecond: number },
  origin: ChangeOrigin,
): Promise<ShownGate> {
  const { tenantId } = key;
  return withTransaction(asTenant(context.database, tenantId).ordinary, client, async (transaction) => {
    const bulkOperationId = await openWithin(context, transaction, { key, targetId: tenantId, origin }, manner);
    return renderGate(key, undefined, bulkOperationId);
  });
}
