import { acquirePartitionLeases, beatServiceInstance, type DrainableRole } from '@punctual/database';
import { createId } from '@punctual/domain';
import type { Change } from './audited-changes.ts';
import type { TestApi } from './open-test-api.ts';
import { UNKNOWN_ID } from './timer-steps.ts';

/** An instance that is alive, as a process of ours is that beats every second. */
export async function beat(api: TestApi, role: DrainableRole, details: object = {}): Promise<string> {
  const instance = { id: createId(), role, host: 'host-1', pid: 42, version: '0.1.0', details: { ...details } };
  await beatServiceInstance(api.testDatabase.database.hot, instance);
  // It stays so for the time of a test.
  await api.testDatabase.database.ordinary.query(
    `UPDATE service_instances SET heartbeat_at = clock_timestamp() + interval '1 minute' WHERE id = $1`,
    [instance.id],
  );
  return instance.id;
}

const drain = (role: DrainableRole) => async (api: TestApi) => {
  const id = await beat(api, role);
  await beat(api, role);
  const idle = [{ status: 200 }, { url: `/v1/${role}s/${UNKNOWN_ID}/drain`, status: 404 }];
  return { action: `${role}.drain`, url: `/v1/${role}s/${id}/drain`, body: {}, targets: [id], idle };
};

const resume = (role: DrainableRole) => async (api: TestApi) => {
  const id = await beat(api, role);
  await api.request('POST', `/v1/${role}s/${id}/drain`, { force: true });
  const idle = [{ status: 200 }, { url: `/v1/${role}s/${UNKNOWN_ID}/resume`, status: 404 }];
  return { action: `${role}.resume`, url: `/v1/${role}s/${id}/resume`, targets: [id], idle };
};

/** The routes that steer processes. */
export const STEERING: Record<string, (api: TestApi) => Promise<Change>> = {
  'POST /v1/workers/{id}/drain': drain('worker'),
  'POST /v1/workers/{id}/resume': resume('worker'),
  'POST /v1/schedulers/{id}/drain': drain('scheduler'),
  'POST /v1/schedulers/{id}/resume': resume('scheduler'),
  'POST /v1/schedulers/rebalance': async (api) => {
    const { hot } = api.testDatabase.database;
    await beat(api, 'scheduler');
    // One that is gone, and whose leases have not ended.
    const gone = createId();
    await acquirePartitionLeases(hot, gone, 2, 60_000);
    return {
      action: 'schedulers.rebalance',
      url: '/v1/schedulers/rebalance',
      targets: [gone],
      idle: [{ status: 200 }],
    };
  },
};
