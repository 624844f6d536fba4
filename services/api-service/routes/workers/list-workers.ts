import { CLOSED, listOf, Page, PullWorkerInfo, WORKER_KINDS, WorkerInstance } from '@punctual/contracts';
import { listInstances, listPullWorkers, type PullWorker } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { renderStartedPage, renderWorker } from './instance-page.ts';

const schema = {
  tags: ['operators'],
  summary: 'List the workers: our own that are alive, and the pull workers of customers',
  description:
    'Our own are those heard of within the last 3 seconds. Of customers the 1,000 seen last within the hour, with what they hold.',
  querystring: Type.Object({ ...Page, kind: Type.Optional(Type.Enum([...WORKER_KINDS])) }, CLOSED),
  response: { 200: listOf(Type.Union([WorkerInstance, PullWorkerInfo])) },
};

export function registerListWorkers(app: ApiServer, context: ApiContext): void {
  app.get('/v1/workers', { schema, config: { scope: 'operator' } }, async (request, reply) => {
    const { kind } = request.query;
    const { database } = context;
    const own = kind === 'pull' ? [] : await listInstances(database, 'worker');
    const others = kind === 'service' ? [] : await listPullWorkers(database.hot);
    const workers = [...own.map(renderWorker), ...others.map(renderPullWorker)];
    return sendAnswer(reply, { status: 200, body: renderStartedPage(workers, request.query) });
  });
}

function renderPullWorker(worker: PullWorker) {
  const { id, tenantId, queue, workerId, tasksHeld, leaseEndsAt, firstSeenAt, lastSeenAt } = worker;
  const lease = leaseEndsAt === null ? {} : { leaseEndsAt: new Date(leaseEndsAt).toISOString() };
  const startedAt = new Date(firstSeenAt).toISOString();
  const seenAt = new Date(lastSeenAt).toISOString();
  return { kind: 'pull', id, tenantId, queue, workerId, tasksHeld, ...lease, startedAt, lastSeenAt: seenAt };
}
