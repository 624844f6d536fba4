import {
  asTenant,
  type Gate,
  type GateKey,
  type Queryable,
  readGates,
  readRunAge,
  type StartedTimer,
} from '@punctual/database';
import type { ApiContext } from '../context.ts';

/** What a leased task has to pass. */
export function listTaskGates(tenantId: string, queue: string, timer: StartedTimer): GateKey[] {
  const ofWorkflow: GateKey[] =
    timer.workflow_id === null ? [] : [{ tenantId, kind: 'workflow', name: timer.workflow_id }];
  return [...ofWorkflow, { tenantId, kind: 'queue', name: queue }];
}

/**
 * Of timers that were just leased those that must not be handed out, and since when (epoch ms): their queue or workflow is paused,
 * or was cancelled as a whole after their run began. A pause that is committed after this look came after the start of all of them.
 */
export async function findHeldTasks<Timer extends StartedTimer>(
  { database }: Pick<ApiContext, 'database'>,
  tenantId: string,
  queue: string,
  timers: readonly Timer[],
): Promise<ReadonlyMap<Timer, number>> {
  const held = new Map<Timer, number>();
  if (timers.length === 0) return held;
  const { hot } = asTenant(database, tenantId);
  const keys = new Map(timers.flatMap((timer) => listTaskGates(tenantId, queue, timer)).map((key) => [key.name, key]));
  const gates = await readGates(hot, [...keys.values()]);
  const ofQueue = gates.find(({ kind }) => kind === 'queue')?.pausedAt ?? null;
  const byWorkflow = new Map(gates.flatMap((gate) => (gate.kind === 'workflow' ? [[gate.name, gate] as const] : [])));
  for (const timer of timers) {
    const gate = byWorkflow.get(timer.workflow_id ?? '');
    const since = ofQueue ?? (gate && (await readHeldSince(hot, gate, timer))) ?? null;
    if (since !== null) held.set(timer, since);
  }
  return held;
}

async function readHeldSince(database: Queryable, gate: Gate, timer: StartedTimer): Promise<number | null> {
  const { pausedAt, cancelledBefore } = gate;
  if (pausedAt !== null) return pausedAt;
  if (cancelledBefore === null || timer.run_id === null) return null;
  return (await readRunAge(database, timer.run_id)) < cancelledBefore ? cancelledBefore : null;
}
