import { listOf, Problem, SchedulerInstance } from '@punctual/contracts';
import { listInstances } from '@punctual/database';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { renderInstance } from '../workers/list-workers.ts';

const schema = {
  tags: ['operators'],
  summary: 'List the schedulers that are alive, with the partitions that each owns',
  description: 'Those heard of within the last 5 seconds, all on one page.',
  response: { 200: listOf(SchedulerInstance), default: Problem },
};

export function registerListSchedulers(app: ApiServer, context: ApiContext): void {
  app.get('/v1/schedulers', { schema, config: { scope: 'admin' } }, async (_request, reply) => {
    const instances = await listInstances(context.database, 'scheduler');
    const data = instances.map((instance) => ({ ...renderInstance(instance), partitions: instance.partitions }));
    return sendAnswer(reply, { status: 200, body: { data, nextCursor: null } });
  });
}
