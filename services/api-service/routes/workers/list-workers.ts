import { listOf, WorkerInstance } from '@punctual/contracts';
import { listInstances } from '@punctual/database';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { InstanceQuery, renderInstance, renderInstancePage } from './instance-page.ts';

const schema = {
  tags: ['operators'],
  summary: 'List the workers that are alive',
  description: 'Those heard of within the last 3 seconds.',
  querystring: InstanceQuery,
  response: { 200: listOf(WorkerInstance) },
};

export function registerListWorkers(app: ApiServer, context: ApiContext): void {
  app.get('/v1/workers', { schema, config: { scope: 'operator' } }, async (request, reply) => {
    const instances = await listInstances(context.database, 'worker');
    return sendAnswer(reply, { status: 200, body: renderInstancePage(instances, request.query, renderInstance) });
  });
}
