import { type Action, DEFAULT_TENANT_ID, isSealedText, openAction, SEALED_PREFIX, SECRET_MASK } from '@punctual/domain';
import { makeKeyring } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createDeadLetter, HOUR } from './timer-steps.ts';

const CANARY = 'Bearer canary-of-a-header';
const URL_OF_HOOK = 'https://api.example/hook';
const http = (headers: Record<string, string>, url = URL_OF_HOOK) => ({ type: 'http', url, headers });
const SECRET = http({ Authorization: CANARY, 'x-plain': 'shown' });
const MASKED = http({ Authorization: SECRET_MASK, 'x-plain': 'shown' });
/** Fields of a workflow that has the action in one of its tasks. */
const workflow = (action: object = SECRET) => ({
  name: 'w',
  tasks: [
    { key: 'a', delay: HOUR, action },
    { key: 'b', after: ['a'], action: { type: 'noop' } },
  ],
});

let api: TestApi;
/** On the same database, without a key. */
let plain: TestApi;
beforeAll(async () => {
  api = await openTestApi();
  plain = await openTestApi({ ENCRYPTION_KEYS: '' }, api);
});
afterAll(async () => {
  await plain.close();
  await api.close();
});

const query = async <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> =>
  (await api.testDatabase.database.ordinary.query(text, values)).rows as Row[];
const createTimer = async (on: TestApi = api, action: object = SECRET, fields: object = {}) =>
  (await on.request('POST', '/v1/timers', { action, delay: HOUR, ...fields })).body;

/** The action of a timer as it is stored, and as a worker opens it. */
async function readStored(id: string): Promise<{ headers: Record<string, string>; opened: Record<string, string> }> {
  const [row] = await query<{ action: string }>('SELECT action FROM timers WHERE id = $1', [id]);
  return openHeaders(JSON.parse(row!.action) as Action);
}
function openHeaders(action: Action) {
  const headersOf = (of: Action) => (of.type === 'http' ? of.headers! : {});
  return { headers: headersOf(action), opened: headersOf(openAction(action, DEFAULT_TENANT_ID, makeKeyring())) };
}
async function readStoredTask(workflowId: string, version: number) {
  const [row] = await query<{ tasks: string }>(
    'SELECT tasks FROM workflow_versions WHERE workflow_id = $1 AND version = $2',
    [workflowId, version],
  );
  return openHeaders((JSON.parse(row!.tasks) as { action: Action }[])[0]!.action);
}

