import type { Queryable } from '../connect.ts';
import type { AttemptOutcome } from '../queries/finish-timers.ts';

/** One attempt, as it is shown. Instants in epoch ms. */
export interface ShownAttempt {
  attempt: number;
  startedAt: number;
  finishedAt: number;
  latenessMs: number | null;
  durationMs: number | null;
  outcome: AttemptOutcome;
  httpStatus: number | null;
  error: string | null;
  responseBody: string | null;
}

const COLUMNS = `attempt, started_at AS "startedAt", finished_at AS "finishedAt", lateness_ms AS "latenessMs",
  duration_ms AS "durationMs", outcome, http_status AS "httpStatus", error, response_body AS "responseBody"`;

/**
 * The attempts of a timer that have ended, oldest first: those before the last stand in a table of their own, the last
 * in the row of the timer that ended. One statement, so one snapshot (IS NOT DISTINCT FROM: see `cancel_timers`). At most `limit`, behind `offset` others: a
 * timer has few.
 */
export async function listAttempts(
  database: Queryable,
  tenantId: string,
  timerId: string,
  page: { limit: number; offset: number },
): Promise<ShownAttempt[]> {
  const { rows } = await database.query<ShownAttempt>(
    `SELECT ${COLUMNS} FROM attempts WHERE timer_id = $2 AND tenant_id IS NOT DISTINCT FROM $1::uuid
     UNION ALL SELECT ${COLUMNS} FROM dead_letters WHERE id = $2 AND tenant_id IS NOT DISTINCT FROM $1::uuid AND outcome IS NOT NULL
     UNION ALL SELECT ${COLUMNS} FROM finished_timers WHERE id = $2 AND tenant_id IS NOT DISTINCT FROM $1::uuid AND outcome IS NOT NULL
     ORDER BY "finishedAt", attempt LIMIT $3 OFFSET $4`,
    [tenantId, timerId, page.limit, page.offset],
  );
  return rows;
}
