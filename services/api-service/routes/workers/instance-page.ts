import { CLOSED, Page } from '@punctual/contracts';
import type { LiveInstance } from '@punctual/database';
import { Type } from 'typebox';
import { readCreatedPage, renderCreatedPage } from '../../created-list.ts';

/** The query of a list of instances. */
export const InstanceQuery = Type.Object(Page, CLOSED);

/** One page of a list that was read whole, in the order `(startedAt, id)`. */
export function renderStartedPage<Item extends { id: string; startedAt: string }>(
  items: readonly Item[],
  query: { limit?: number; cursor?: string },
) {
  const { limit, after } = readCreatedPage(query);
  const rows = items.map((item) => ({ id: item.id, created_at: Date.parse(item.startedAt), item }));
  const behind = rows
    .filter(({ created_at: at, id }) => !after || at > after.createdAt || (at === after.createdAt && id > after.id))
    .toSorted((a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1));
  return renderCreatedPage({ rows: behind.slice(0, limit), hasMore: behind.length > limit }, ({ item }) => item);
}

/** An instance of a service as the api shows it; `isDone`: it has nothing in hand any more. */
export function renderInstance(instance: LiveInstance, isDone: boolean) {
  const drainedSince = instance.drain_requested_at;
  return {
    id: instance.id,
    host: instance.host,
    pid: instance.pid,
    version: instance.version,
    status: drainedSince === null ? 'running' : isDone ? 'drained' : 'draining',
    ...(drainedSince !== null && { drainRequestedAt: new Date(drainedSince).toISOString() }),
    startedAt: new Date(instance.started_at).toISOString(),
    heartbeatAt: new Date(instance.heartbeat_at).toISOString(),
    details: instance.details,
  };
}

/** A worker as the api shows it. */
export function renderWorker(instance: LiveInstance) {
  const isDone = instance.details.drainedFor === instance.drain_requested_at;
  return { kind: 'service', ...renderInstance(instance, isDone) };
}
