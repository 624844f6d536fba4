import { TASKS_PER_WORKFLOW_MAX } from '@punctual/domain';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestApi } from './open-test-api.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const noop = { type: 'noop' };
const http = { type: 'http', url: 'https://example.com/hook' };
const workflow = { name: 'reminders', tasks: [{ key: 'first', action: noop }] };

async function create(body: unknown = workflow) {
  const answer = await api.request('POST', '/v1/workflows', body);
  expect(answer).toMatchObject({ status: 201 });
  return answer.body;
}

const countRows = async (table: string) => {
  const { rows } = await api.testDatabase.database.ordinary.query(`SELECT count(*)::int AS count FROM ${table}`);
  return rows[0].count as number;
};

const largeTask = (index: number) => ({ key: `task-${index}`, action: { ...http, body: 'x'.repeat(60_000) } });
const delayed = (delay: unknown) => ({
  name: 'n',
  tasks: [
    { key: 'a', action: noop },
    { key: 'b', delay, action: noop },
  ],
});
const acting = (action: unknown) => ({ name: 'n', tasks: [{ key: 'a', action }] });
const task = (fields: object) => ({ name: 'n', tasks: [{ key: 'a', action: noop, ...fields }] });

// What is wrong, the body, and where the fault points.
const badWorkflows: [string, unknown, string][] = [
  ['no body', undefined, ''],
  ['null', 'null', ''],
  ['a list', [], ''],
  ['text', '"text"', ''],
  ['no name', { tasks: [] }, '/name'],
  ['an empty name', { name: '', tasks: [] }, '/name'],
  ['a name that is too long', { name: 'n'.repeat(201), tasks: [] }, '/name'],
  ['a name that is a number', { name: 7, tasks: [] }, '/name'],
  ['NUL in the name', { name: 'a\0b', tasks: [] }, '/name'],
  ['half a surrogate pair in the name', '{"name":"\\ud800","tasks":[]}', '/name'],
  ['no tasks', { name: 'n' }, '/tasks'],
  ['tasks that are no list', { name: 'n', tasks: {} }, '/tasks'],
  [
    'too many tasks',
    { name: 'n', tasks: Array.from({ length: 1001 }, (_, i) => ({ key: `${i}`, action: noop })) },
    '/tasks',
  ],
  ['an unknown field', { ...workflow, color: 'red' }, '/color'],
  ['an unknown field of a task', task({ color: 'red' }), '/tasks/0/color'],
  ['an unknown zone', { ...workflow, timeZone: 'Mars/Olympus' }, '/timeZone'],
  ['an offset as zone', { ...workflow, timeZone: '+02:00' }, '/timeZone'],
  ['labels that are no object', { ...workflow, labels: ['a'] }, '/labels'],
  ['a label that is no text', { ...workflow, labels: { a: 1 } }, '/labels/a'],
  ['a label with an empty key', { ...workflow, labels: { '': 'x' } }, '/labels'],
  ['a label that is too long', { ...workflow, labels: { a: 'x'.repeat(257) } }, '/labels/a'],
  [
    'too many labels',
    { ...workflow, labels: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, 'v'])) },
    '/labels',
  ],
  ['a prototype key', '{"name":"n","tasks":[],"__proto__":{"a":1}}', '/__proto__'],
  ['a constructor key', '{"name":"n","tasks":[],"constructor":{"prototype":{}}}', '/constructor/prototype'],
  ['a task without key', { name: 'n', tasks: [{ action: noop }] }, '/tasks/0/key'],
  ['a key with a space', task({ key: 'a b' }), '/tasks/0/key'],
  ['a key that is too long', task({ key: 'k'.repeat(65) }), '/tasks/0/key'],
  ['an empty key', task({ key: '' }), '/tasks/0/key'],
  ['a key with a line break', task({ key: 'a\n' }), '/tasks/0/key'],
  ['a repeated key', { name: 'n', tasks: [task({}).tasks[0], task({}).tasks[0]] }, '/tasks/1/key'],
  ['an unknown parent', task({ after: ['ghost'] }), '/tasks/0/after/0'],
  [
    'a parent named twice',
    { name: 'n', tasks: [task({}).tasks[0], { key: 'b', after: ['a', 'a'], action: noop }] },
    '/tasks/1/after/1',
  ],
  ['a task that waits for itself', task({ after: ['a'] }), '/tasks/0/after'],
  [
    'a cycle',
    {
      name: 'n',
      tasks: [
        { key: 'a', action: noop },
        { key: 'b', after: ['a', 'd'], action: noop },
        { key: 'c', after: ['b'], action: noop },
        { key: 'd', after: ['c'], action: noop },
      ],
    },
    '/tasks/2/after',
  ],
  ['no action', { name: 'n', tasks: [{ key: 'a' }] }, '/tasks/0/action'],
  ['an action without type', acting({}), '/tasks/0/action/type'],
  ['an unknown action', acting({ type: 'fax' }), '/tasks/0/action/type'],
  ['no URL', acting({ type: 'http' }), '/tasks/0/action/url'],
  ['a URL that is none', acting({ type: 'http', url: 'somewhere' }), '/tasks/0/action/url'],
  ['a URL of another scheme', acting({ type: 'http', url: 'ftp://example.com/' }), '/tasks/0/action/url'],
  ['a private address', acting({ type: 'http', url: 'http://10.0.0.1/' }), '/tasks/0/action/url'],
  ['a metadata address', acting({ type: 'http', url: 'http://169.254.169.254/' }), '/tasks/0/action/url'],
  ['an unknown method', acting({ ...http, method: 'BREW' }), '/tasks/0/action/method'],
  ['a header of ours', acting({ ...http, headers: { 'webhook-id': 'x' } }), '/tasks/0/action/headers/webhook-id'],
  ['a header with a line break', acting({ ...http, headers: { 'x-a': 'b\r\nc: d' } }), '/tasks/0/action/headers/x-a'],
  ['a body that is too large', acting({ ...http, body: 'x'.repeat(65_536) }), '/tasks/0/action/body'],
  ['a negative no-op', acting({ type: 'noop', durationMs: -1 }), '/tasks/0/action/durationMs'],
  ['too many retries', task({ retry: { maxRetries: 101 } }), '/tasks/0/retry/maxRetries'],
  ['half a retry', task({ retry: { maxRetries: 0.5 } }), '/tasks/0/retry/maxRetries'],
  ['a jitter above 1', task({ retry: { backoff: { jitter: 1.1 } } }), '/tasks/0/retry/backoff/jitter'],
  ['a factor below 1', task({ retry: { backoff: { factor: 0.5 } } }), '/tasks/0/retry/backoff/factor'],
  ['a backoff beyond a day', task({ retry: { backoff: { maxMs: 86_400_001 } } }), '/tasks/0/retry/backoff/maxMs'],
  ['no time at all', task({ timeoutMs: 0 }), '/tasks/0/timeoutMs'],
  ['a time-out above a minute', task({ timeoutMs: 60_001 }), '/tasks/0/timeoutMs'],
  ['an unknown delay', delayed({ type: 'lunar' }), '/tasks/1/delay/type'],
  ['a delay that is null', delayed(null), '/tasks/1/delay'],
  ['a negative duration', delayed({ type: 'duration', value: -1, unit: 'days' }), '/tasks/1/delay/value'],
  ['half a second', delayed({ type: 'duration', value: 0.5, unit: 'seconds' }), '/tasks/1/delay/value'],
  ['a duration beyond ten years', delayed({ type: 'duration', value: 3654, unit: 'days' }), '/tasks/1/delay/value'],
  [
    'a duration beyond numbers',
    '{"name":"n","tasks":[{"key":"a","delay":{"type":"duration","value":1e400,"unit":"days"},"action":{"type":"noop"}}]}',
    '/tasks/0/delay/value',
  ],
  ['an unknown unit', delayed({ type: 'duration', value: 1, unit: 'weeks' }), '/tasks/1/delay/unit'],
  ['no weekdays', delayed({ type: 'weekday', days: [] }), '/tasks/1/delay/days'],
  ['an unknown weekday', delayed({ type: 'weekday', days: ['noday'] }), '/tasks/1/delay/days/0'],
  ['a weekday named twice', delayed({ type: 'weekday', days: ['monday', 'monday'] }), '/tasks/1/delay/days/1'],
  ['24:00', delayed({ type: 'weekday', days: ['monday'], at: '24:00' }), '/tasks/1/delay/at'],
  [
    'an unknown zone of a delay',
    delayed({ type: 'weekday', days: ['monday'], timeZone: 'Mars/Olympus' }),
    '/tasks/1/delay/timeZone',
  ],
  ['31 June', delayed({ type: 'date', month: 6, day: 31 }), '/tasks/1/delay/day'],
  ['month 13', delayed({ type: 'date', month: 13, day: 1 }), '/tasks/1/delay/month'],
  [
    'a date past that is to be refused',
    delayed({ type: 'date', month: 1, day: 1, year: 2020, onPast: 'reject' }),
    '/tasks/1/delay',
  ],
  ['a date beyond ten years', delayed({ type: 'date', month: 1, day: 1, year: 9999 }), '/tasks/1/delay/year'],
  ['an instant that is none', delayed({ type: 'until', at: '2027-02-30T00:00:00Z' }), '/tasks/1/delay/at'],
  ['an instant beyond ten years', delayed({ type: 'until', at: '9000-01-01T00:00:00Z' }), '/tasks/1/delay/at'],
];

