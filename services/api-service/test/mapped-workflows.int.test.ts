import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { beginRunOf } from './mapped-steps.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { countEverything } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const noop = { type: 'noop' };
const give = (output: unknown) => ({ type: 'noop', output });
const http = (fields: object = {}) => ({ type: 'http', url: 'https://example.com/p', ...fields });

describe('a workflow with scopes and expressions', () => {
  it('is refused with a pointer to each thing that is wrong, and nothing is stored', async () => {
    const before = await countEverything(api);
    const split = { key: 'split', action: noop };
    const map = { key: 'map', forEach: { task: 'split', path: '/items' }, action: noop };
    const cases: [object[], string][] = [
      [[{ ...map, forEach: { task: 'nobody', path: '' } }], '/tasks/0/forEach/task'],
      [[split, { ...map, forEach: { task: 'split', path: 'items' } }], '/tasks/1/forEach/path'],
      [[split, { key: 'a', in: 'split', action: noop }], '/tasks/1/in'],
      [[split, { key: 'a', after: ['split'], when: 'input.', action: noop }], '/tasks/1/when'],
      [[split, { key: 'a', when: 'inputs.split.x', action: noop }], '/tasks/1'],
      [[split, { key: 'a', after: ['split'], when: 'item.x', action: noop }], '/tasks/1/when'],
      [[{ key: 'a', action: http({ url: 'https://{{ input.host }}/' }) }], '/tasks/0/action/url'],
      [[{ key: 'a', action: http({ body: { b: ['{{ what }}'] } }) }], '/tasks/0/action/body/b/0'],
      [[{ key: 'a', action: http({ headers: { 'x-a': '{{ 1 +' } }) }], '/tasks/0/action/headers/x-a'],
      [[split, { key: 'a', onFailure: ['nobody'], action: noop }], '/tasks/1/onFailure/0'],
      [
        [
          split,
          map,
          { key: 'a', after: ['map'], action: noop },
          { key: 'n', forEach: { task: 'a', path: '' }, action: noop },
          { key: 'b', in: 'n', after: ['map'], action: noop },
        ],
        '/tasks/4/after/0',
      ],
    ];
    for (const [tasks, pointer] of cases) {
      const { status, body } = await api.request('POST', '/v1/workflows', { name: 'wrong', tasks });
      expect({
        status,
        code: body.code,
        pointers: body.errors?.map((error: { pointer: string }) => error.pointer),
      }).toEqual({ status: 400, code: 'invalid_request', pointers: [pointer] });
    }
    expect(await countEverything(api)).toEqual(before);
  });

  it('has no more expressions than can be compiled in a moment', async () => {
    const output = Array.from({ length: 200 }, (_, n) => `{{ ${n} }}`);
    const tasks = Array.from({ length: 26 }, (_, n) => ({ key: `t${n}`, action: give(output) }));
    expect(await api.request('POST', '/v1/workflows', { name: 'many', tasks })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/tasks', detail: 'A workflow has at most 5000 expressions.' }] },
    });
    // Nor by one task more.
    const { workflowId } = await beginRunOf(api, tasks.slice(0, 25));
    expect(await api.request('POST', `/v1/workflows/${workflowId}/tasks`, tasks[25])).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '', detail: 'A workflow has at most 5000 expressions.' }] },
    });
    const plain = { key: 'plain', action: noop };
    expect(await api.request('POST', `/v1/workflows/${workflowId}/tasks`, plain)).toMatchObject({ status: 201 });
  });

  it('is checked as a whole when a task is added, which is pointed at', async () => {
    const { workflowId } = await beginRunOf(api, [{ key: 'split', action: noop }]);
    const add = (task: object) => api.request('POST', `/v1/workflows/${workflowId}/tasks`, task);
    expect(await add({ key: 'a', after: ['split'], when: 'inputs.none.x', action: noop })).toMatchObject({
      status: 400,
    });
    expect(await add({ key: 'a', forEach: { task: 'x', path: '' }, action: noop })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/forEach/task' }] },
    });
    const map = { key: 'map', forEach: { task: 'split', path: '' }, action: give('{{ item }}') };
    expect(await add(map)).toMatchObject({ status: 201, body: { tasks: [{ key: 'split' }, map] } });
    const read = await api.request('GET', `/v1/workflows/${workflowId}`);
    expect(read.body.tasks[1]).toEqual(map);
  });

  it('keeps what looks like a template in a secret header sealed, and shows a mask', async () => {
    const headers = { authorization: 'Bearer {{ input.token }}' };
    const { status, body } = await api.request('POST', '/v1/workflows', {
      name: 'sealed',
      tasks: [{ key: 'a', action: http({ headers }) }],
    });
    expect({ status, headers: body.tasks[0].action.headers }).toEqual({
      status: 201,
      headers: { authorization: '********' },
    });
    const { rows } = await api.testDatabase.database.ordinary.query(
      'SELECT tasks::text AS tasks FROM workflow_versions WHERE workflow_id = $1',
      [body.id],
    );
    expect(rows[0].tasks).not.toContain('Bearer');
    expect(JSON.parse(rows[0].tasks)[0]).toMatchObject({ hasTemplates: true });
  });

  it('keeps a template in a secret header when what was read is sent back, with a mask in its place', async () => {
    const headers = { authorization: 'Bearer {{ inputs.login.token }}' };
    const tasks = [
      { key: 'login', action: noop },
      { key: 'use', after: ['login'], action: http({ headers }) },
    ];
    const { body } = await api.request('POST', '/v1/workflows', { name: 'sealed', tasks });
    const read = await api.request('GET', `/v1/workflows/${body.id}`);
    const put = (sent: object[]) => api.request('PUT', `/v1/workflows/${body.id}`, { name: 'sealed', tasks: sent });
    expect(await put(read.body.tasks)).toMatchObject({ status: 200, body: { version: 2, tasks: read.body.tasks } });
    const { rows } = await api.testDatabase.database.ordinary.query<{ tasks: string }>(
      'SELECT tasks::text AS tasks FROM workflow_versions WHERE workflow_id = $1 ORDER BY version',
      [body.id],
    );
    const [first, second] = rows.map((row) => JSON.parse(row.tasks));
    expect(second).toEqual(first);
    expect(second[1]).toMatchObject({ hasTemplates: true, reads: ['login'] });
    // Where nobody waits for what it reads any more it does not fit, and nothing of it is said.
    const [login, use] = read.body.tasks;
    const { after: _, ...alone } = use;
    const refused = await put([login, alone]);
    expect(refused).toMatchObject({ status: 400, body: { errors: [{ pointer: '/tasks/1' }] } });
    expect(JSON.stringify(refused.body)).not.toContain('token');
  });
});
