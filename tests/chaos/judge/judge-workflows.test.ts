import type { Delivery, PullEvent } from '@punctual/e2e';
import { describe, expect, it } from 'vitest';
import type { Check, Offence } from './evidence.ts';
import {
  judgeMappedRuns,
  judgeMoves,
  judgeOperation,
  judgePauses,
  judgePulledTasks,
  type PulledTask,
} from './judge-workflows.ts';

const checksOf = (offences: readonly Offence[]): Check[] => offences.map(({ check }) => check);

function receive(timerId: string, taskKey: string, receivedAt: number, body: object = {}): Delivery {
  return {
    target: 'good',
    timerId,
    idempotencyKey: timerId,
    attempt: 1,
    dueAt: 0,
    receivedAt,
    body: { timerId, runId: 'run', taskKey, attempt: 1, dueAt: '', payload: null, ...body },
  };
}

describe('a mapped run', () => {
  const elements = [[1, 2], [3]];
  const whole = [
    receive('a', 'leaf', 10, { item: 1 }),
    receive('b', 'leaf', 12, { item: 2 }),
    receive('c', 'leaf', 11, { item: 3 }),
    receive('j', 'join', 20, { inputs: { reduce: elements } }),
  ];
  const judge = (deliveries: readonly Delivery[], status = 'succeeded') =>
    checksOf(judgeMappedRuns([{ id: 'run', status }], deliveries, elements));

  it('is well when each element and the join are one timer each, repeats included', () => {
    expect(judge(whole)).toEqual([]);
    expect(judge([...whole, receive('b', 'leaf', 30, { item: 2 })])).toEqual([]);
  });

  it.each<[string, readonly Delivery[], Check]>([
    ['an element was left out', whole.slice(1), 'lost'],
    ['an element became two timers', [...whole, receive('x', 'leaf', 13, { item: 3 })], 'repeated'],
    ['the join was left out', whole.slice(0, 3), 'lost'],
    ['the join became two timers', [...whole, { ...whole[3]!, timerId: 'x' }], 'lost'],
    ['the join came before its elements', [...whole.slice(0, 3), { ...whole[3]!, receivedAt: 5 }], 'early'],
    [
      'the join got another order',
      [...whole.slice(0, 3), receive('j', 'join', 20, { inputs: { reduce: [[2, 1], [3]] } })],
      'lost',
    ],
  ])('is not when %s', (_, deliveries, check) => {
    expect(judge(deliveries)).toEqual([check]);
  });

  it('is not when it did not succeed', () => expect(judge(whole, 'running')).toEqual(['lost']));
});

describe('a pause', () => {
  const pause = { runIds: new Set(['run']), ackAt: 1_000, resumedAt: 3_000 };
  const judge = (...receivedAt: number[]) =>
    checksOf(
      judgePauses(
        [pause],
        [{ id: 'run', status: 'succeeded' }],
        ['a'],
        receivedAt.map((at) => receive('t', 'a', at)),
      ),
    );

  it('holds what comes before its answer, on its way, or after the resume', () => {
    expect(judge(900, 1_400, 3_001)).toEqual([]);
  });
  it('is broken by what comes between', () => expect(judge(2_000)).toEqual(['overtaken']));
  it('is broken by a task that never comes', () => expect(judge()).toEqual(['lost']));
});

describe('a bulk operation', () => {
  const operation = { id: 'o', status: 'succeeded', matched: 2, done: 2, failed: 0 };
  it('meets each target once', () => {
    expect(judgeOperation(operation, 2)).toEqual([]);
    expect(checksOf(judgeOperation({ ...operation, done: 3 }, 2))).toEqual(['lost']);
    expect(checksOf(judgeOperation({ ...operation, status: 'failed' }, 2))).toEqual(['lost']);
  });
  it('moves each timer once', () => {
    const timer = { id: 't', version: 2, dueAt: 10, wantedAt: 10 };
    expect(judgeMoves([timer], 1)).toEqual([]);
    expect(checksOf(judgeMoves([{ ...timer, version: 3, dueAt: 20 }], 1))).toEqual(['repeated']);
    expect(checksOf(judgeMoves([{ ...timer, version: 1, dueAt: 0 }], 1))).toEqual(['lost']);
  });
});

describe('a pulled task', () => {
  const task: PulledTask = { id: 't', status: 'succeeded', attempt: 1, dueAt: 1_000, finishedAt: 9_000, lost: 0 };
  const begin = (at: number): PullEvent => ({ event: 'began', id: 't', attempt: 1, at });
  const judge = (fields: Partial<PulledTask>, ...begun: [at: number, killedAt?: number][]) =>
    checksOf(
      judgePulledTasks(
        [{ ...task, ...fields }],
        begun.map(([at, killedAt]) => ({ events: [begin(at)], killedAt })),
      ),
    );

  it('is well when it was begun once, or again after a kill or a lease', () => {
    expect(judge({}, [1_000])).toEqual([]);
    expect(judge({}, [1_000, 1_500], [1_600])).toEqual([]);
    expect(judge({ lost: 1 }, [1_000], [6_000])).toEqual([]);
  });

  it.each<[string, Partial<PulledTask>, [number, number?][], Check]>([
    ['nobody began it', {}, [], 'lost'],
    ['it is dead', { status: 'dead' }, [[1_000]], 'lost'],
    ['a loss counted as an attempt', { attempt: 2 }, [[1_000]], 'lost'],
    ['it was begun early', {}, [[900]], 'early'],
    ['it was begun after its end', {}, [[1_000, 2_000], [9_900]], 'repeated'],
    ['two had it at once', {}, [[1_000], [2_000]], 'repeated'],
    ['three had it, and one lease had lapsed', { lost: 1 }, [[1_000], [2_000], [3_000]], 'repeated'],
  ])('is not when %s', (_, fields, begun, check) => {
    expect(judge(fields, ...begun)).toEqual([check]);
  });
});
