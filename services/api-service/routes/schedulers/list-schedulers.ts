import { listOf, SchedulerInstance } from '@punctual/contracts';
import { type Database, type LiveInstance, listInstances, readUpcoming, type Upcoming } from '@punctual/database';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { sendAnswer } from '../../plugins/idempotency.ts';
import { InstanceQuery, renderInstance, renderStartedPage } from '../workers/instance-page.ts';

const schema = {
  tags: ['operators'],
  summary: 'List the schedulers that are alive, with the partitions that each owns and what comes due there next',
  description: 'Those heard of within the last 3 seconds.',
  querystring: InstanceQuery,
  response: { 200: listOf(SchedulerInstance) },
};

export function registerListSchedulers(app: ApiServer, context: ApiContext): void {
  app.get('/v1/schedulers', { schema, config: { scope: 'operator' } }, async (request, reply) => {
    const schedulers = await readSchedulers(context.database);
    return sendAnswer(reply, { status: 200, body: renderStartedPage(schedulers, request.query) });
  });
}

/** All that are alive, as the api shows them. */
export async function readSchedulers(database: Pick<Database, 'kysely' | 'hot'>) {
  const instances = await listInstances(database, 'scheduler');
  const upcoming = new Map((await readUpcoming(database.hot)).map((one) => [one.partition, one]));
  return instances.map((instance) => renderScheduler(instance, upcoming));
}

function renderScheduler(instance: LiveInstance, upcoming: ReadonlyMap<number, Upcoming>) {
  const { partitions } = instance;
  const own = partitions.flatMap((partition) => upcoming.get(partition) ?? []);
  const wakes = own.flatMap(({ nextWakeAt }) => nextWakeAt ?? []);
  return {
    ...renderInstance(instance, partitions.length === 0),
    partitions,
    ...(wakes.length > 0 && { nextWakeAt: new Date(Math.min(...wakes)).toISOString() }),
    dueWithinMinute: own.reduce((sum, { withinMinute }) => sum + withinMinute, 0),
  };
}