describe('the secret headers of a timer', () => {
  test('are stored sealed and shown as a mask, in every answer', async () => {
    const created = await api.request(
      'POST',
      '/v1/timers',
      { action: SECRET, delay: HOUR },
      { 'idempotency-key': 'x' },
    );
    expect(created.body.action).toEqual(MASKED);
    const repeated = await api.request(
      'POST',
      '/v1/timers',
      { action: SECRET, delay: HOUR },
      { 'idempotency-key': 'x' },
    );
    expect(repeated.body).toEqual(created.body);
    const { id } = created.body;
    const { headers, opened } = await readStored(id);
    expect(isSealedText(headers.Authorization!)).toBe(true);
    expect(opened).toEqual(SECRET.headers);
    const batch = await api.request('POST', '/v1/timers/batch', { timers: [{ action: SECRET, delay: HOUR }] });
    const named = await createTimer(api, SECRET, { externalId: 'named' });
    const dead = await createDeadLetter(api, { action: SECRET });
    const answers = [
      batch,
      await api.request('GET', `/v1/timers/${id}`),
      await api.request('GET', '/v1/timers'),
      await api.request('GET', '/v1/dead-letters'),
      await api.request('PATCH', `/v1/timers/${id}`, { payload: 1 }),
      await api.request('POST', `/v1/timers/${id}/fire`),
      await api.request('POST', '/v1/timers', { action: SECRET, delay: HOUR, externalId: 'named' }),
      await api.request('POST', `/v1/dead-letters/${dead}/redrive`),
      await api.request('POST', `/v1/timers/${named.id}/cancel`),
      await api.request('GET', `/v1/timers/${named.id}`),
    ];
    for (const { body } of answers) {
      const text = JSON.stringify(body);
      expect(text).toContain(SECRET_MASK);
      expect(text).not.toContain('canary');
      expect(text).not.toContain(SEALED_PREFIX);
    }
    const rows = await query<{ row: string }>(
      `SELECT t::text AS row FROM timers AS t UNION ALL SELECT t::text FROM finished_timers AS t
       UNION ALL SELECT t::text FROM dead_letters AS t UNION ALL SELECT k::text FROM idempotency_keys AS k`,
    );
    expect(rows.length).toBeGreaterThan(4);
    expect(rows.map(({ row }) => row).join()).not.toContain('canary');
  });

  test('are kept by a change that sends the mask back, and by one of something else', async () => {
    const { id, action } = await createTimer();
    const path = `${URL_OF_HOOK}?elsewhere`;
    const changed = await api.request('PATCH', `/v1/timers/${id}`, {
      action: { ...action, url: path, headers: { ...action.headers, 'x-plain': 'changed' } },
    });
    expect(changed).toMatchObject({ status: 200, body: { version: 2, action: { url: path } } });
    expect((await readStored(id)).opened).toEqual({ Authorization: CANARY, 'x-plain': 'changed' });
    await api.request('PATCH', `/v1/timers/${id}`, { payload: 2 });
    expect((await readStored(id)).opened.Authorization).toBe(CANARY);
    await api.request('PATCH', `/v1/timers/${id}`, { action: http({ authorization: 'Bearer new' }) });
    expect((await readStored(id)).opened).toEqual({ authorization: 'Bearer new' });
    const batch = await api.request('PATCH', '/v1/timers/batch', {
      timers: [{ id, action: http({ AUTHORIZATION: SECRET_MASK }) }],
    });
    expect(batch.body.results[0].status).toBe(200);
    expect((await readStored(id)).opened).toEqual({ AUTHORIZATION: 'Bearer new' });
  });

  test.each([
    ['another host', 'https://evil.example/hook'],
    ['another port', 'https://api.example:8443/hook'],
    ['another scheme', 'http://api.example/hook'],
    ['another path', 'https://api.example/hook/elsewhere'],
  ])('are not sent to %s by whoever can not read them', async (_name, url) => {
    const { id } = await createTimer();
    expect(await api.request('PATCH', `/v1/timers/${id}`, { action: { ...MASKED, url } })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/action/headers/Authorization' }] },
    });
    expect((await readStored(id)).opened).toEqual(SECRET.headers);
  });

  test('may not be masks where nothing is stored yet', async () => {
    const refusal = { status: 400, body: { errors: [{ pointer: '/action/headers/Authorization' }] } };
    expect(await api.request('POST', '/v1/timers', { action: MASKED, delay: HOUR })).toMatchObject(refusal);
    const { id } = await createTimer(api, { type: 'noop' });
    expect(await api.request('PATCH', `/v1/timers/${id}`, { action: MASKED })).toMatchObject(refusal);
    const batch = await api.request('POST', '/v1/timers/batch', { timers: [{ action: MASKED }] });
    expect(batch.body.results[0]).toMatchObject({
      status: 400,
      error: { errors: [{ pointer: '/timers/0/action/headers/Authorization' }] },
    });
  });

  test('may not pretend to be sealed', async () => {
    for (const on of [api, plain]) {
      const action = http({ 'x-plain': `${SEALED_PREFIX}test-1:AAAA` });
      expect(await on.request('POST', '/v1/timers', { action, delay: HOUR })).toMatchObject({
        status: 400,
        body: { errors: [{ pointer: '/action/headers/x-plain' }] },
      });
    }
  });

  test('without a key are stored as they come, and shown as a mask all the same', async () => {
    const { id, action } = await createTimer(plain);
    expect(action).toEqual(MASKED);
    expect((await readStored(id)).headers).toEqual(SECRET.headers);
    expect((await plain.request('PATCH', `/v1/timers/${id}`, { action: MASKED })).status).toBe(200);
    expect((await readStored(id)).headers).toEqual(SECRET.headers);
    // From the first change by an api that has a key.
    expect((await api.request('PATCH', `/v1/timers/${id}`, { action: MASKED })).status).toBe(200);
    const { headers, opened } = await readStored(id);
    expect(isSealedText(headers.Authorization!)).toBe(true);
    expect(opened).toEqual(SECRET.headers);
  });

  test('bind a sealed value to its tenant', async () => {
    const { id } = await createTimer();
    const [row] = await query<{ action: string }>('SELECT action FROM timers WHERE id = $1', [id]);
    const action = JSON.parse(row!.action) as Action;
    expect(() => openAction(action, '00000000-0000-7000-8000-00000000000b', makeKeyring())).toThrow();
  });
});

