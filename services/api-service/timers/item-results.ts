import { type Queryable, shareAnswerBytes, type TimerRecord } from '@punctual/database';
import type { ApiContext } from '../context.ts';
import type { Answer } from '../plugins/idempotency.ts';
import { renderProblem } from '../plugins/problems.ts';
import { ProblemError } from '../problem.ts';
import { renderRecord } from './read-timers.ts';

/** What became of one timer of a request: its JSON text, shortened when it was large beside others, or why not. */
export type ItemResult = { status: number; timer: string; isShortened?: boolean } | { error: ProblemError };

/** A timer as the answer to one of `count` requests for timers that are answered together shows it. */
export async function showAmong(
  count: number,
  context: Pick<ApiContext, 'workflowVersions'>,
  record: TimerRecord,
  database: Queryable,
  status = 200,
): Promise<ItemResult> {
  const timer = await renderRecord(context, record, database, shareAnswerBytes(count));
  // A payload may say the same: then the timer is read once more, to no harm.
  return { status, timer, isShortened: timer.includes('"omitted":[') };
}

/** The answer to a batch: 207 with one result an item, in the order of the request. */
export function createBatchAnswer(results: readonly ItemResult[], requestId: string): Answer {
  return { status: 207, body: `{"results":${renderResults(results, requestId)}}` };
}

/** The results as a JSON list. */
export function renderResults(results: readonly ItemResult[], requestId: string): string {
  const texts = results.map((result) =>
    'error' in result
      ? `{"status":${result.error.status},"error":${JSON.stringify(renderProblem(result.error, requestId))}}`
      : `{"status":${result.status},"timer":${result.timer}}`,
  );
  return `[${texts.join(',')}]`;
}

/** The answer to a request for one timer. Throws what went wrong. */
export function createSingleAnswer(result: ItemResult): Answer {
  if ('error' in result) throw result.error;
  return { status: result.status, body: result.timer };
}

/** Why a timer can not be changed, fired or cancelled; undefined when nothing stands in the way. */
export function findObstacle(record: Pick<TimerRecord, 'state'>): ProblemError | undefined {
  if (record.state === 'scheduled' || record.state === 'paused') return undefined;
  if (record.state === 'running') {
    return new ProblemError(
      409,
      'timer_already_started',
      'An attempt of the timer has started; it is too late for this.',
    );
  }
  return new ProblemError(409, 'timer_finished', `The timer has ended: it is ${record.state}.`);
}

/**
 * How often an action is tried again on a timer that changed between being read and being written. Each round means that
 * somebody else succeeded; nine in a row are a sign of something that never rests.
 */
export const ROUNDS_MAX = 10;

/** The answer when a timer kept changing for ROUNDS_MAX rounds. */
export function createRestless(): ProblemError {
  return new ProblemError(409, 'timer_changing', 'The timer is being changed by others all the time; try again.', {
    headers: { 'retry-after': '1' },
  });
}
