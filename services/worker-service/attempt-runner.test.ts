import type { Outcome } from '@punctual/database';
import { expect, test, vi } from 'vitest';
import { AttemptRunner, type AttemptRunnerOptions } from './attempt-runner.ts';
import type { AttemptRequest } from './targets/http-target.ts';

const timer = {
  id: '01a1ff79-6a08-73b3-a3f5-1c0a1aa795cb',
  tenant_id: '00000000-0000-7000-8000-000000000001',
  version: 4,
  attempt: 1,
  lost: 1,
  wake_at: 1_000,
  started_at: 1_001,
  due_at: 1_000,
  run_id: '01a1ff79-6a08-73b3-a3f5-1c0a1aa79500',
  workflow_id: null,
  workflow_version: null,
  task_key: 'a',
  path: null,
  action: '{"type":"http","url":"http://127.0.0.1:9/"}',
  payload: null,
  retry: null,
  timeout_ms: null,
  input: null,
  run_status: 'running' as const,
  waits_for: null,
  signal: null,
};

type Perform = (request: AttemptRequest) => Promise<{ outcome: string; contact: string; [name: string]: unknown }>;

function openRunner(query: () => Promise<{ rows: object[] }>, secrets: object = { peek: () => [] }) {
  const outcomes: Outcome[] = [];
  const perform = vi.fn<Perform>(async () => ({ outcome: 'succeeded', contact: 'answered', durationMs: 1 }));
  const ignore = { inc: () => {}, observe: () => {} };
  const timersHeldByCircuit = { inc: vi.fn() };
  const left: (number | undefined)[] = [];
  const enter = vi.fn((_origin: string) => 'entered');
  const circuits = {
    mustWait: vi.fn(() => false),
    admit: vi.fn(() => 'passed'),
    report: vi.fn(),
    suggestPostponeMs: () => 1_234,
  };
  const gates = { mayBegin: vi.fn(() => true), refresh: vi.fn(async () => {}), needsRunAge: vi.fn(() => false) };
  const options = {
    database: { hot: { query } },
    workflowVersions: {},
    secrets,
    http: { perform, readOrigin: (url: string) => new URL(url).origin.replace('.:', ':') },
    gate: {
      enter,
      suggestPostponeMs: () => 777,
      leave: (_origin: string, heldMs: number | undefined) => left.push(heldMs),
    },
    circuits,
    gates,
    circuitHoldMaxMs: 60_000,
    onOutcome: (outcome: Outcome) => outcomes.push(outcome),
    metrics: {
      outcomes: ignore,
      attemptSeconds: ignore,
      latenessSeconds: ignore,
      timersPostponed: ignore,
      timersHeldByCircuit,
    },
    logger: { error: () => {} },
  } as unknown as AttemptRunnerOptions;
  return { runner: new AttemptRunner(options), outcomes, perform, circuits, gates, enter, left, timersHeldByCircuit };
}

test('a lost attempt of a cancelled run is not sent again', async () => {
  const { runner, outcomes, perform } = openRunner(async () => ({ rows: [{ id: timer.id, version: timer.version }] }));
  await runner.run({ ...timer, run_status: 'cancelled' }, performance.now());
  expect(perform).not.toHaveBeenCalled();
  expect(outcomes).toMatchObject([{ kind: 'postponed', runId: timer.run_id, version: timer.version }]);
});

test('an attempt that waited long after its start is sent only when the start still stands', async () => {
  const undone = openRunner(async () => ({ rows: [] }));
  await undone.runner.run(timer, performance.now() - 5_000);
  expect(undone.perform).not.toHaveBeenCalled();
  expect(undone.outcomes).toMatchObject([{ kind: 'postponed' }]);

  const standing = openRunner(async () => ({ rows: [{ id: timer.id, version: timer.version }] }));
  await standing.runner.run(timer, performance.now() - 5_000);
  expect(standing.perform).toHaveBeenCalledOnce();
  expect(standing.outcomes).toMatchObject([{ kind: 'finished' }]);
});

