import { createId } from '@punctual/domain';
import { ChunkConsumer, ChunkQueue, type Hint, TIMERS_PER_CHUNK_MAX } from '@punctual/queue';
import {
  areFaultsInjected,
  BACKENDS,
  createTestQueue,
  type TestQueue,
  useTestDatabase,
  waitUntil,
  withoutFaults,
} from '@punctual/testkit';
import type { Queue } from 'bullmq';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openQueue } from '../backend.ts';
import { nameChunkQueue } from '../names.ts';

const db = useTestDatabase(2);
const makeHints = (count: number): Hint[] =>
  Array.from({ length: count }, (_, index) => ({ id: createId(), version: index + 1 }));

describe.each(BACKENDS)('the queue on %s', (backend) => {
  let testQueue: TestQueue;
  let queue: ChunkQueue;
  const errors: unknown[] = [];
  const consumers: ChunkConsumer[] = [];

  beforeEach(async () => {
    errors.length = 0;
    testQueue = await createTestQueue(backend, db, `queue_${createId().replaceAll('-', '')}`);
    // The consumer's calls fail while faults are injected; what the test hands over, it hands over once.
    queue = new ChunkQueue(testQueue.ownConnection, (error) => errors.push(error));
  });
  afterEach(async () => {
    await Promise.all(consumers.splice(0).map((consumer) => consumer.stop()));
    await queue.close();
    await testQueue.drop();
  });

  function expectNoErrors(): void {
    if (!areFaultsInjected) expect(errors).toEqual([]);
  }

  function consume(process: (hints: Hint[], isFirst: boolean) => Promise<unknown>, concurrency = 4): ChunkConsumer {
    const consumer = new ChunkConsumer(
      testQueue.connection,
      concurrency,
      async (hints, isFirst) => ((await process(hints, isFirst)) === 'left' ? 'left' : 'done'),
      (error) => errors.push(error),
    );
    consumers.push(consumer);
    consumer.start();
    return consumer;
  }

  async function withRawQueue<T>(work: (raw: Queue) => Promise<T>): Promise<T> {
    const { queue: raw, disconnect } = openQueue(nameChunkQueue(0), testQueue.ownConnection);
    try {
      await raw.waitUntilReady();
      return await work(raw);
    } finally {
      await raw.close();
      disconnect();
    }
  }

  it('hands over before all that wait what is put first', () =>
    // A chunk whose fetch fails comes later, behind the others.
    withoutFaults(async () => {
      const [first, second, third] = [makeHints(1), makeHints(1), makeHints(100)];
      await queue.dispatch(first);
      await queue.dispatch(second);
      await queue.dispatch(third, 'first');
      const order: (string | undefined)[] = [];
      const saidFirst: boolean[] = [];
      consume(async ([hint], isFirst) => {
        order.push(hint?.id);
        saidFirst.push(isFirst);
      }, 1);
      await waitUntil('all have come', () => order.length === 4);
      expect(order.slice(0, 2).toSorted()).toEqual([third[0]!.id, third[64]!.id].toSorted());
      expect(order.slice(2)).toEqual([first[0]!.id, second[0]!.id]);
      expect(saidFirst).toEqual([true, true, false, false]);
    }));

  it('hands over every hint once, in chunks of at most 64', async () => {
    const hints = makeHints(200);
    const chunks: Hint[][] = [];
    consume(async (chunk) => void chunks.push(chunk));
    expect(await queue.dispatch(hints)).toEqual({ chunks: 4, lost: [] });
    await waitUntil('all hints have come', () => chunks.flat().length >= hints.length);
    expect(chunks.map((chunk) => chunk.length).toSorted((a, b) => a - b)).toEqual([8, 64, 64, TIMERS_PER_CHUNK_MAX]);
    expect(chunks.flat().toSorted((a, b) => a.version - b.version)).toEqual(hints);
    expect(await queue.dispatch(makeHints(1))).toEqual({ chunks: 1, lost: [] });
    await waitUntil('a single one has come', () => chunks.length === 5);
    expectNoErrors();
  });

  it('knows how many chunks wait and are being started, and keeps none that are done', async () => {
    expect(await queue.listFigures()).toEqual([{ name: nameChunkQueue(0), backend, waiting: 0, active: 0 }]);
    await queue.dispatch(makeHints(300));
    expect(await queue.countWaiting()).toBe(5);
    const releases: (() => void)[] = [];
    consume(() => new Promise<void>((resolve) => releases.push(resolve)), 2);
    await waitUntil('two are under way', () => releases.length === 2);
    expect(await queue.readFigures()).toMatchObject({ waiting: 3, active: 2 });
    await waitUntil('all are done', async () => {
      for (const release of releases.splice(0)) release();
      const { waiting, active } = await queue.readFigures();
      return waiting + active === 0;
    });
    const kept = await withRawQueue((raw) => raw.getJobCounts('completed', 'failed', 'delayed'));
    // BullMQ takes one for failed whose end it could not write down, and keeps a hundred of these.
    if (!areFaultsInjected) expect(kept).toEqual({ completed: 0, failed: 0, delayed: 0 });
  });

  it('starts no more chunks at once than it is told', async () => {
    await queue.dispatch(makeHints(20 * TIMERS_PER_CHUNK_MAX));
    const releases: (() => void)[] = [];
    let most = 0;
    let done = 0;
    consume(async () => {
      await new Promise<void>((resolve) => releases.push(resolve));
      done += 1;
    }, 3);
    await waitUntil('three are under way', () => releases.length === 3);
    await waitUntil('all are done', () => {
      most = Math.max(most, releases.length);
      for (const release of releases.splice(0)) release();
      return done === 20;
    });
    expect(most).toBe(3);
  });

  it('goes on after a chunk that could not be started, which is lost and told of', async () => {
    const seen: Hint[][] = [];
    consume(async (chunk) => {
      seen.push(chunk);
      if (seen.length === 1) throw new Error('the database is away');
    }, 1);
    await queue.dispatch(makeHints(1));
    await waitUntil('the failure was told', () =>
      errors.some((error) => String(error).includes('the database is away')),
    );
    if (!areFaultsInjected) expect(errors).toHaveLength(1);
    await queue.dispatch(makeHints(1));
    await waitUntil('the next has come', () => seen.length === 2);
    expect(await queue.readFigures()).toMatchObject({ waiting: 0 });
  });

  it('takes a damaged message for one without hints, and goes on', async () => {
    await withRawQueue(async (raw) => {
      for (const data of [{}, { ids: ['x'], versions: [1] }, 'text', null]) await raw.add('chunk', data);
    });
    const good = makeHints(3);
    await queue.dispatch(good);
    const seen: Hint[][] = [];
    consume(async (chunk) => void seen.push(chunk), 1);
    // One whose fetch fails comes later, and once more when its end could not be written down.
    const [damaged, whole] = [
      () => seen.filter((hints) => hints.length === 0),
      () => seen.filter((hints) => hints.length > 0),
    ];
    await waitUntil('all have come', () => damaged().length >= 4 && whole().length > 0);
    expect(whole()[0]).toEqual(good);
    if (!areFaultsInjected) expect(seen).toEqual([[], [], [], [], good]);
    expectNoErrors();
  });

  it('takes a chunk back that its consumer leaves as it stops, at once and for another to take', () =>
    // One whose way back fails is lost, and found again by the schedulers.
    withoutFaults(async () => {
      const hints = makeHints(3);
      let calls = 0;
      let isLeaving = false;
      // A consumer that stops may be given the chunk once more before BullMQ has stopped fetching.
      const consumer = consume(async () => {
        calls += 1;
        await waitUntil('it is to leave', () => isLeaving);
        return 'left';
      });
      await queue.dispatch(hints);
      await waitUntil('it is under way', () => calls > 0);
      const stopping = consumer.stop();
      isLeaving = true;
      await stopping;
      expect(await queue.readFigures()).toMatchObject({ waiting: 1, active: 0 });
      const seen: Hint[] = [];
      consume(async (chunk) => void seen.push(...chunk));
      await waitUntil('another has it', () => seen.length > 0);
      expect(seen).toEqual(hints);
      expectNoErrors();
    }));

  it('stops when what is under way has ended, takes nothing more, and leaves the rest to others', async () => {
    await queue.dispatch(makeHints(5 * TIMERS_PER_CHUNK_MAX));
    const seen: Hint[][] = [];
    let release = () => {};
    const consumer = consume((chunk) => {
      seen.push(chunk);
      return new Promise<void>((resolve) => {
        release = resolve;
      });
    }, 1);
    await waitUntil('one is under way', () => seen.length === 1);
    let isStopped = false;
    const stopping = consumer.stop().then(() => {
      isStopped = true;
    });
    expect(isStopped).toBe(false);
    release();
    await stopping;
    await consumer.stop();
    expect(seen).toHaveLength(1);
    if (!areFaultsInjected) expect(await queue.countWaiting()).toBe(4);
    const others: Hint[][] = [];
    consume(async (chunk) => void others.push(chunk));
    await waitUntil('another takes the rest', () => others.length === 4);
  });
});
