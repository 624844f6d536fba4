import type { Database } from '../connect.ts';
import {
  LEDGER_QUERY_TIMEOUT_MS,
  type LedgerLine,
  type LedgerTotal,
  type OverdueTimer,
  readLedgerLines,
  readOverdueTimers,
  readStuckRuns,
  readUnownedPartitions,
  type StuckRun,
} from '../queries/read-ledger.ts';
import { type RunReview, readRunReview } from '../queries/run-review.ts';

/** A tenant's partition whose books do not agree with its tables. */
export interface LedgerDifference {
  tenantId: string;
  partition: number;
  /** `timers`: created against live and finished; `deadLetters`: timers that ended dead against those kept. */
  of: 'timers' | 'deadLetters';
  /** What the ledger says there must be, and what there is. */
  booked: number;
  found: number;
  /** One sentence for people. */
  detail: string;
}

/** The state of guarantee 1 at one instant. Instants in epoch ms, by the database's clock. */
export interface LedgerReport {
  readAt: number;
  /** Whether every timer ever created is live or ended in exactly one way. */
  isBalanced: boolean;
  total: LedgerTotal;
  /** At most LEDGER_LINES_MAX, those that differ first, then by tenant and partition. */
  lines: LedgerLine[];
  lineCount: number;
  /** Those of `lines`. */
  differences: LedgerDifference[];
  /** Lines that differ. */
  differenceCount: number;
  overdueAfterMs: number;
  overdueCount: number;
  /** The oldest, at most LEDGER_SAMPLES_MAX. */
  overdueTimers: OverdueTimer[];
  unownedPartitions: number[];
  stuckRunCount: number;
  stuckRuns: StuckRun[];
  review: RunReview;
}

/** A timer that waits this long past its wake time has been missed (ms): the time after which lost hints are sent again. */
export const OVERDUE_AFTER_MS_DEFAULT = 60_000;

/**
 * Reads the whole state in one snapshot: whatever is moving meanwhile, the figures are those of one instant.
 * Locks nothing. Rejects with pg's errors.
 */
export async function readLedger(
  database: Pick<Database, 'ordinary'>,
  options: { tenantId?: string; overdueAfterMs?: number } = {},
): Promise<LedgerReport> {
  const tenantId = options.tenantId ?? null;
  const overdueAfterMs = options.overdueAfterMs ?? OVERDUE_AFTER_MS_DEFAULT;
  const client = await database.ordinary.connect();
  let broken: Error | undefined;
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query(`SET LOCAL statement_timeout = ${LEDGER_QUERY_TIMEOUT_MS}`);
    const { rows } = await client.query<{ read_at: number }>('SELECT clock_timestamp() AS read_at');
    const { lines, lineCount, differenceCount, total } = await readLedgerLines(client, tenantId);
    const overdue = await readOverdueTimers(client, tenantId, overdueAfterMs);
    const stuck = await readStuckRuns(client, tenantId);
    const review = await readRunReview(client);
    const unownedPartitions = await readUnownedPartitions(client);
    await client.query('COMMIT');
    return {
      readAt: rows[0]!.read_at,
      isBalanced: differenceCount === 0,
      total,
      lines: lines.map(({ differs: _, ...line }) => line),
      lineCount,
      differences: lines.filter((line) => line.differs).flatMap(describeDifferences),
      differenceCount,
      overdueAfterMs,
      overdueCount: overdue.count,
      overdueTimers: overdue.timers,
      unownedPartitions,
      stuckRunCount: stuck.count,
      stuckRuns: stuck.runs,
      review,
    };
  } catch (error) {
    // The snapshot ends with the connection, also when the server is still busy with a query.
    broken = error as Error;
    throw error;
  } finally {
    client.release(broken);
  }
}

function describeDifferences(line: LedgerLine): LedgerDifference[] {
  const { tenantId, partition } = line;
  const live = line.scheduled + line.running + line.paused;
  const finished = line.succeeded + line.dead + line.cancelled + line.skipped;
  const differences: LedgerDifference[] = [];
  if (line.created !== live + finished) {
    const number = Math.abs(line.created - live - finished);
    const what = line.created > live + finished ? 'neither live nor finished' : 'live or finished that nobody created';
    differences.push({
      tenantId,
      partition,
      of: 'timers',
      booked: line.created,
      found: live + finished,
      detail: `${line.created} timers were created; ${live} are live and ${finished} finished: ${number} ${number === 1 ? 'is' : 'are'} ${what}.`,
    });
  }
  const kept = line.dead - line.dismissed;
  if (line.deadLetters !== kept) {
    differences.push({
      tenantId,
      partition,
      of: 'deadLetters',
      booked: kept,
      found: line.deadLetters,
      detail: `${line.dead} timers ended dead and ${line.dismissed} of them were dismissed, but there are ${line.deadLetters} dead letters.`,
    });
  }
  return differences;
}
