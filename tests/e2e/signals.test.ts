import type { RunningStack } from '@punctual/local-servers';
import { BACKENDS, type Receiver, startReceiver, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient, forEachConcurrently, type Problem } from './api-client.ts';
import { signalTree } from './processes.ts';
import { STACK_LIMIT_MS, startTestStack } from './test-stack.ts';

const TEST_LIMIT_MS = 120_000;
/** Runs whose signal and time-out come at the same moment. */
const RACES = 120;
/** Runs that are sent their signals while services are killed. */
const RUNS = 60;
/** How long a killed worker's attempts are its own. */
const WORKER_SETTINGS = { WORKER_LEASE_MARGIN_MS: '2000' };

interface ShownTask {
  key: string;
  status: string;
  attempts: number;
  timerId?: string;
  waitsFor?: string;
  output?: unknown;
}
interface ShownRun {
  id: string;
  status: string;
  tasks: ShownTask[];
}
interface Signalled {
  outcome: 'delivered' | 'kept';
  timers: number;
}

describe.each(BACKENDS)('tasks that wait for signals, with the queue on %s', (backend) => {
  let stack: RunningStack;
  let receiver: Receiver;
  let api: ApiClient;

  beforeAll(async () => {
    receiver = await startReceiver();
    stack = await startTestStack(backend, {
      api: 2,
      scheduler: 2,
      worker: 2,
      env: { LOG_LEVEL: 'fatal' },
      envOf: { worker: WORKER_SETTINGS },
    });
    api = new ApiClient(stack.apiUrls, 20);
  }, STACK_LIMIT_MS);
  afterAll(async () => {
    await stack?.stop();
    await receiver?.close();
  }, STACK_LIMIT_MS);

  const call = (path: string) => ({ type: 'http', url: `${receiver.url}/${path}` });
  const until = (seconds: number) => ({ type: 'duration', value: seconds, unit: 'seconds' });
  const paid = (timeout?: object) => ({ type: 'signal', name: 'paid', ...(timeout && { timeout }) });
  /** Ships once it is paid, and reminds when that takes too long. */
  const ORDER = (timeout: object) => [
    { key: 'ship', delay: paid(timeout), action: call('ship') },
    { key: 'remind', onFailure: ['ship'], action: call('remind') },
  ];

  async function begin(tasks: object[], runs = 1): Promise<string[]> {
    const { id: workflowId } = await api.expect<{ id: string }>([201], 'POST', '/v1/workflows', {
      name: 'order',
      tasks,
    });
    const { results } = await api.expect<{ results: { run: ShownRun }[] }>([207], 'POST', '/v1/runs/batch', {
      workflowId,
      runs: Array.from({ length: runs }, (_, n) => ({ input: { n } })),
    });
    return results.map(({ run }) => run.id);
  }
  const signal = (runId: string, payload: unknown, key?: string) =>
    api.send<Signalled & Problem>(
      'POST',
      `/v1/runs/${runId}/signals/paid`,
      { payload },
      key === undefined ? {} : { 'idempotency-key': key },
    );
  const read = (id: string) => api.expect<ShownRun>([200], 'GET', `/v1/runs/${id}`);
  const find = (run: ShownRun, key: string) => run.tasks.find((task) => task.key === key)!;
  const waitForEnd = (id: string, status = 'succeeded') =>
    waitUntil(
      `run ${id} is ${status}`,
      async () => {
        const run = await read(id);
        return run.status === status ? run : undefined;
      },
      TEST_LIMIT_MS,
    );
  const bodiesOf = (runId: string, path: string) =>
    receiver.requests
      .filter((request) => request.path === path)
      .map(({ body }) => JSON.parse(body))
      .filter((body) => body.runId === runId);
  const expectBalance = async () => {
    const ledger = await api.expect<{ isBalanced: boolean }>([200], 'GET', '/v1/ledger');
    expect(ledger.isBalanced).toBe(true);
  };

  it(
    'begin with its payload when it comes, soon and once, and pass it on',
    async () => {
      const [id] = await begin([
        { key: 'paid', delay: paid(), action: { type: 'noop' } },
        { key: 'ship', after: ['paid'], when: 'inputs.paid.amount > 10', action: call('ship') },
        { key: 'gift', after: ['paid'], when: 'inputs.paid.amount > 100', action: call('gift') },
      ]);
      const waiting = find(await read(id!), 'paid');
      expect(waiting).toMatchObject({ status: 'scheduled', waitsFor: 'paid', attempts: 0 });
      const { data } = await api.expect<{ data: { waitsFor?: string }[] }>([200], 'GET', `/v1/timers?runId=${id}`);
      expect(data.map(({ waitsFor }) => waitsFor)).toEqual(['paid']);
      const sentAt = performance.now();
      expect(await signal(id!, { amount: 40 })).toMatchObject({
        status: 200,
        body: { outcome: 'delivered', timers: 1 },
      });
      const run = await waitForEnd(id!);
      console.log(`${backend}: ended ${Math.round(performance.now() - sentAt)} ms after its signal`);
      expect(find(run, 'paid')).toMatchObject({ status: 'succeeded', output: { amount: 40 } });
      expect(bodiesOf(id!, '/ship')).toHaveLength(1);
      expect(bodiesOf(id!, '/gift')).toEqual([]);
      expect(await signal(id!, {})).toMatchObject({ status: 409, body: { code: 'run_finished' } });
      await expectBalance();
    },
    TEST_LIMIT_MS,
  );

  it(
    'get what came before they waited, each signal once, and one that was sent twice with its key is one',
    async () => {
      const [id] = await begin([
        { key: 'pack', delay: until(2), action: { type: 'noop' } },
        { key: 'first', after: ['pack'], delay: paid(), action: call('first') },
        { key: 'second', after: ['first'], delay: paid(), action: call('second') },
      ]);
      const early = await signal(id!, { n: 1 }, `early-${id}`);
      expect(early).toMatchObject({ status: 200, body: { outcome: 'kept', timers: 0 } });
      expect((await signal(id!, { n: 1 }, `early-${id}`)).body).toEqual(early.body);
      await waitUntil('the first has begun', () => bodiesOf(id!, '/first').length > 0, TEST_LIMIT_MS);
      await waitUntil('the second waits', async () => find(await read(id!), 'second').waitsFor === 'paid');
      const late = await signal(id!, { n: 2 }, `late-${id}`);
      expect(late).toMatchObject({ status: 200, body: { outcome: 'delivered', timers: 1 } });
      await waitForEnd(id!);
      expect((await signal(id!, { n: 2 }, `late-${id}`)).body).toEqual(late.body);
      expect(bodiesOf(id!, '/first')).toMatchObject([{ payload: { n: 1 } }]);
      expect(bodiesOf(id!, '/second')).toMatchObject([{ payload: { n: 2 } }]);
    },
    TEST_LIMIT_MS,
  );

  it(
    'end when their time-out passes, so that the branch for that begins, or are tried all the same',
    async () => {
      const [failing] = await begin([
        ...ORDER(until(1)),
        { key: 'pack', after: ['ship'], action: call('pack') },
        { key: 'wait', delay: until(4), action: { type: 'noop' } },
      ]);
      const [trying] = await begin([
        { key: 'ship', delay: { ...paid(until(1)), onTimeout: 'run' }, action: call('late') },
      ]);
      // Nobody looks into that queue.
      const pull = { type: 'pull', queue: `nobody-${backend}` };
      const [pulled] = await begin([
        { key: 'sign', delay: paid(until(1)), action: pull },
        { key: 'remind', onFailure: ['sign'], action: call('remind') },
      ]);
      await waitUntil('the branch has begun', () => bodiesOf(failing!, '/remind').length > 0, TEST_LIMIT_MS);
      expect(await signal(failing!, {})).toMatchObject({ status: 409, body: { code: 'signal_too_late' } });
      const run = await waitForEnd(failing!);
      expect(run.tasks.map(({ key, status }) => `${key} ${status}`)).toEqual([
        'ship dead',
        'remind succeeded',
        'pack skipped',
        'wait succeeded',
      ]);
      expect([bodiesOf(failing!, '/ship'), bodiesOf(failing!, '/pack')]).toEqual([[], []]);
      expect(find(await waitForEnd(pulled!), 'sign').status).toBe('dead');
      expect(bodiesOf(pulled!, '/remind')).toHaveLength(1);
      await waitForEnd(trying!);
      expect(bodiesOf(trying!, '/late')).toMatchObject([{ payload: null, timedOut: true }]);
      await expectBalance();
    },
    TEST_LIMIT_MS,
  );

  it(
    'have one end where signal and time-out come at once: that which the answer tells',
    async () => {
      const ids = await begin(ORDER(until(3)), RACES);
      const [first] = await api.list<{ dueAt: string }>('/v1/timers', { runId: ids[0]! });
      const dueAt = Date.parse(first!.dueAt);
      const answers = new Map<string, number>();
      await Promise.all(
        ids.map(async (id, index) => {
          // From a second before the time-out, on a busy machine, to 250 ms after it; most of them near to it.
          const place = -1 + (index / RACES) * 1.5;
          const at = dueAt + 1_000 * place * Math.abs(place);
          await waitUntil('its moment has come', () => Date.now() >= at);
          const { status, body } = await signal(id, { index });
          if (status !== 200) expect(['signal_too_late', 'run_finished']).toContain(body.code);
          answers.set(id, status);
        }),
      );
      for (const [index, id] of ids.entries()) {
        await waitForEnd(id);
        const [shipped, reminded] = [bodiesOf(id, '/ship'), bodiesOf(id, '/remind')];
        if (answers.get(id) === 200) {
          expect(shipped).toMatchObject([{ payload: { index } }]);
          expect(reminded).toEqual([]);
        } else {
          expect(shipped).toEqual([]);
          expect(reminded).toHaveLength(1);
        }
      }
      const inTime = [...answers.values()].filter((status) => status === 200).length;
      console.log(`${backend}: ${inTime} of ${RACES} signals came first`);
      expect(inTime).toBeGreaterThan(0);
      expect(inTime).toBeLessThan(RACES);
      await expectBalance();
    },
    TEST_LIMIT_MS,
  );

  it(
    'lose no signal that was answered and double none, although services are killed meanwhile',
    async () => {
      const ids = await begin(
        [
          { key: 'pack', delay: until(1), action: { type: 'noop' } },
          { key: 'ship', after: ['pack'], delay: paid(), action: call('ship') },
          { key: 'more', after: ['ship'], delay: paid(until(600)), action: call('more') },
        ],
        RUNS,
      );
      let sent = 0;
      await forEachConcurrently(ids, 4, async (id) => {
        const n = sent++;
        if (n === RUNS / 4) signalTree(stack.processes.find(({ name }) => name === 'worker-1')!.pid, 'SIGKILL');
        if (n === RUNS / 3) signalTree(stack.processes.find(({ name }) => name === 'scheduler-1')!.pid, 'SIGKILL');
        if (n === RUNS / 2) signalTree(stack.processes.find(({ name }) => name === 'api-1')!.pid, 'SIGKILL');
        // Whoever gets no answer sends it again, under the same key, until somebody gives one.
        const answer = await waitUntil('the signal is answered', async () => {
          const { status } = await signal(id, { id }, `kill-${id}`).catch(() => ({ status: 0 }));
          return status === 200 ? status : undefined;
        });
        expect(answer).toBe(200);
        await signal(id, { id }, `kill-${id}`).catch(() => {});
      });
      for (const id of ids) {
        await waitUntil(
          'the second task waits',
          async () => {
            const { tasks } = await api.send<ShownRun>('GET', `/v1/runs/${id}`).then(
              ({ body }) => body,
              () => ({ tasks: [] as ShownTask[] }),
            );
            return tasks.find(({ key }) => key === 'more')?.waitsFor === 'paid';
          },
          TEST_LIMIT_MS,
        );
        // Twice at most: what the killed worker had under way.
        const shipped = bodiesOf(id, '/ship');
        expect(new Set(shipped.map(({ timerId }) => timerId)).size).toBe(1);
        expect(shipped.every(({ payload }) => payload.id === id)).toBe(true);
      }
      expect(bodiesOf(ids[0]!, '/more')).toEqual([]);
    },
    TEST_LIMIT_MS,
  );
});
