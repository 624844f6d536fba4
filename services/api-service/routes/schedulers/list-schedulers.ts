import { listOf, SchedulerInstance } from '@punctual/contracts';
import { type LiveInstance, listInstances } from '@punctual/database';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { InstanceQuery, renderInstance, renderInstancePage } from '../workers/instance-page.ts';

const schema = {
  tags: ['operators'],
  summary: 'List the schedulers that are alive, with the partitions that each owns',
  description: 'Those heard of within the last 3 seconds.',
  querystring: InstanceQuery,
  response: { 200: listOf(SchedulerInstance) },
};

export function registerListSchedulers(app: ApiServer, context: ApiContext): void {
  app.get('/v1/schedulers', { schema, config: { scope: 'operator' } }, async (request, reply) => {
    const instances = await listInstances(context.database, 'scheduler');
    return sendAnswer(reply, { status: 200, body: renderInstancePage(instances, request.query, renderScheduler) });
  });
}

function renderScheduler(instance: LiveInstance) {
  return { ...renderInstance(instance), partitions: instance.partitions };
}