test('an attempt that is sent at once asks the database for nothing', async () => {
  const query = vi.fn(async () => ({ rows: [] }));
  const { runner, perform } = openRunner(query);
  await runner.run(timer, performance.now());
  expect(perform).toHaveBeenCalledOnce();
  expect(query).not.toHaveBeenCalled();
});

const standing = async () => ({ rows: [{ id: timer.id, version: timer.version }] });

test('secrets that must be read are there before the last look at the start', async () => {
  const asked: string[] = [];
  const query = async () => {
    asked.push('start');
    return standing();
  };
  const secrets = {
    peek: () => undefined,
    read: async () => {
      asked.push('secrets');
      return [];
    },
  };
  const { runner, perform } = openRunner(query, secrets);
  await runner.run(timer, performance.now() - 5_000);
  expect(perform).toHaveBeenCalledOnce();
  expect(asked).toEqual(['secrets', 'secrets', 'start']);
});

test('the right to send lasts for a moment from the start, and then for a moment from each look at it', async () => {
  const { runner, perform } = openRunner(standing);
  const startedAt = performance.now();
  await runner.run(timer, startedAt);
  const { right } = perform.mock.calls[0]![0];
  expect(right.goodUntil).toBe(startedAt + 100);
  const askedAt = performance.now();
  const goodUntil = await right.ask();
  expect(goodUntil! - askedAt).toBeGreaterThanOrEqual(200);
  expect(goodUntil! - performance.now()).toBeLessThanOrEqual(200);

  const undone = openRunner(async () => ({ rows: [] }));
  await undone.runner.run(timer, performance.now());
  expect(await undone.perform.mock.calls[0]![0].right.ask()).toBeUndefined();
});

test.each([
  ['void', 0],
  ['noRoom', 777],
  ['ownFault', 1_000],
])('an attempt that was not sent (%s) is postponed, counts for nothing and tells nothing', async (cause, waitMs) => {
  const { runner, perform, circuits, left, outcomes } = openRunner(standing);
  perform.mockResolvedValue({ outcome: 'unsent', cause, contact: 'unknown', error: 'why' });
  await runner.run(timer, performance.now());
  expect(outcomes).toMatchObject([{ kind: 'postponed', version: timer.version, waitMs }]);
  expect(left).toEqual([undefined]);
  expect(circuits.report.mock.calls).toEqual([[timer.tenant_id, ORIGIN, 'unknown', 'passed']]);
});
const ORIGIN = 'http://127.0.0.1:9';

test('an attempt whose circuit is open takes no slot, is not sent, and comes back when the circuit says', async () => {
  const { runner, outcomes, perform, circuits, left, timersHeldByCircuit } = openRunner(standing);
  circuits.mustWait.mockReturnValue(true);
  await runner.run(timer, performance.now());
  expect(perform).not.toHaveBeenCalled();
  expect(left).toEqual([]);
  expect(circuits.report).not.toHaveBeenCalled();
  expect(outcomes).toMatchObject([{ kind: 'postponed', version: timer.version, waitMs: 1_234 }]);
  expect(timersHeldByCircuit.inc).toHaveBeenCalledOnce();
});

test('an attempt whose circuit opened while it waited for its slot is not sent, and its slot tells nothing of the pace', async () => {
  const { runner, outcomes, perform, circuits, left } = openRunner(standing);
  circuits.admit.mockReturnValue('wait');
  await runner.run(timer, performance.now());
  expect(perform).not.toHaveBeenCalled();
  expect(left).toEqual([undefined]);
  expect(circuits.report).not.toHaveBeenCalled();
  expect(outcomes).toMatchObject([{ kind: 'postponed', waitMs: 1_234 }]);
});

test('an attempt that was undone while it waited for its slot is not taken for the probe', async () => {
  const { runner, circuits } = openRunner(async () => ({ rows: [] }));
  await runner.run(timer, performance.now() - 5_000);
  expect(circuits.admit).not.toHaveBeenCalled();
});