test.each(badWorkflows)('refuses %s, and stores nothing', async (_name, body, pointer) => {
  const before = await countRows('workflow_versions');
  const answer = await api.request('POST', '/v1/workflows', body);
  expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request', status: 400 } });
  expect(answer.headers['content-type']).toContain('application/problem+json');
  expect(answer.body.errors[0]).toMatchObject({ pointer, detail: expect.stringMatching(/\S/) });
  expect(await countRows('workflow_versions')).toBe(before);
});

test('what a new workflow may not be, a changed one may not be either', async () => {
  const { id } = await create();
  for (const [name, body, pointer] of badWorkflows) {
    const answer = await api.request('PUT', `/v1/workflows/${id}`, body);
    expect(answer.status, name).toBe(400);
    expect(answer.body.errors[0], name).toMatchObject({ pointer });
  }
  expect((await api.request('GET', `/v1/workflows/${id}`)).body).toMatchObject({ version: 1, ...workflow });
});

test.each<[string, unknown, string]>([
  ['no body', undefined, ''],
  ['a list', [], ''],
  ['a key that exists', { key: 'first', action: noop }, '/key'],
  ['an unknown parent', { key: 'x', after: ['first', 'ghost'], action: noop }, '/after/1'],
  ['itself as parent', { key: 'x', after: ['x'], action: noop }, '/after'],
  ['a bad delay', { key: 'x', delay: { type: 'weekday', days: ['noday'] }, action: noop }, '/delay/days/0'],
  [
    'a date past',
    { key: 'x', delay: { type: 'date', month: 1, day: 1, year: 2020, onPast: 'reject' }, action: noop },
    '/delay',
  ],
  ['a bad URL', { key: 'x', action: { type: 'http', url: 'http://10.0.0.1/' } }, '/action/url'],
  ['an unknown field', { key: 'x', action: noop, color: 'red' }, '/color'],
])('refuses a task with %s, and adds no version', async (_name, body, pointer) => {
  const { id } = await create();
  const answer = await api.request('POST', `/v1/workflows/${id}/tasks`, body);
  expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_request', errors: [{ pointer }] } });
  expect((await api.request('GET', `/v1/workflows/${id}`)).body.version).toBe(1);
});

