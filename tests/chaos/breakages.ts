import type { Check } from './judge/evidence.ts';
import type { SourceEdit } from './preload/tweaks.ts';

/** A defect put in on purpose, and the case and check that must turn red by it. */
export interface Breakage {
  name: string;
  /** What is wrong with a service that has it. */
  summary: string;
  edits: readonly SourceEdit[];
  case: string;
  check: Check;
  /** Whether it is tried in `npm test`. */
  isInTests?: boolean;
}

const DUE = ' AND t.wake_at <= clock_timestamp()';
const STATES = "state IN ('scheduled', 'paused')";
const STATES_AND_RUNNING = "state IN ('scheduled', 'paused', 'running')";

export const BREAKAGES: readonly Breakage[] = [
  {
    name: 'start-on-a-hint',
    summary: 'a start believes the hint: it asks neither for the version nor for the due time',
    edits: [
      { file: 'start-timers.ts', find: ` AND t.version = c.version${DUE}`, replace: '' },
      {
        file: 'early-hints.ts',
        find: 'const now = clock.nowAtLeast();',
        replace: 'const now = 1_000 + clock.nowAtLeast();',
      },
      {
        file: 'early-hints.ts',
        find: 'const now = clock.nowAtLeast();',
        replace: 'const now = 1_000 + clock.nowAtLeast();',
      },
    ],
    case: 'none',
    check: 'early',
    isInTests: true,
  },
  {
    name: 'no-backoff',
    summary: 'a retry does not wait',
    edits: [
      {
        file: 'finish-timers.ts',
        find: 'wake_at = clock_timestamp() + o.wait_ms',
        replace: 'wake_at = clock_timestamp() + 0 * o.wait_ms',
      },
    ],
    case: 'none',
    check: 'early',
  },
  {
    name: 'cancel-of-the-started',
    summary: 'a cancel is acknowledged although the attempt has started',
    edits: [{ file: 'queries/cancel-timers.ts', find: STATES, replace: STATES_AND_RUNNING }],
    case: 'race:edits-and-cancels',
    check: 'overtaken',
  },
  {
    name: 'edit-of-the-started',
    summary: 'an edit is acknowledged although the attempt has started',
    edits: [{ file: 'queries/change-timers.ts', find: STATES, replace: STATES_AND_RUNNING }],
    case: 'race:edits-and-cancels',
    check: 'repeated',
  },
  {
    name: 'no-lease',
    summary: 'the lease of an attempt ends as it begins',
    edits: [
      {
        file: 'start-timers.ts',
        find: '(coalesce(t.timeout_ms, $3::int) + $4::int)',
        replace: '(0 * $3::int + 0 * $4::int)',
      },
    ],
    case: 'none',
    check: 'repeated',
  },
  {
    name: 'retry-not-counted',
    summary: 'a retry gives its attempt back',
    edits: [
      {
        file: 'finish-timers.ts',
        find: "SET state = 'scheduled', version = t.version + 1, lost = 0,",
        replace: "SET state = 'scheduled', version = t.version + 1, lost = 0, attempt = t.attempt - 1,",
      },
    ],
    case: 'none',
    check: 'lost',
  },
  {
    name: 'answer-before-commit',
    summary: 'new timers are acknowledged before they are committed',
    edits: [
      {
        file: 'write-batcher.ts',
        find: 'results = await this.#options.store(batch.map((waiting) => waiting.item));',
        replace:
          'results = batch.map(() => true as never); this.#options.store(batch.map((waiting) => waiting.item)).catch(() => {});',
      },
    ],
    case: 'postgres:kill',
    check: 'lost',
    isInTests: true,
  },
  {
    name: 'no-sweep',
    summary: 'schedulers look at each timer once',
    edits: [{ file: 'read-ahead.ts', find: 'if (slice.length > 0)', replace: 'if (slice.length > 1_000)' }],
    case: 'redis:flush',
    check: 'lost',
  },
  {
    name: 'slow-sweep',
    summary: 'a lost hint is looked for only after 80 s, or up to twice as late',
    edits: [
      {
        file: 'read-ahead.ts',
        find: 'if (now - this.#rotatedAt >= redispatchAfterMs)',
        replace: 'if (now - this.#rotatedAt >= redispatchAfterMs * 16)',
      },
    ],
    case: 'redis:flush',
    check: 'late',
  },
  {
    name: 'ledger-forgets-the-dead',
    summary: 'dead letters are not entered in the ledger',
    edits: [{ file: 'finish-timers.ts', find: "count(*) FILTER (WHERE state = 'dead')", replace: '0' }],
    case: 'none',
    check: 'ledger',
  },
  {
    name: 'review-of-the-living',
    summary: 'the reviewer takes runs that move for stuck ones',
    edits: [
      { file: 'queries/run-review.ts', find: 'WHERE t.one IS NULL', replace: '' },
      {
        file: 'mend-runs.repository.ts',
        find: "if (run?.status !== 'running' || (await hasLiveTimer(client, runId))) return undefined;",
        replace: "if (run?.status !== 'running') return undefined;",
      },
    ],
    case: 'review:all-the-time',
    check: 'lost',
  },
  {
    name: 'patient-api',
    summary: 'the api waits for Postgres as long as it takes',
    edits: [
      {
        file: 'database/connect.ts',
        find: 'const queryTimeoutMs = options.queryTimeoutMs ?? QUERY_TIMEOUT_MS_DEFAULT;',
        replace: 'const queryTimeoutMs = 60_000;',
      },
      {
        file: 'answer-deadline.ts',
        find: "if (!reply.sent) reply.send(createOverloaded('There was no time for it; it may have been done all the same.'));",
        replace: '',
      },
    ],
    case: 'freeze:postgres',
    check: 'answers',
  },
  {
    name: 'talkative',
    summary: 'each failure is a line in the log',
    edits: [{ file: 'limit-rate.ts', find: 'if (performance.now() - actedAt < intervalMs) return;', replace: '' }],
    case: 'postgres:disk-full',
    check: 'logs',
  },
  {
    name: 'ends-without-redis',
    summary: 'a scheduler or a worker ends when Redis is away, and leaves it to the orchestrator to begin anew',
    edits: ['scheduler-service/scheduler.ts', 'worker-service/worker.ts'].map((file) => ({
      file,
      find: 'warnSeldom(error, describeOutage(config))',
      replace: 'process.exit(error ? 1 : 0)',
    })),
    case: 'redis:restart-with-data',
    check: 'ends',
  },
  {
    name: 'deaf-to-gates',
    summary: 'a worker reads the gates when it starts, and never again',
    edits: [
      {
        file: 'worker-service/gates.ts',
        find: 'if (look.epoch === this.#epoch && look.heeded !== null && look.heeded >= this.#epoch) {',
        replace: 'if (this.#epoch >= 0) {',
      },
    ],
    case: 'pause:kills',
    check: 'overtaken',
  },
  {
    name: 'portion-apart',
    summary: 'what a portion of a bulk operation changes is committed before the portion is taken away',
    edits: [
      {
        file: 'system/bulk-operation.ts',
        find: 'const { done, failures } = await doBulkPortion(client, workflowVersions, operation, portion.ids);',
        replace:
          'const { ids } = portion; const { done, failures } = await inTransaction(database.hot, (own) => doBulkPortion(own, workflowVersions, operation, ids));',
      },
    ],
    case: 'crash:worker.bulk-changed',
    check: 'repeated',
  },
  {
    name: 'last-element-forgotten',
    summary: 'a task that runs once per element leaves out the last',
    edits: [
      {
        file: 'repositories/run-facts.ts',
        find: 'return Array.isArray(elements) ? elements.length : elements;',
        replace: 'return Array.isArray(elements) ? Math.max(0, elements.length - 1) : elements;',
      },
    ],
    case: 'mapped:kills',
    check: 'lost',
  },
  {
    name: 'lapse-counts',
    summary: 'a lease that lapsed costs its task an attempt',
    edits: [
      {
        file: 'queries/lease-timers.ts',
        find: 'SET version = t.version + 1, lost = t.lost + 1, wake_at = t.lease_ends_at,',
        replace: 'SET version = t.version + 1, attempt = t.attempt + 1, lost = t.lost + 1, wake_at = t.lease_ends_at,',
      },
    ],
    case: 'pull:kills',
    check: 'lost',
  },
  {
    name: 'kept-signals-forgotten',
    summary: 'a task that begins to wait does not look for signals that came before',
    edits: [
      {
        file: 'run-progress.repository.ts',
        find: 'await deliverSignals(client, await listWishes(client, versions, [...timers, ...parked]));',
        replace: '',
      },
    ],
    case: 'none',
    check: 'lost',
  },
];
