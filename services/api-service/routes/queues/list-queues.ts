import { CLOSED, listOf, QueueInfo } from '@punctual/contracts';
import { Type } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { ProblemError } from '../../problem.ts';

const schema = {
  tags: ['operators'],
  summary: 'List the queues between schedulers and workers',
  description: 'Empty when this api was not told of the queue; 503 when the queue can not be reached.',
  querystring: Type.Object({}, CLOSED),
  response: { 200: listOf(QueueInfo), ...refuse({ 503: ['queue_unavailable'] }) },
};

export function registerListQueues(app: ApiServer, context: ApiContext): void {
  app.get('/v1/queues', { schema, config: { scope: 'operator' } }, async (_request, reply) => {
    const data = context.readQueues ? await readQueues(context.readQueues) : [];
    return sendAnswer(reply, { status: 200, body: { data, nextCursor: null } });
  });
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
