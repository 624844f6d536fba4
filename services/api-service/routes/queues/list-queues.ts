import { CLOSED, listOf, QueueInfo } from '@punctual/contracts';
import { readTaskQueues, type TaskQueueFigures } from '@punctual/database';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { ProblemError } from '../../problem.ts';

const schema = {
  tags: ['operators'],
  summary: 'List the queues between schedulers and workers, and those of pull workers',
  description:
    'Of the former none when this api was not told of the queue; 503 when it can not be reached. Of the latter the first 200 that hold anything, by tenant and name.',
  querystring: Type.Object({}, CLOSED),
  response: { 200: listOf(QueueInfo), ...refuse({ 503: ['queue_unavailable'] }) },
};

export function registerListQueues(app: ApiServer, context: ApiContext): void {
  app.get('/v1/queues', { schema, config: { scope: 'operator' } }, async (_request, reply) => {
    const queues = context.readQueues ? await readQueues(context.readQueues) : [];
    const data = [...queues, ...(await readTaskQueues(context.database.hot)).map(renderTaskQueue)];
    return sendAnswer(reply, { status: 200, body: { data, nextCursor: null } });
  });
}

function renderTaskQueue({ tenantId, queue, waiting, leased, nextDueAt, isCapped }: TaskQueueFigures): QueueInfo {
  const next = nextDueAt === null ? {} : { nextDueAt: new Date(nextDueAt).toISOString() };
  return { name: queue, backend: 'tasks', tenantId, waiting, active: leased, isCapped, ...next };
}

async function readQueues(read: () => Promise<QueueInfo[]>): Promise<QueueInfo[]> {
  try {
    return await read();
  } catch (error) {
    const problem = new ProblemError(503, 'queue_unavailable', 'The queue can not be reached at the moment.', {
      headers: { 'retry-after': '1' },
    });
    problem.cause = error;
    throw problem;
  }
}
