import { createId } from '@punctual/domain';
import { withoutFaults } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const noop = { type: 'noop' };

async function createWorkflow(tasks: unknown[], headers?: Record<string, string>): Promise<string> {
  const answer = await api.request('POST', '/v1/workflows', { name: 'w', tasks }, headers);
  expect(answer.status).toBe(201);
  return answer.body.id;
}

async function begin(workflowId: string, fields: object = {}) {
  const answer = await api.request('POST', '/v1/runs', { workflowId, ...fields });
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}

const read = async (id: string) => (await api.request('GET', `/v1/runs/${id}`)).body;

const diamond = [
  { key: 'a', action: noop },
  { key: 'b', after: ['a'], action: noop },
  { key: 'c', after: ['a'], delay: { type: 'duration', value: 1, unit: 'hours' }, action: noop },
  { key: 'd', after: ['b', 'c'], action: noop },
];

interface ShownTask {
  key: string;
  status: string;
}

const statuses = (run: { tasks: ShownTask[] }) => Object.fromEntries(run.tasks.map((task) => [task.key, task.status]));

describe('a batch', () => {
  test('begins its runs in order, refuses bad ones one by one, and finds those that exist', async () => {
    const workflowId = await createWorkflow(diamond);
    const known = await begin(workflowId, { externalId: 'known' });
    const items = [
      { input: 'first' },
      { externalId: 'known' },
      { color: 'red' },
      { externalId: 'twice', input: 1 },
      { input: 'x'.repeat(65_535) },
      { externalId: 'twice', input: 2 },
      7,
      { labels: { a: 1 } },
      {},
    ];
    const answer = await api.request('POST', '/v1/runs/batch', { workflowId, runs: items });
    expect(answer.status).toBe(207);
    const { results } = answer.body;
    expect(results.map(({ status }: { status: number }) => status)).toEqual([
      201, 200, 400, 201, 400, 200, 400, 400, 201,
    ]);
    expect(results[0].run).toMatchObject({ input: 'first', status: 'running' });
    expect(statuses(results[0].run)).toEqual({ a: 'scheduled', b: 'pending', c: 'pending', d: 'pending' });
    expect(results[1].run).toEqual(known);
    expect(results[5].run).toEqual(results[3].run);
    const pointers = [2, 4, 6, 7].map((index) => results[index].error.errors[0].pointer);
    expect(pointers).toEqual(['/color', '/input', '', '/labels/a']);
    for (const index of [0, 3, 8]) expect(await read(results[index].run.id)).toEqual(results[index].run);
    expect((await api.request('GET', `/v1/runs?workflowId=${workflowId}`)).body.data).toHaveLength(4);
  });

  test('of a thousand runs is stored by a few statements', async () => {
    const workflowId = await createWorkflow(diamond);
    const counted = countQueries();
    const body = { workflowId, runs: Array(1000).fill({ input: 1 }) };
    const answer = await withoutFaults(() => api.request('POST', '/v1/runs/batch', body));
    expect(counted()).toBeLessThan(12);
    expect(answer.body.results.every(({ status }: { status: number }) => status === 201)).toBe(true);
    const { rows } = await api.testDatabase.database.ordinary.query(
      `SELECT count(*)::int AS timers, count(DISTINCT run_id)::int AS runs, count(DISTINCT partition)::int AS partitions
       FROM timers WHERE workflow_id = $1`,
      [workflowId],
    );
    expect(rows[0]).toMatchObject({ timers: 1000, runs: 1000, partitions: 64 });
  });

  test('may be sent again with its Idempotency-Key and begins nothing twice', async () => {
    const workflowId = await createWorkflow(diamond);
    const headers = { 'idempotency-key': createId() };
    const body = { workflowId, runs: [{}, {}] };
    const first = await api.request('POST', '/v1/runs/batch', body, headers);
    const again = await api.request('POST', '/v1/runs/batch', body, headers);
    expect(again).toMatchObject({ status: 207, body: first.body });
    expect((await api.request('GET', `/v1/runs?workflowId=${workflowId}`)).body.data).toHaveLength(2);
  });

  test('with more tasks than one transaction should hold is refused whole', async () => {
    const tasks = Array.from({ length: 51 }, (_, index) => ({ key: `${index}`, action: noop }));
    const workflowId = await createWorkflow(tasks);
    const answer = await api.request('POST', '/v1/runs/batch', { workflowId, runs: Array(1000).fill({}) });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/runs' }] } });
    expect((await api.request('GET', `/v1/runs?workflowId=${workflowId}`)).body.data).toEqual([]);
  });

  test('of an unknown workflow is refused whole, of an archived one run by run', async () => {
    const unknown = await api.request('POST', '/v1/runs/batch', { workflowId: createId(), runs: [{}] });
    expect(unknown).toMatchObject({ status: 404, body: { code: 'workflow_not_found' } });
    const workflowId = await createWorkflow(diamond);
    const { id } = await begin(workflowId, { externalId: 'of an archived one' });
    await api.request('DELETE', `/v1/workflows/${workflowId}`);
    const runs = [{}, { externalId: 'of an archived one' }];
    const { body } = await api.request('POST', '/v1/runs/batch', { workflowId, runs });
    expect(body.results).toMatchObject([
      { status: 409, error: { code: 'workflow_archived' } },
      { status: 200, run: { id } },
    ]);
  });

  test.each<[string, object, string]>([
    ['no runs', { runs: [] }, '/runs'],
    ['too many runs', { runs: Array(1001).fill({}) }, '/runs'],
    ['runs that are no list', { runs: {} }, '/runs'],
    ['no list at all', {}, '/runs'],
    ['an unknown field', { runs: [{}], color: 'red' }, '/color'],
    ['a workflow that is no id', { workflowId: 'w', runs: [{}] }, '/workflowId'],
  ])('with %s is refused', async (_name, fields, pointer) => {
    const answer = await api.request('POST', '/v1/runs/batch', { workflowId: createId(), ...fields });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } });
  });
});

/** Counts the statements that the api sends from now on; the answer stops counting. */
function countQueries(): () => number {
  const pools = [api.context.database.ordinary, api.context.database.hot];
  const watched = new Set<object>();
  let count = 0;
  const watch = (client: { query: unknown }) => {
    const query = client.query as (...parameters: unknown[]) => unknown;
    watched.add(client);
    client.query = (...parameters: unknown[]) => {
      count += 1;
      return Reflect.apply(query, client, parameters);
    };
  };
  for (const pool of pools) pool.on('acquire', watch);
  return () => {
    for (const pool of pools) pool.off('acquire', watch);
    // What shows again is the method of the class.
    for (const client of watched) Reflect.deleteProperty(client, 'query');
    return count;
  };
}