test('a workflow takes as many tasks as it may have, one by one no more', async () => {
  const tasks = Array.from({ length: TASKS_PER_WORKFLOW_MAX }, (_, index) => ({ key: `${index}`, action: noop }));
  const { id } = await create({ name: 'full', tasks });
  const answer = await api.request('POST', `/v1/workflows/${id}/tasks`, { key: 'more', action: noop });
  expect(answer).toMatchObject({
    status: 400,
    body: { errors: [{ pointer: '', detail: 'A workflow has at most 1000 tasks.' }] },
  });
});

test('the tasks of a workflow stay small together, however they were added', async () => {
  const { id } = await create({ name: 'large', tasks: Array.from({ length: 17 }, (_, index) => largeTask(index)) });
  const answer = await api.request('POST', `/v1/workflows/${id}/tasks`, largeTask(17));
  expect(answer).toMatchObject({
    status: 400,
    body: { errors: [{ pointer: '', detail: expect.stringContaining('1048576') }] },
  });
});

test('other content types, methods and broken JSON are refused', async () => {
  const text = await api.request('POST', '/v1/workflows', 'name=x', {
    'content-type': 'application/x-www-form-urlencoded',
  });
  expect(text).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } });
  expect(await api.request('POST', '/v1/workflows', '{"name":')).toMatchObject({
    status: 400,
    body: { code: 'invalid_request' },
  });
  expect(await api.request('PATCH', '/v1/workflows', workflow)).toMatchObject({ status: 405 });
  const utf8 = Buffer.from([...Buffer.from('{"name":"'), 0xff, ...Buffer.from('","tasks":[]}')]);
  expect(await api.request('POST', '/v1/workflows', utf8)).toMatchObject({ status: 400 });
  const huge = await api.request('POST', '/v1/workflows', { ...workflow, name: 'x'.repeat(2_000_000) });
  expect(huge).toMatchObject({ status: 413, body: { code: 'body_too_large' } });
});

test('a wait for a signal is refused where it is said wrongly, with what is wrong', async () => {
  const hour = { type: 'duration', value: 1, unit: 'hours' };
  const go = (fields: object = {}) => ({ type: 'signal', name: 'go', ...fields });
  const faultsOf = async (delay: object, action: object = noop) => {
    const { status, body } = await api.request('POST', '/v1/workflows', task({ delay, action }));
    expect(status).toBe(400);
    return body.errors.map(({ pointer }: { pointer: string }) => pointer);
  };
  expect(await faultsOf({ type: 'signal' })).toEqual(['/tasks/0/delay/name']);
  expect(await faultsOf(go({ name: 'a b' }))).toEqual(['/tasks/0/delay/name']);
  expect(await faultsOf(go({ onTimeout: 'run' }))).toEqual(['/tasks/0/delay/onTimeout']);
  expect(await faultsOf(go({ onTimeout: 'skip', timeout: hour }))).toEqual(['/tasks/0/delay/onTimeout']);
  expect(await faultsOf(go({ timeout: { type: 'duration', value: 999_999, unit: 'days' } }))).toEqual([
    '/tasks/0/delay/timeout/value',
  ]);
  expect(await faultsOf(go({ timeout: go() }))).toEqual(['/tasks/0/delay/timeout/type']);
  expect(await faultsOf(hour, { type: 'noop', output: '{{ signal }}' })).toEqual(['/tasks/0/action/output']);
  for (const path of ['/v1/timers', '/v1/delays/preview'])
    expect((await api.request('POST', path, { action: noop, delay: go() })).status).toBe(400);
});
