import { expect, test, vi } from 'vitest';
import { AttemptRunner, type AttemptRunnerOptions } from './attempt-runner.ts';
import type { Outcome } from './outcome.ts';

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
  action: '{"type":"http","url":"http://127.0.0.1:9/"}',
  payload: null,
  retry: null,
  timeout_ms: null,
  input: null,
  run_status: 'running' as const,
};

function openRunner(query: () => Promise<{ rows: object[] }>) {
  const outcomes: Outcome[] = [];
  const perform = vi.fn(async () => ({ outcome: 'succeeded' as const, durationMs: 1 }));
  const ignore = { inc: () => {}, observe: () => {} };
  const options = {
    database: { hot: { query } },
    workflowVersions: {},
    secrets: { peek: () => [] },
    http: { perform },
    gate: { enter: () => 'entered', leave: () => {} },
    onOutcome: (outcome: Outcome) => outcomes.push(outcome),
    metrics: { outcomes: ignore, attemptSeconds: ignore, latenessSeconds: ignore, timersPostponed: ignore },
    logger: { error: () => {} },
  } as unknown as AttemptRunnerOptions;
  return { runner: new AttemptRunner(options), outcomes, perform };
}

test('a lost attempt of a cancelled run is not sent again', async () => {
  const { runner, outcomes, perform } = openRunner(async () => ({ rows: [{ stands: true }] }));
  await runner.run({ ...timer, run_status: 'cancelled' }, performance.now());
  expect(perform).not.toHaveBeenCalled();
  expect(outcomes).toMatchObject([{ kind: 'postponed', runId: timer.run_id, version: timer.version }]);
});

test('an attempt that waited long after its start is sent only when the start still stands', async () => {
  const undone = openRunner(async () => ({ rows: [] }));
  await undone.runner.run(timer, performance.now() - 5_000);
  expect(undone.perform).not.toHaveBeenCalled();
  expect(undone.outcomes).toMatchObject([{ kind: 'postponed' }]);

  const standing = openRunner(async () => ({ rows: [{ stands: true }] }));
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
