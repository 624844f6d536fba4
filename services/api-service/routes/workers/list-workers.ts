import { listOf, Problem, WorkerInstance } from '@punctual/contracts';
import { type LiveInstance, listInstances } from '@punctual/database';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';

const schema = {
  tags: ['operators'],
  summary: 'List the workers that are alive',
  description: 'Those heard of within the last 5 seconds, all on one page.',
  response: { 200: listOf(WorkerInstance), default: Problem },
};

export function registerListWorkers(app: ApiServer, context: ApiContext): void {
  app.get('/v1/workers', { schema, config: { scope: 'admin' } }, async (_request, reply) => {
    const instances = await listInstances(context.database, 'worker');
    return sendAnswer(reply, { status: 200, body: { data: instances.map(renderInstance), nextCursor: null } });
  });
}

/** An instance of a service as the api shows it. */
export function renderInstance(instance: LiveInstance) {
  return {
    id: instance.id,
    host: instance.host,
    pid: instance.pid,
    version: instance.version,
    startedAt: new Date(instance.started_at).toISOString(),
    heartbeatAt: new Date(instance.heartbeat_at).toISOString(),
    details: instance.details,
  };
}
