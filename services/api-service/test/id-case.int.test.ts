import { Id } from '@punctual/contracts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileCheck } from '../plugins/validation.ts';
import { openTestApi, type TestApi } from './open-test-api.ts';
import { createDeadLetter, createRunByHand, HOUR, NOOP } from './timer-steps.ts';

let api: TestApi;
beforeAll(async () => {
  api = await openTestApi();
});
afterAll(async () => {
  await api.close();
});

const createTimers = async (count: number): Promise<string[]> => {
  const timers = Array(count).fill({ action: NOOP, delay: HOUR });
  const { body } = await api.request('POST', '/v1/timers/batch', { timers });
  return body.results.map(({ timer }: { timer: { id: string } }) => timer.id);
};
const createOne = async () => (await createTimers(1))[0]!;

describe('an id in upper case', () => {
  test.each([
    ['GET', '', undefined],
    ['PATCH', '', { payload: 1 }],
    ['POST', '/fire', undefined],
    ['POST', '/cancel', undefined],
    ['DELETE', '', undefined],
  ])('names the same timer, and the answer spells it in lower case (%s %s)', async (method, path, body) => {
    const id = await createOne();
    const answer = await api.request(method, `/v1/timers/${id.toUpperCase()}${path}`, body);
    expect(answer).toMatchObject({ status: 200, body: { id } });
  });

  test('names the same timer in batches of changes and cancels, where twice is twice in either case', async () => {
    const id = await createOne();
    const changed = await api.request('PATCH', '/v1/timers/batch', {
      timers: [
        { id: id.toUpperCase(), payload: 1 },
        { id, payload: 2 },
      ],
    });
    expect(changed.body.results).toMatchObject([{ status: 200, timer: { id, payload: 1 } }, { status: 400 }]);
    const ids = [id.toUpperCase(), id];
    const cancelled = await api.request('POST', '/v1/timers/batch/cancel', { ids });
    expect(cancelled.body.results).toMatchObject(
      Array(2).fill({ status: 200, timer: { id, status: 'cancelled', version: 3 } }),
    );
  });

  test('names the same dead letter, run, workflow and list', async () => {
    const letters = [await createDeadLetter(api), await createDeadLetter(api)];
    const [first, second] = letters.map((id) => id.toUpperCase());
    const redriven = await api.request('POST', '/v1/dead-letters/redrive', { ids: [first, letters[0]] });
    expect(redriven.body).toMatchObject({ redriven: 1, results: [{ status: 200, timer: { id: letters[0] } }] });
    expect(await api.request('DELETE', `/v1/dead-letters/${second}`)).toMatchObject({ status: 204 });
    const { runId, workflowId, timerIds } = await createRunByHand(api, [{ key: 'only' }]);
    const listed = await api.request('GET', `/v1/timers?runId=${runId.toUpperCase()}`);
    expect(listed.body.data).toMatchObject([{ id: timerIds.only, runId }]);
    const run = await api.request('POST', `/v1/runs/${runId.toUpperCase()}/cancel`);
    expect(run).toMatchObject({ status: 200, body: { id: runId, workflowId, status: 'cancelled' } });
    const workflow = await api.request('GET', `/v1/workflows/${workflowId.toUpperCase()}`);
    expect(workflow).toMatchObject({ status: 200, body: { id: workflowId } });
    const begun = await api.request('POST', '/v1/runs', { workflowId: workflowId.toUpperCase() });
    expect(begun).toMatchObject({ status: 201, body: { workflowId } });
  });

  test('does not change the order in which statements take their locks: batches in any case never deadlock', async () => {
    const ids = await createTimers(300);
    const spell = (round: number) => ids.map((id, index) => ((index + round) % 2 === 0 ? id : id.toUpperCase()));
    const change = async (round: number) => {
      const timers = spell(round).map((id) => ({ id, payload: round }));
      const { body } = await api.request('PATCH', '/v1/timers/batch', { timers });
      return body.results.map(({ status }: { status: number }) => status);
    };
    // Fewer than the rounds after which a change that always loses is given up.
    for (const statuses of await Promise.all(Array.from({ length: 8 }, (_, round) => change(round)))) {
      expect(new Set(statuses)).toEqual(new Set([200]));
    }
    const cancel = (round: number) => api.request('POST', '/v1/timers/batch/cancel', { ids: spell(round) });
    for (const { body } of await Promise.all([0, 1, 0, 1].map(cancel))) {
      expect(new Set(body.results.map(({ status }: { status: number }) => status))).toEqual(new Set([200]));
    }
    expect(api.logged).toEqual([]);
  });
});

test('an id by itself, which nothing holds, is checked and left as it is', () => {
  expect(compileCheck(Id)('0190000A-0000-7000-8000-00000000DEAD')).toBeUndefined();
  expect(compileCheck(Id)('x')).toMatchObject({ detail: 'It must be a UUID.' });
});
