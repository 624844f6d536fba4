import { inTransaction, type Transaction, type TransactionPool } from '../connect.ts';
import { cancelRunningTimers } from '../queries/cancel-running-timers.ts';
import { cancelTimers, TIMERS_PER_CANCEL_MAX } from '../queries/cancel-timers.ts';
import { postponeTimers } from '../queries/finish-timers.ts';
import { type Gate, type GateKey, nameParking, shareGates } from '../queries/gates.ts';
import { type HeldTimer, PARKED_FOR_RUN, parkStartedTimers } from '../queries/pause-timers.ts';
import { nameStatement } from '../statement.ts';
import type { WorkflowVersions } from '../workflow-versions.ts';
import { advanceRuns, type EndedTask, type LockedRun, lockRuns } from './run-progress.repository.ts';

/** A started timer whose request was not sent, because its worker knows of a gate that may hold it back. */
export interface GatedTimer {
  id: string;
  /** The one that its start returned. */
  version: number;
  runId: string | null;
  /** The gates through which it has to go, whether they are there or not. */
  gates: readonly GateKey[];
}

const lockTimers = nameStatement<{ id: string }>(
  'lock_gated_timers',
  'SELECT id FROM timers WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE',
);
const selectWaitingOfRuns = nameStatement<{ id: string }>(
  'read_waiting_timers_of_runs',
  `SELECT id FROM timers WHERE run_id = ANY ($1::uuid[]) AND state IN ('scheduled', 'paused') ORDER BY id`,
);

const nameKey = ({ tenantId, kind, name }: GateKey) => `${tenantId} ${kind} ${name}`;

/**
 * Gives started timers back as their gates and runs want it by now: parked, ended as `cancelled`, or to be started again in
 * `freePauseMs` when nothing holds them back any more. Their attempts do not count. Whoever opens a gate waits for this transaction,
 * so that nothing is parked for a gate that is gone. Returns what became of them; a timer that is in no list had lost its
 * lease.
 */
export async function holdTimers(
  pool: TransactionPool,
  versions: WorkflowVersions,
  timers: readonly GatedTimer[],
  freePauseMs = 0,
): Promise<{ parked: string[]; waiting: string[]; cancelled: string[] }> {
  return inTransaction(pool, async (client) => {
    const runIds = timers.flatMap(({ runId }) => (runId === null ? [] : [runId]));
    const runs = new Map((await lockRuns(client, [...new Set(runIds)])).map((run) => [run.id, run]));
    const keys = new Map(timers.flatMap((timer) => timer.gates.map((key) => [nameKey(key), key] as const)));
    const gates = new Map((await shareGates(client, [...keys.values()])).map((gate) => [nameKey(gate), gate]));
    const cancelledRuns = [...runs.values()].filter((run) => isCancelledByGate(run, gates));
    const unwanted = new Set([
      ...cancelledRuns.map(({ id }) => id),
      ...[...runs.values()].filter(({ status }) => status === 'cancelled').map(({ id }) => id),
    ]);
    const isUnwanted = ({ runId }: GatedTimer) => runId !== null && unwanted.has(runId);
    const waitingOfRuns = (
      await selectWaitingOfRuns(client, [
        cancelledRuns.filter(({ status }) => status !== 'cancelled').map(({ id }) => id),
      ])
    ).map(({ id }) => id);
    await lockTimers(client, [[...waitingOfRuns, ...timers.map(({ id }) => id)]]);
    const parked: HeldTimer[] = [];
    const free: { id: string; version: number; waitMs: number }[] = [];
    for (const timer of timers.filter((candidate) => !isUnwanted(candidate))) {
      const closed = timer.gates.find((key) => gates.get(nameKey(key))?.pausedAt != null);
      const { id, version } = timer;
      // What a paused run holds back must not be let go with the workflow.
      if (timer.runId !== null && runs.get(timer.runId)?.status === 'paused')
        parked.push({ id, version, parkedFor: PARKED_FOR_RUN });
      else if (closed) parked.push({ id, version, parkedFor: nameParking(closed) });
      else free.push({ id, version, waitMs: freePauseMs });
    }
    const parkedIds = await parkStartedTimers(client, parked);
    const postponed = free.length > 0 ? await postponeTimers(client, free) : [];
    const gone = timers.filter(isUnwanted).map(({ id, version }) => ({ id, version, record: null }));
    const ended = gone.length > 0 ? await cancelRunningTimers(client, gone) : [];
    await endRuns(client, versions, runs, unwanted, cancelledRuns, [...ended], waitingOfRuns);
    return { parked: parkedIds, waiting: postponed.map(({ id }) => id), cancelled: ended.map(({ id }) => id) };
  });
}

function isCancelledByGate(run: LockedRun, gates: ReadonlyMap<string, Gate>): boolean {
  const gate = gates.get(nameKey({ tenantId: run.tenant_id, kind: 'workflow', name: run.workflow_id }));
  return gate?.cancelledBefore != null && run.created_at < gate.cancelledBefore;
}

/** Ends runs that a gate cancels, as the operation that goes through all of them would do it later. */
async function endRuns(
  client: Transaction,
  versions: WorkflowVersions,
  runs: ReadonlyMap<string, LockedRun>,
  unwanted: ReadonlySet<string>,
  byGate: readonly LockedRun[],
  ended: { run_id: string | null; task_key: string | null }[],
  waitingIds: readonly string[],
): Promise<void> {
  for (let start = 0; start < waitingIds.length; start += TIMERS_PER_CANCEL_MAX) {
    // All of one tenant as a rule: a worker gives back what it started together.
    const ids = waitingIds.slice(start, start + TIMERS_PER_CANCEL_MAX);
    for (const tenantId of new Set(byGate.map((run) => run.tenant_id)))
      ended.push(...(await cancelTimers(client, tenantId, ids)));
  }
  const isByGate = new Set(byGate.map(({ id }) => id));
  const touched = new Set([...isByGate, ...ended.flatMap(({ run_id: id }) => (id === null ? [] : [id]))]);
  const advancing = [...runs.values()]
    .filter(({ id }) => touched.has(id) && unwanted.has(id))
    .map((run): LockedRun => (isByGate.has(run.id) && isLive(run) ? { ...run, status: 'cancelled' } : run));
  const tasks = ended.map((task): EndedTask => ({ ...task, state: 'cancelled' }));
  await advanceRuns(client, versions, advancing, tasks);
}

function isLive({ status }: LockedRun): boolean {
  return status === 'running' || status === 'paused';
}
