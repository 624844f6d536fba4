import { CLOSED, Id, Ledger } from '@punctual/contracts';
import { LEDGER_QUERY_TIMEOUT_MS, type LedgerReport, OVERDUE_AFTER_MS_DEFAULT, readLedger } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { allowWait } from '../../plugins/answer-deadline.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';

/** A day: what waits longer shows up in the default view anyway. */
const OVERDUE_AFTER_MS_MAX = 86_400_000;

const schema = {
  tags: ['operators'],
  summary: 'Prove that no timer was lost',
  description:
    'In one snapshot: every timer created must be live or finished in exactly one way. Reads all live timers: seconds where there are tens of millions, two minutes at most.',
  querystring: Type.Object(
    {
      tenantId: Type.Optional(Id),
      overdueAfterMs: Type.Optional(
        Type.Integer({ minimum: 0, maximum: OVERDUE_AFTER_MS_MAX, default: OVERDUE_AFTER_MS_DEFAULT }),
      ),
    },
    CLOSED,
  ),
  response: { 200: Ledger },
};

export function registerReadLedger(app: ApiServer, context: ApiContext): void {
  app.get('/v1/ledger', { schema, config: { scope: 'operator' } }, async (request, reply) => {
    // It has more to read the more there is, and who asks wants to know, however long that takes.
    allowWait(request, reply, context, LEDGER_QUERY_TIMEOUT_MS);
    const report = await readLedger(context.database, request.query);
    return sendAnswer(reply, { status: 200, body: renderLedger(report) });
  });
}

function renderLedger(report: LedgerReport) {
  return {
    ...report,
    readAt: new Date(report.readAt).toISOString(),
    overdueTimers: report.overdueTimers.map(({ state, wakeAt, ...timer }) => ({
      ...timer,
      status: state,
      wakeAt: new Date(wakeAt).toISOString(),
    })),
    review: {
      ...report.review,
      endedAt: report.review.endedAt === null ? null : new Date(report.review.endedAt).toISOString(),
    },
    stuckRuns: report.stuckRuns.map((run) => ({ ...run, createdAt: new Date(run.createdAt).toISOString() })),
  };
}
