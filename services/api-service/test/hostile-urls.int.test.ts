import { listHostileUrls, ODD_PUBLIC_URLS } from '@punctual/hostile-urls';
import { startCanary, withoutFaults } from '@punctual/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openTestApi, type TestAnswer, type TestApi } from './open-test-api.ts';
import { countEverything, HOUR, NOOP } from './timer-steps.ts';

let api: TestApi;
let canary: Awaited<ReturnType<typeof startCanary>>;
let urls: { kind: string; url: string }[];
beforeAll(async () => {
  canary = await startCanary();
  // The settings of a fresh installation: nothing is allowed that is denied by default.
  api = await openTestApi({ EGRESS_ALLOW: '' });
  urls = listHostileUrls(canary.ports[0]!);
  expect(urls.length).toBeGreaterThanOrEqual(300);
});
afterAll(async () => {
  await api.close();
  await canary.close();
});

const action = (url: string) => ({ type: 'http', url });
/** Requests under way at once. */
const AT_ONCE = 16;

/** Sends one request for each hostile URL; each must be refused at `pointer` with a reason, and nothing may change. */
async function expectRefusals(
  pointer: string,
  send: (url: string) => Promise<TestAnswer>,
  readState: () => Promise<unknown> = () => countEverything(api),
): Promise<void> {
  const before = await readState();
  for (let from = 0; from < urls.length; from += AT_ONCE) {
    const portion = urls.slice(from, from + AT_ONCE);
    const answers = await Promise.all(portion.map(({ url }) => send(url)));
    for (const [index, { status, body }] of answers.entries()) {
      expectRefusal(`${portion[index]!.kind}: ${JSON.stringify(portion[index]!.url)}`, status, body, pointer);
    }
  }
  expect(await readState()).toEqual(before);
  expect(canary.connections).toEqual([]);
}

function expectRefusal(
  shown: string,
  status: number,
  problem: { code?: string; errors?: { pointer: string; detail: string }[] } | undefined,
  pointer: string,
): void {
  expect({ shown, status, code: problem?.code, pointer: problem?.errors?.[0]?.pointer }).toEqual({
    shown,
    status: 400,
    code: 'invalid_request',
    pointer,
  });
  // It says what is wrong, and not merely that something is.
  expect(problem?.errors?.[0]?.detail, shown).toMatch(/^(?:The|Text) .+ .+\.$/);
}

test('no hostile URL is stored by a new timer', async () => {
  await expectRefusals('/action/url', (url) => api.request('POST', '/v1/timers', { action: action(url) }));
});

test('no hostile URL is stored by a new timer that names an idempotency key or an external id', async () => {
  let count = 0;
  await expectRefusals('/action/url', (url) => {
    count += 1;
    const headers = { 'idempotency-key': `hostile-${count}` };
    return api.request('POST', '/v1/timers', { action: action(url), externalId: `hostile-${count}` }, headers);
  });
});

test('no hostile URL is stored by a batch, and each item says which it was', async () => {
  const before = await countEverything(api);
  // While faults are injected requests have keys, and this one's answer would be kept.
  const { status, body } = await withoutFaults(() =>
    api.request('POST', '/v1/timers/batch', { timers: urls.map(({ url }) => ({ action: action(url) })) }),
  );
  expect(status).toBe(207);
  for (const [index, { status: itemStatus, error }] of body.results.entries()) {
    expectRefusal(JSON.stringify(urls[index]!.url), itemStatus, error, `/timers/${index}/action/url`);
  }
  expect(await countEverything(api)).toEqual(before);
});

test('no hostile URL is stored by a change of a timer, alone or in a batch', async () => {
  const { body: timer } = await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR });
  const readTimer = async () => (await api.request('GET', `/v1/timers/${timer.id}`)).body;
  await expectRefusals(
    '/action/url',
    (url) => api.request('PATCH', `/v1/timers/${timer.id}`, { action: action(url) }),
    readTimer,
  );
  const change = async (url: string): Promise<TestAnswer> => {
    const answer = await api.request('PATCH', '/v1/timers/batch', { timers: [{ id: timer.id, action: action(url) }] });
    const [result] = answer.body.results;
    return { ...answer, status: result.status, body: result.error };
  };
  await expectRefusals('/timers/0/action/url', change, readTimer);
});

test('no hostile URL is stored by a task of a new workflow, of a new version, or by a new task', async () => {
  const tasks = (url: string) => [
    { key: 'first', action: NOOP },
    { key: 'second', after: ['first'], action: action(url) },
  ];
  await expectRefusals('/tasks/1/action/url', (url) =>
    api.request('POST', '/v1/workflows', { name: 'hostile', tasks: tasks(url) }),
  );
  const { body: workflow } = await api.request('POST', '/v1/workflows', { name: 'w', tasks: [] });
  const path = `/v1/workflows/${workflow.id}`;
  await expectRefusals('/tasks/1/action/url', (url) =>
    api.request('PUT', path, { name: 'hostile', tasks: tasks(url) }),
  );
  await expectRefusals('/action/url', (url) =>
    api.request('POST', `${path}/tasks`, { key: 'new', action: action(url) }),
  );
  expect((await api.request('GET', path)).body).toMatchObject({ version: 1, tasks: [] });
});

test('public addresses and names that only look odd are stored as they came, by each of these ways', async () => {
  const { body: timer } = await api.request('POST', '/v1/timers', { action: NOOP, delay: HOUR });
  const { body: workflow } = await api.request('POST', '/v1/workflows', { name: 'w', tasks: [] });
  for (const url of ODD_PUBLIC_URLS) {
    const answers = [
      await api.request('POST', '/v1/timers', { action: action(url), delay: HOUR }),
      await api.request('PATCH', `/v1/timers/${timer.id}`, { action: action(url) }),
      await api.request('PUT', `/v1/workflows/${workflow.id}`, {
        name: 'w',
        tasks: [{ key: 'a', action: action(url) }],
      }),
      await api.request('POST', `/v1/workflows/${workflow.id}/tasks`, { key: 'b', action: action(url) }),
    ];
    expect([url, answers.map(({ status }) => status)]).toEqual([url, [201, 200, 200, 201]]);
    expect(answers[0]!.body.action.url).toBe(url);
    expect(answers[1]!.body.action.url).toBe(url);
    expect(answers[3]!.body.tasks.map((task: { action: { url: string } }) => task.action.url)).toEqual([url, url]);
  }
  expect(canary.connections).toEqual([]);
});
