import {
  type Database,
  GATES_KNOWN_FOR_MS,
  type Gate,
  type GateKey,
  type GateKind,
  heedGates,
  lookAtGates,
  readAllGates,
  readMonotonicMs,
} from '@punctual/database';
import { Loop } from '@punctual/runtime';
import type { WorkerMetrics } from './metrics.ts';

/** What an attempt passes on its way: what of it may be held back. */
export interface GateSubject {
  tenantId: string;
  workflowId: string | null;
  origin?: string;
  queue?: string;
  /** When its run was created (epoch ms, database's clock); absent while nobody has asked. */
  runCreatedAt?: number;
}

/** What the attempts ask. */
export interface AttemptGates {
  /**
   * Whether a request of this subject may begin at this very moment. False as well when what is known of the gates is too
   * old, or when the age of the run would have to be known.
   */
  mayBegin(subject: GateSubject): boolean;
  /** Looks at the gates again if what is known of them is too old. Rejects when Postgres does not answer. */
  refresh(): Promise<void>;
  /** Whether it depends on the age of the run, which the subject does not tell. */
  needsRunAge(subject: GateSubject): boolean;
}

/**
 * Between two looks at the gates (ms): with it, a pause is heeded within that time, and the api can answer it. A look is a
 * read of two rows by their keys, 40 µs of Postgres.
 */
const LOOK_INTERVAL_MS = 40;
const ERROR_PAUSE_MS = 100;
/**
 * After all gates were read, and more than a few are there, the next look waits longer (ms a gate, up to the maximum): however often
 * they change, a third of a processor at most goes to it, and nothing worth telling with the hundreds that are usual. The
 * maximum is well within GATES_KNOWN_FOR_MS.
 */
const READ_PAUSE_MS_PER_GATE = 0.01;
const READ_PAUSE_MS_MAX = 500;
/** Until a timer is started again that only old knowledge held back (ms): what is old may stay so while Postgres answers, too. */
const STALE_PAUSE_MS = 1_000;

export interface GatesOptions {
  database: Database;
  instanceId: string;
  onError: (error: unknown) => void;
  metrics: WorkerMetrics;
}

/**
 * What this worker knows of the gates, of all tenants. It says in the database up to which epoch it heeds them, and acts on
 * what it knows for GATES_KNOWN_FOR_MS after a look that found nothing new. So whoever closes a gate is sure that no
 * request begins any more when every worker has said so, or when that time has passed (docs/decisions/0026).
 * Killed or frozen, it leaves others waiting for that time at most.
 */
export class Gates implements AttemptGates {
  readonly loop: Loop;
  readonly #options: GatesOptions;
  /** By tenant, kind and name. */
  #gates = new Map<string, Gate>();
  #epoch = -1;
  /** When the last look that confirmed all this was begun (monotonic ms). */
  #confirmedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;
  /** Gates that the last look read; 0 when nothing was new. */
  #justRead = 0;

  constructor(options: GatesOptions) {
    this.#options = options;
    this.loop = new Loop({
      name: 'gates',
      run: () => this.#look(),
      pauseMs: () => Math.min(READ_PAUSE_MS_MAX, LOOK_INTERVAL_MS + READ_PAUSE_MS_PER_GATE * this.#justRead),
      errorPauseMs: ERROR_PAUSE_MS,
      onError: options.onError,
    });
  }

  mayBegin(subject: GateSubject): boolean {
    if (!this.#isFresh) return false;
    return this.#gates.size === 0 || !listGateKeys(subject).some((key) => this.#holds(key, subject));
  }

  needsRunAge(subject: GateSubject): boolean {
    if (subject.runCreatedAt !== undefined || subject.workflowId === null) return false;
    const { tenantId, workflowId } = subject;
    const gate = this.#gates.get(nameKey({ tenantId, kind: 'workflow', name: workflowId }));
    return gate?.cancelledBefore != null;
  }

  async refresh(): Promise<void> {
    if (!this.#isFresh) await this.#look();
  }

  /** How long a timer waits that was held back here, and that nothing holds back in the database (ms). */
  get freePauseMs(): number {
    return this.#isFresh ? 0 : STALE_PAUSE_MS;
  }

  get #isFresh(): boolean {
    return readMonotonicMs() - this.#confirmedAt < GATES_KNOWN_FOR_MS;
  }

  #holds(key: GateKey, { runCreatedAt }: GateSubject): boolean {
    const gate = this.#gates.get(nameKey(key));
    if (!gate) return false;
    if (gate.pausedAt !== null) return true;
    return gate.cancelledBefore !== null && (runCreatedAt === undefined || runCreatedAt < gate.cancelledBefore);
  }

  // One at a time: whoever asks meanwhile hears what that one finds.
  #look(): Promise<void> {
    this.#looking ??= this.#lookOnce().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #lookOnce(): Promise<void> {
    const { database, instanceId, metrics } = this.#options;
    const askedAt = readMonotonicMs();
    const look = await lookAtGates(database.relaxed, instanceId);
    if (look.epoch === this.#epoch && look.heeded !== null && look.heeded >= this.#epoch) {
      if (look.isHeard) this.#confirmedAt = askedAt;
      this.#justRead = 0;
      return;
    }
    const readAt = readMonotonicMs();
    const { epoch, gates } = await readAllGates(database.relaxed);
    this.#gates = new Map(gates.map((gate) => [nameKey(gate), gate]));
    this.#epoch = epoch;
    this.#justRead = gates.length;
    metrics.gates.set(gates.length);
    // From here on what it says is true. Until it is said, whoever closes a gate goes on waiting.
    await heedGates(database.relaxed, instanceId, epoch);
    if (look.isHeard) this.#confirmedAt = readAt;
  }
}

function nameKey({ tenantId, kind, name }: GateKey): string {
  return `${tenantId} ${kind} ${name}`;
}

/** The gates through which a subject has to go, whether they are there or not. */
export function listGateKeys({ tenantId, workflowId, origin, queue }: GateSubject): GateKey[] {
  const names: [GateKind, string | null | undefined][] = [
    ['workflow', workflowId],
    ['origin', origin],
    ['queue', queue],
  ];
  return names.flatMap(([kind, name]) => (name == null ? [] : [{ tenantId, kind, name }]));
}
