import { type RunningService, type RunningStack, startStack } from '@punctual/local-servers';
import { type Receiver, startReceiver, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run as runCommand } from '../../services/command/test/run.ts';
import { ApiClient, type BatchResult } from './api-client.ts';

const SETUP_LIMIT_MS = 120_000;
const TEST_LIMIT_MS = 120_000;
/** Timers of one wave of traffic, and over what time they come due (ms). */
const WAVE = 300;
const WAVE_MS = 2_000;
const SLOW_ATTEMPTS = 40;
const SLOW_MS = 8_000;
const PARTITIONS = 64;

interface Instance {
  id: string;
  pid: number;
  status: string;
  partitions: number[];
  details: { attemptsInFlight: number; oldestAttempts?: { timerId: string }[] };
}

describe.each(['redis', 'postgres'] as const)('with the queue in %s', (queue) => {
  let stack: RunningStack;
  let receiver: Receiver;
  let api: ApiClient;
  const sent = new Set<string>();
  beforeAll(async () => {
    receiver = await startReceiver();
    stack = await startStack({
      scheduler: 2,
      worker: 2,
      ...(queue === 'postgres' && { redisUrl: null }),
      ephemeral: true,
      env: { LOG_LEVEL: 'error' },
      log: () => {},
    });
    api = new ApiClient(stack.apiUrls, 5);
    await waitUntil('two of each work', async () => (await areShared(2)) && (await list('worker')).length === 2);
  }, SETUP_LIMIT_MS);
  afterAll(async () => {
    await stack?.stop();
    await receiver?.close();
  }, SETUP_LIMIT_MS);

  const run = (...args: string[]) => runCommand(args, { PUNCTUAL_URL: stack.apiUrls[0]! });
  const runJson = async (...args: string[]) => {
    const { exitCode, stdout, stderr } = await run(...args, '--json');
    expect(exitCode, stderr).toBe(0);
    return JSON.parse(stdout);
  };
  const list = async (role: 'worker' | 'scheduler'): Promise<Instance[]> => (await runJson(`${role}s`, 'list')).data;
  const areShared = async (count: number) => {
    const shares = (await list('scheduler')).map(({ partitions }) => partitions.length).filter((share) => share > 0);
    return shares.length === count && shares.every((share) => share === PARTITIONS / count);
  };
  async function createTimers(timers: readonly object[]): Promise<string[]> {
    const answer = await api.expect<{ results: BatchResult[] }>([207], 'POST', '/v1/timers/batch', { timers });
    return answer.results.map(({ timer }) => timer!.id);
  }
  const createWave = async () => {
    const action = { type: 'http', url: receiver.url };
    const dueAt = (index: number) => new Date(Date.now() + 100 + (index * WAVE_MS) / WAVE).toISOString();
    const ids = await createTimers(Array.from({ length: WAVE }, (_, index) => ({ action, dueAt: dueAt(index) })));
    for (const id of ids) sent.add(id);
  };
  const readIds = () => receiver.requests.map(({ headers }) => String(headers['webhook-id']));
  const waitForDeliveries = () =>
    waitUntil('all that was sent has come', () => sent.isSubsetOf(new Set(readIds())), TEST_LIMIT_MS);
  /** Hints that a worker has worked on since it began, by its own metrics. */
  async function countStarts(pid: number): Promise<number> {
    const service = stack.processes.find((other) => other.pid === pid) as RunningService;
    const text = await (await fetch(`${service.url}/metrics`)).text();
    return Number(/^worker_start_timers_sum(?:\{.*\})? (\d+)/m.exec(text)![1]);
  }

  it(
    'a worker that is drained ends what it has in hand, takes no more, and works again when it is resumed',
    async () => {
      await createTimers(Array(SLOW_ATTEMPTS).fill({ action: { type: 'noop', durationMs: SLOW_MS } }));
      // As many as come in one chunk go to one worker.
      const isBusy = ({ details }: Instance) => (details.oldestAttempts ?? []).length > 0;
      await waitUntil('a worker has some in hand for long', async () => (await list('worker')).some(isBusy), SLOW_MS);
      expect((await runJson('workers', 'in-hand')).data.length).toBeGreaterThan(0);
      const workers = await list('worker');
      const drained = workers.find(isBusy)!;
      const other = workers.find(({ id }) => id !== drained.id)!;
      await createWave();
      const asked = await run('workers', 'drain', drained.id);
      expect(asked).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('--yes') });
      expect(await runJson('workers', 'drain', drained.id, '--yes')).toEqual({ id: drained.id, status: 'drained' });
      const [shown] = (await list('worker')).filter(({ id }) => id === drained.id);
      expect(shown).toMatchObject({ status: 'drained', details: { attemptsInFlight: 0 } });
      const before = [await countStarts(drained.pid), await countStarts(other.pid)] as const;
      await createWave();
      await waitForDeliveries();
      expect(await countStarts(drained.pid)).toBe(before[0]);
      expect((await countStarts(other.pid)) - before[1]).toBeGreaterThanOrEqual(WAVE);

      const last = await run('workers', 'drain', other.id, '--yes');
      expect(last).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('409 last_worker') });
      expect(await runJson('workers', 'resume', drained.id)).toEqual({ id: drained.id, status: 'running' });
      await waitUntil('it takes work again', async () => {
        await createWave();
        await waitForDeliveries();
        return (await countStarts(drained.pid)) > before[0];
      });
    },
    TEST_LIMIT_MS,
  );

  it(
    'a scheduler that is drained gives its partitions to the other, and shares them again when it is resumed',
    async () => {
      const [drained] = (await list('scheduler')) as [Instance];
      await createWave();
      expect(await runJson('schedulers', 'drain', drained.id, '--yes')).toEqual({ id: drained.id, status: 'drained' });
      await waitUntil('the other has all', () => areShared(1));
      await createWave();
      await waitForDeliveries();
      await runJson('schedulers', 'resume', drained.id);
      const { schedulers } = await runJson('schedulers', 'rebalance');
      expect(schedulers.map(({ partitions }: { partitions: number }) => partitions)).toEqual([32, 32]);
    },
    TEST_LIMIT_MS,
  );

  it(
    'after a scheduler was killed, a rebalance gives its partitions away without waiting for its leases',
    async () => {
      const [killed] = (await list('scheduler')) as [Instance];
      stack.processes.find(({ pid }) => pid === killed.pid)!.kill('SIGKILL');
      await createWave();
      await waitUntil('it is not heard of any more', async () => (await list('scheduler')).length === 1);
      const { schedulers } = await runJson('schedulers', 'rebalance');
      expect(schedulers).toMatchObject([{ status: 'running', partitions: PARTITIONS }]);
      await waitForDeliveries();
      await stack.add('scheduler');
      await waitUntil('another has half of them', () => areShared(2));
    },
    TEST_LIMIT_MS,
  );

  it(
    'a bulk operation is counted, refused without a yes, started, and watched to its end',
    async () => {
      const delay = { type: 'duration', value: 1, unit: 'hours' };
      const labels = { of: 'bulk' };
      await createTimers(Array(500).fill({ delay, labels, action: { type: 'noop' } }));
      const filter = 'status=scheduled&label.of=bulk';
      const counted = await runJson('bulk', 'dry-run', '--action', 'cancel', '--filter', filter);
      expect(counted).toMatchObject({ dryRun: true, matched: 500 });
      const start = ['bulk', 'start', '--action', 'cancel', '--filter', filter];
      expect(await run(...start)).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining('This cancels everything'),
      });
      expect(await runJson('timers', 'count', '--status', 'scheduled', '--label', 'of=bulk')).toEqual({ count: 500 });
      const { id } = await runJson(...start, '--yes');
      const watched = await run('bulk', 'watch', id);
      expect(watched.stderr).toContain('500 of 500, succeeded');
      expect(watched).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^STATUS +succeeded$/m) });
      expect(await runJson('timers', 'count', '--status', 'scheduled', '--label', 'of=bulk')).toEqual({ count: 0 });
    },
    TEST_LIMIT_MS,
  );

  it('in all that time nothing was lost or sent twice, and the command says that all is well', async () => {
    expect(readIds().toSorted()).toEqual([...sent].toSorted());
    expect(await run('ledger')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('Balanced: every timer'),
    });
    const status = await run('status');
    expect(status).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^WORKERS +2 running; /m) });
    expect(status.stdout).toMatch(/^SCHEDULERS +2 running; 64 partitions owned$/m);
  });
});
