import { CLOSED, Page } from '@punctual/contracts';
import type { LiveInstance } from '@punctual/database';
import { Type } from 'typebox';
import { readCreatedPage, renderCreatedPage } from '../../created-list.ts';

/** The query of a list of instances. */
export const InstanceQuery = Type.Object(Page, CLOSED);

/** One page of instances that were read whole, in the order `(startedAt, id)`. */
export function renderInstancePage(
  instances: readonly LiveInstance[],
  query: { limit?: number; cursor?: string },
  render: (instance: LiveInstance) => unknown,
) {
  const { limit, after } = readCreatedPage(query);
  const behind = instances.filter(
    ({ started_at: at, id }) => !after || at > after.createdAt || (at === after.createdAt && id > after.id),
  );
  const rows = behind.slice(0, limit).map((instance) => ({ ...instance, created_at: instance.started_at }));
  return renderCreatedPage({ rows, hasMore: behind.length > limit }, render);
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