test('what an attempt tells of its endpoint is reported once, also when it could not be made', async () => {
  const { runner, perform, circuits, left, outcomes } = openRunner(standing);
  circuits.admit.mockReturnValue('probe');
  await runner.run(timer, performance.now());
  expect(circuits.report.mock.calls).toEqual([[timer.tenant_id, ORIGIN, 'answered', 'probe']]);
  expect(left).toEqual([expect.any(Number)]);
  perform.mockRejectedValue(new Error('a fault of ours'));
  await runner.run(timer, performance.now());
  expect(circuits.report.mock.calls.slice(1)).toEqual([[timer.tenant_id, ORIGIN, 'unknown', 'probe']]);
  expect(outcomes.map(({ kind }) => kind)).toEqual(['finished', 'postponed']);
});

test('a timer is held back for a limited time after its due time; then its attempts are made, open circuit or not', async () => {
  const { runner, perform, circuits, outcomes } = openRunner(standing);
  circuits.mustWait.mockReturnValue(true);
  circuits.admit.mockReturnValue('wait');
  await runner.run({ ...timer, due_at: timer.started_at - 59_999 }, performance.now());
  expect(perform).not.toHaveBeenCalled();
  await runner.run({ ...timer, due_at: timer.started_at - 60_000 }, performance.now());
  expect(perform).toHaveBeenCalledOnce();
  expect(circuits.report.mock.calls).toEqual([[timer.tenant_id, ORIGIN, 'answered', 'passed']]);
  expect(outcomes.map(({ kind }) => kind)).toEqual(['postponed', 'finished']);
});

test('gate and circuits know an endpoint by the name that its connections have, however its URL is spelt', async () => {
  const { runner, enter, circuits } = openRunner(standing);
  await runner.run({ ...timer, action: '{"type":"http","url":"http://host.example.:9/a"}' }, performance.now());
  expect(enter.mock.calls).toEqual([['http://host.example:9']]);
  expect(circuits.report.mock.calls[0]![1]).toBe('http://host.example:9');
});

test('a lost attempt of a run that was paused meanwhile is not sent again, and goes back to be parked', async () => {
  const { runner, outcomes, perform } = openRunner(standing);
  await runner.run({ ...timer, run_status: 'paused' as never }, performance.now());
  expect(perform).not.toHaveBeenCalled();
  expect(outcomes).toMatchObject([{ kind: 'held', version: timer.version }]);
});

test('an attempt that a gate holds back is not sent, and goes back by way of the gates that it has to pass', async () => {
  const { runner, outcomes, perform, gates } = openRunner(standing);
  gates.mayBegin.mockReturnValue(false);
  await runner.run(timer, performance.now());
  expect(gates.refresh).toHaveBeenCalledOnce();
  expect(perform).not.toHaveBeenCalled();
  expect(outcomes).toMatchObject([{ kind: 'held', version: timer.version, gates: [{ kind: 'origin', name: ORIGIN }] }]);
});

test('an attempt that a gate holds back while its connection opens does not count, and its slot tells nothing of the pace', async () => {
  const { runner, outcomes, perform, left, circuits } = openRunner(standing);
  perform.mockResolvedValue({ outcome: 'unsent', cause: 'held', durationMs: 1, contact: 'unknown' });
  await runner.run(timer, performance.now());
  expect(outcomes).toMatchObject([{ kind: 'held' }]);
  expect(left).toEqual([undefined]);
  expect(circuits.report.mock.calls).toEqual([[timer.tenant_id, ORIGIN, 'unknown', 'passed']]);
});

test('of a workflow that was cancelled only runs are held back that are older', async () => {
  const { runner, outcomes, perform, gates } = openRunner(async () => ({ rows: [{ created_at: 7 }] }));
  gates.needsRunAge.mockReturnValue(true);
  gates.mayBegin.mockReturnValueOnce(false);
  await runner.run(timer, performance.now());
  expect(gates.mayBegin.mock.lastCall).toMatchObject([{ runCreatedAt: 7 }]);
  expect(perform).toHaveBeenCalledOnce();
  expect(outcomes).toMatchObject([{ kind: 'finished' }]);
});