describe('the secret headers of a workflow', () => {
  test('are stored sealed and shown as a mask, in every answer', async () => {
    const created = await api.request('POST', '/v1/workflows', workflow());
    expect(created.body.tasks[0].action).toEqual(MASKED);
    const { id } = created.body;
    expect((await readStoredTask(id, 1)).opened).toEqual(SECRET.headers);
    const added = await api.request('POST', `/v1/workflows/${id}/tasks`, { key: 'c', action: SECRET });
    const run = await api.request('POST', '/v1/runs', { workflowId: id });
    const timer = await api.request('GET', `/v1/timers/${run.body.tasks[0].timerId}`);
    expect(timer.body.action).toEqual(MASKED);
    const answers = [
      added,
      await api.request('GET', `/v1/workflows/${id}`),
      await api.request('GET', '/v1/workflows'),
      await api.request('GET', `/v1/workflows/${id}/versions`),
      await api.request('DELETE', `/v1/workflows/${id}`),
    ];
    for (const { body } of answers) {
      const text = JSON.stringify(body);
      expect(text).toContain(SECRET_MASK);
      expect(text).not.toContain('canary');
      expect(text).not.toContain(SEALED_PREFIX);
    }
    const rows = await query<{ row: string }>('SELECT v::text AS row FROM workflow_versions AS v');
    expect(rows.map(({ row }) => row).join()).not.toContain('canary');
  });

  test('are kept by a replacement that sends the mask back', async () => {
    const { id, tasks } = (await api.request('POST', '/v1/workflows', workflow())).body;
    const replaced = await api.request('PUT', `/v1/workflows/${id}`, { name: 'v', tasks: tasks.toReversed() });
    expect(replaced).toMatchObject({ status: 200, body: { version: 2 } });
    const [row] = await query<{ tasks: string }>(
      'SELECT tasks FROM workflow_versions WHERE workflow_id = $1 AND version = 2',
      [id],
    );
    const [, last] = JSON.parse(row!.tasks) as { key: string; action: Action }[];
    expect(openHeaders(last!.action).opened).toEqual(SECRET.headers);
    // The present version's count, not those before it.
    await api.request('PUT', `/v1/workflows/${id}`, workflow(http({ authorization: 'Bearer new' })));
    await api.request('PUT', `/v1/workflows/${id}`, workflow(http({ authorization: SECRET_MASK })));
    expect((await readStoredTask(id, 4)).opened).toEqual({ authorization: 'Bearer new' });
  });

  test('may not be masks where nothing is stored, nor for another origin', async () => {
    const { id } = (await api.request('POST', '/v1/workflows', workflow())).body;
    const elsewhere = workflow({ ...MASKED, url: 'https://evil.example/' });
    const renamed = { ...workflow(MASKED), tasks: [{ ...workflow(MASKED).tasks[0], key: 'new' }] };
    const refusal = { status: 400, body: { errors: [{ pointer: '/tasks/0/action/headers/Authorization' }] } };
    expect(await api.request('POST', '/v1/workflows', workflow(MASKED))).toMatchObject(refusal);
    expect(await api.request('PUT', `/v1/workflows/${id}`, elsewhere)).toMatchObject(refusal);
    expect(await api.request('PUT', `/v1/workflows/${id}`, renamed)).toMatchObject(refusal);
    expect(await api.request('POST', `/v1/workflows/${id}/tasks`, { key: 'c', action: MASKED })).toMatchObject({
      status: 400,
      body: { errors: [{ pointer: '/action/headers/Authorization' }] },
    });
    expect((await api.request('GET', `/v1/workflows/${id}`)).body.version).toBe(1);
  });

  test("are kept by a change of a run's timer that sends the mask back", async () => {
    const { id } = (await api.request('POST', '/v1/workflows', workflow())).body;
    const run = await api.request('POST', '/v1/runs', { workflowId: id });
    const { timerId } = run.body.tasks[0];
    const changed = await api.request('PATCH', `/v1/timers/${timerId}`, {
      action: http({ Authorization: SECRET_MASK }, `${URL_OF_HOOK}?of=run`),
    });
    expect(changed).toMatchObject({ status: 200, body: { action: { headers: { Authorization: SECRET_MASK } } } });
    expect((await readStored(timerId)).opened).toEqual({ Authorization: CANARY });
  });
});
