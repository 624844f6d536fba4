import {
  announceGates,
  type BulkPlan,
  type BulkPortion,
  bookBulkPortion,
  createBulkOperation,
  type Database,
  doBulkPortion,
  dropBulkPortions,
  forgetCancel,
  halveBulkPortion,
  hasBulkPortions,
  hasParked,
  inTransaction,
  isDatabaseUnavailable,
  isStatementTimeout,
  listBulkTargets,
  lockBulkOperation,
  lockWorkflow,
  lookAtBulkOperation,
  nameParking,
  openGate,
  readPlan,
  setBulkStatus,
  setWorkflowActive,
  type Transaction,
  takeBulkPortion,
  tryLockBulkOperation,
  type WorkflowVersions,
} from '@punctual/database';
import { createId } from '@punctual/domain';
import type { Logger } from '@punctual/runtime';
import type { WorkerMetrics } from '../metrics.ts';
import type { LongTurn } from './system-target.ts';

export interface BulkWorkerOptions {
  database: Database;
  workflowVersions: WorkflowVersions;
  partitionCount: number;
  metrics: WorkerMetrics;
  logger: Logger;
}

type Operation = NonNullable<Awaited<ReturnType<typeof lookAtBulkOperation>>>;

/** A lane goes on with portions for so long before its timer goes back to the schedulers (ms): well within its lease. */
const TURN_MS = 3_000;
/** Longer than any start is sent without a question whether it still stands: `CHECK_GOOD_MS`, with room for a slow process. */
const SETTLE_MS = 1_000;
const SETTLED_FORGET_MS = 60_000;
/** While somebody else lists the targets, or finishes (ms). */
const BUSY_PAUSE_MS = 100;

/** The portion was done, and must be undone: the operation was paused or aborted before its commit. */
class Stopped extends Error {}

/**
 * Carries out bulk operations, a portion in a transaction: what it changed and how far it came are committed together, so
 * that whoever goes on after a crash repeats nothing. Several lanes of one operation take different portions.
 */
export class BulkWorker {
  readonly #options: BulkWorkerOptions;
  /** Of cancels that have come to their end: when this worker saw that. */
  readonly #settlingSince = new Map<string, number>();

  constructor(options: BulkWorkerOptions) {
    this.#options = options;
  }

  /** One lane's turn. Rejects when Postgres is away; then it is tried again. */
  async run(id: string): Promise<LongTurn> {
    const { database } = this.#options;
    const deadline = performance.now() + TURN_MS;
    for (;;) {
      const operation = await lookAtBulkOperation(database.hot, id);
      if (!operation || operation.status === 'paused') return 'done';
      if (operation.status !== 'running') {
        await this.#leave(operation);
        return 'done';
      }
      if (!operation.is_listed) {
        if (!(await this.#list(id))) return { againInMs: BUSY_PAUSE_MS };
        continue;
      }
      if (operation.wait_ms > 0) return { againInMs: Math.ceil(operation.wait_ms) };
      const isDone = await this.#doPortion(operation);
      if (isDone === 'none') {
        // Others may have portions in hand: the last one ends the operation.
        if (await hasBulkPortions(database.hot, id)) return 'done';
        const settleMs = this.#readSettleMs(operation);
        if (settleMs > 0) return { againInMs: settleMs };
        await this.#finish(operation);
        return 'done';
      }
      if (performance.now() > deadline) return { againInMs: 0 };
    }
  }

  /**
   * How long the gate of a workflow that was cancelled as a whole has to stay, although all its runs are cancelled (ms): until every
   * start that may still be sent has been asked about, which tells that.
   */
  #readSettleMs({ id, plan }: Operation): number {
    if (readPlan({ plan }).plan.do !== 'cancelRuns') return 0;
    const now = performance.now();
    for (const [other, at] of this.#settlingSince) if (now - at > SETTLED_FORGET_MS) this.#settlingSince.delete(other);
    const since = this.#settlingSince.get(id) ?? now;
    this.#settlingSince.set(id, since);
    return Math.max(0, Math.ceil(since + SETTLE_MS - now));
  }

  #list(id: string): Promise<boolean> {
    return inTransaction(this.#options.database.ordinary, async (client) => {
      const operation = await tryLockBulkOperation(client, id);
      if (!operation) return false;
      if (!operation.is_listed) await listBulkTargets(client, operation);
      return true;
    });
  }

