import type { WorkflowVersion } from '@punctual/database';
import { createId, Keyring, RETRY_DEFAULT, TIMEOUT_MS_DEFAULT } from '@punctual/domain';
import { makeStarted } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { ActionPreparer, describeTimer, PREPARED_LENGTH_MAX, PREPARED_MAX } from './prepared-action.ts';

const openPreparer = () => new ActionPreparer(new Keyring(), (url) => new URL(url).origin);

const version: WorkflowVersion = {
  workflowId: createId(),
  version: 1,
  name: 'w',
  timeZone: 'UTC',
  priority: null,
  tasks: [
    {
      key: 'a',
      action: { type: 'http', url: 'http://a.example/x', method: 'PATCH', body: null },
      retry: { maxRetries: 7 },
      timeoutMs: 55,
    },
    { key: 'b', action: { type: 'noop' } },
  ],
};

describe('a prepared action', () => {
  it("is the timer's own where it has one, with the usual policy and time-out", () => {
    const prepared = openPreparer().prepare(
      makeStarted({ action: '{"type":"http","url":"https://h.example:8443/p"}' }),
      undefined,
    );
    expect(prepared).toEqual({
      action: {
        type: 'http',
        url: 'https://h.example:8443/p',
        origin: 'https://h.example:8443',
        method: 'POST',
        headers: undefined,
        body: undefined,
      },
      retry: RETRY_DEFAULT,
      timeoutMs: TIMEOUT_MS_DEFAULT,
    });
  });

  it('asks for the outputs before it only where its request carries them', () => {
    const tasks = (method: 'GET' | 'HEAD' | 'PUT'): WorkflowVersion => ({
      ...version,
      tasks: [
        { key: 'split', action: { type: 'noop' } },
        { key: 'm', forEach: { task: 'split', path: '' }, action: { type: 'noop' } },
        { key: 'join', after: ['m'], action: { type: 'http', url: 'http://a.example/x', method } },
      ],
    });
    const prepare = (method: 'GET' | 'HEAD' | 'PUT') =>
      openPreparer().prepare(makeStarted({ task_key: 'join' }), tasks(method));
    expect(prepare('PUT').flow?.needs).toMatchObject({ reads: ['m'] });
    for (const method of ['GET', 'HEAD'] as const) expect(prepare(method).flow).toMatchObject({ needs: undefined });
  });

  it("is the task's for a timer of a run, unless the timer was changed", () => {
    const preparer = openPreparer();
    const ofTask = preparer.prepare(makeStarted({ task_key: 'a' }), version);
    expect(ofTask).toMatchObject({
      action: { method: 'PATCH', body: 'null' },
      retry: { maxRetries: 7 },
      timeoutMs: 55,
    });
    const changed = preparer.prepare(
      makeStarted({
        task_key: 'a',
        action: '{"type":"noop","durationMs":3}',
        retry: '{"maxRetries":1}',
        timeout_ms: 66,
      }),
      version,
    );
    expect(changed).toEqual({
      action: { type: 'noop', durationMs: 3 },
      retry: { ...RETRY_DEFAULT, maxRetries: 1 },
      timeoutMs: 66,
    });
    expect(preparer.prepare(makeStarted({ task_key: 'b' }), version).action).toEqual({ type: 'noop', durationMs: 0 });
  });

  it('is refused where there is neither, rather than guessed', () => {
    expect(() => openPreparer().prepare(makeStarted({ task_key: 'gone' }), version)).toThrow('no such task');
    expect(() => openPreparer().prepare(makeStarted({}), undefined)).toThrow();
  });

  it('is parsed once for all timers that share it, and forgotten when there are too many', () => {
    const preparer = openPreparer();
    const prepare = (index: number) =>
      preparer.prepare(makeStarted({ action: `{"type":"noop","durationMs":${index}}` }), undefined).action;
    const first = prepare(0);
    expect(prepare(0)).toBe(first);
    for (let index = 1; index <= 1_000; index += 1) prepare(index);
    expect(prepare(0)).not.toBe(first);
  });
});

describe('prepared actions', () => {
  const makeText = (index: number, length: number) =>
    JSON.stringify({ type: 'http', url: `https://h.example/${index}`, body: 'x'.repeat(length) });

  it('are limited by their size, and what is left again makes room again', () => {
    const LENGTH = 100_000;
    const preparer = openPreparer();
    const prepare = (index: number) =>
      preparer.prepare(makeStarted({ action: makeText(index, LENGTH) }), undefined).action;
    const count = Math.floor(PREPARED_LENGTH_MAX / (2 * LENGTH + 100));
    expect(count).toBeLessThan(PREPARED_MAX);
    for (let round = 0; round < 3; round += 1) {
      const first = prepare(round * 1_000);
      for (let index = 1; index < count; index += 1) prepare(round * 1_000 + index);
      expect(prepare(round * 1_000)).toBe(first);
      prepare(round * 1_000 + count);
      expect(prepare(round * 1_000)).not.toBe(first);
    }
  });
});

describe('the description of a timer', () => {
  it('is JSON in which payload and input stand exactly as they were stored', () => {
    const text = describeTimer(
      makeStarted({
        due_at: Date.UTC(2026, 0, 1),
        payload: '{ "big": 12345678901234567890 }',
        input: '[1.0]',
        run_id: 'r',
        workflow_id: 'w',
        task_key: 'k"',
      }),
    );
    expect(text).toContain('"payload":{ "big": 12345678901234567890 },"input":[1.0]}');
    expect(JSON.parse(text)).toMatchObject({
      runId: 'r',
      workflowId: 'w',
      taskKey: 'k"',
      attempt: 1,
      dueAt: '2026-01-01T00:00:00.000Z',
    });
    expect(JSON.parse(describeTimer(makeStarted({})))).toMatchObject({ payload: null, input: null });
  });
});