  async #doPortion(operation: Operation): Promise<'done' | 'none'> {
    const { database, workflowVersions, metrics, logger } = this.#options;
    const beganAt = performance.now();
    let portion: BulkPortion | undefined;
    try {
      const result = await inTransaction(database.hot, async (client) => {
        portion = await takeBulkPortion(client, operation.id);
        if (!portion) return undefined;
        const { done, failures } = await doBulkPortion(client, workflowVersions, operation, portion.ids);
        // failpoint: worker.bulk-changed
        if (!(await bookBulkPortion(client, operation, done, failures))) throw new Stopped();
        return { done, failed: failures.length };
      });
      if (!result) return 'none';
      // failpoint: worker.bulk-portion
      metrics.bulkSeconds.observe((performance.now() - beganAt) / 1000);
      metrics.bulkTargets.inc({ outcome: 'done' }, result.done);
      metrics.bulkTargets.inc({ outcome: 'failed' }, result.failed);
      return 'done';
    } catch (error) {
      if (error instanceof Stopped) return 'done';
      if (portion && isStatementTimeout(error)) {
        await this.#halve(operation, portion);
        return 'done';
      }
      if (isDatabaseUnavailable(error)) throw error;
      // A defect: the same portion would fail again and again.
      logger.error({ err: error, bulkOperationId: operation.id }, 'a bulk operation failed');
      await this.#end(operation, 'failed');
      return 'done';
    }
  }

  /** Of a portion that took too long: less at once may do. What takes too long by itself can not be changed. */
  async #halve(operation: Operation, portion: BulkPortion): Promise<void> {
    const hasFailed = await inTransaction(this.#options.database.hot, async (client) => {
      const locked = await lockBulkOperation(client, operation.tenant_id, operation.id);
      if (locked?.status !== 'running') return false;
      const id = await halveBulkPortion(client, operation, portion);
      if (id === undefined) return false;
      const detail = 'To change it took longer than the database may take for a statement.';
      await bookBulkPortion(client, operation, 0, [{ id, code: 'took_too_long', detail }]);
      return true;
    });
    if (hasFailed) this.#options.metrics.bulkTargets.inc({ outcome: 'failed' }, 1);
  }

  #finish(operation: Operation): Promise<void> {
    return this.#end(operation, 'succeeded');
  }

  async #end(operation: Operation, status: 'succeeded' | 'failed'): Promise<void> {
    await inTransaction(this.#options.database.hot, async (client) => {
      const locked = await lockBulkOperation(client, operation.tenant_id, operation.id);
      if (locked?.status !== 'running') return;
      await setBulkStatus(client, operation.id, status);
      await this.#conclude(client, operation, status === 'succeeded');
    });
  }

  /** Of one that ended before all was done: forgets the rest. */
  async #leave(operation: Operation): Promise<void> {
    await inTransaction(this.#options.database.hot, async (client) => {
      // A shift that has failed goes on with what it had left, when its workflow is resumed again.
      const mayGoOn = operation.status === 'failed' && readPlan(operation).plan.do === 'shift';
      if (!mayGoOn) await dropBulkPortions(client, operation.id);
      if (operation.status !== 'succeeded') await this.#conclude(client, operation, false);
    });
  }

  /** What follows an operation's end. The gates come last: they lock out all other changes of gates. */
  async #conclude(client: Transaction, operation: Operation, isWhole: boolean): Promise<void> {
    const { plan } = readPlan(operation);
    const { tenant_id: tenantId } = operation;
    if (plan.do === 'cancelRuns') {
      const key = { tenantId, kind: 'workflow' as const, name: plan.workflowId };
      if (await forgetCancel(client, key, plan.before)) await announceGates(client);
    } else if (plan.do === 'shift' && isWhole) {
      await this.#openShifted(client, operation, plan);
    }
  }

  /** All that waits in a paused workflow was moved: now it goes on. */
  async #openShifted(client: Transaction, operation: Operation, plan: Extract<BulkPlan, { do: 'shift' }>) {
    const { tenant_id: tenantId, actor, key_id: keyId, request_id: requestId } = operation;
    const gate = { kind: 'workflow' as const, name: plan.workflowId };
    // Workflows before their gates, as whoever pauses, resumes or cancels one locks them.
    await lockWorkflow(client, tenantId, plan.workflowId);
    if (!(await openGate(client, { ...gate, tenantId }))) return;
    await setWorkflowActive(client, tenantId, plan.workflowId);
    if (await hasParked(client, tenantId, nameParking(gate))) {
      await createBulkOperation(
        client,
        {
          id: createId(),
          tenantId,
          action: 'resume',
          target: 'timer',
          request: operation.request,
          // What was parked before it was shifted has been moved with the others.
          plan: { do: 'release', gate, dueTimes: 'keep', paceMs: 1000 / plan.ratePerSecond },
          source: { of: 'parked', parkedFor: nameParking(gate) },
          ratePerSecond: plan.ratePerSecond,
          origin: { actor, keyId, requestId },
        },
        this.#options.partitionCount,
      );
    }
    await announceGates(client);
  }
}
