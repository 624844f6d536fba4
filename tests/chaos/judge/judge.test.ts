import type { Delivery } from '@punctual/e2e';
import { describe, expect, it } from 'vitest';
import type { BookedTimer } from '../traffic/book.ts';
import type { Evidence } from './evidence.ts';
import { type JudgeOptions, judge } from './judge.ts';

const DUE_AT = 1_000_000;
const ID = 'a';

function bookTimer(fields: Partial<BookedTimer> = {}): BookedTimer {
  return {
    n: 1,
    target: 'good',
    deed: 'nothing',
    dueAt: DUE_AT,
    id: ID,
    edited: 'no',
    editedDueAt: DUE_AT + 1_500,
    cancelled: 'no',
    ...fields,
  };
}

function receive(fields: Partial<Delivery> = {}, revision = 1): Delivery {
  const { attempt = 1, timerId = ID } = fields;
  return {
    target: 'good',
    timerId,
    idempotencyKey: timerId,
    attempt,
    dueAt: DUE_AT,
    receivedAt: DUE_AT + 10,
    body: { timerId, runId: null, taskKey: null, attempt, dueAt: '', payload: { n: 1, revision } },
    ...fields,
  };
}

const LEDGER = { at: 0, isBalanced: true, live: 0, overdueCount: 0, stuckRunCount: 0, differences: [] };

function judgeOne(
  fields: Partial<BookedTimer>,
  status: string,
  deliveries: Delivery[],
  more: Partial<Evidence> = {},
  allowed: Partial<JudgeOptions> = {},
) {
  return judge(
    {
      book: {
        timers: [bookTimer(fields)],
        runs: [],
        answers: { requests: 1, refused: 0, unanswered: 0, beyondLimit: 0, slowestMs: 1, slow: [], wrong: [] },
      },
      deliveries,
      timers: [{ id: ID, status, attempt: 1 }],
      runs: [],
      ledgers: [LEDGER],
      processFaults: [],
      faultAt: undefined,
      healedAt: undefined,
      ...more,
    },
    {
      recoveryLimitMs: 60_000,
      allowsRepeats: false,
      allowsFailedAttempts: false,
      ...allowed,
    },
  );
}

const find = (...args: Parameters<typeof judgeOne>) => judgeOne(...args).offences.map(({ check }) => check);
const edited = { deed: 'edit', edited: 'yes', editedAfter: 0, editAskedAt: 500_000, editedAckAt: 500_010 } as const;
const cancelled = {
  deed: 'cancel',
  cancelled: 'yes',
  cancelledAfter: 0,
  cancelAskedAt: 500_000,
  cancelledAckAt: 500_010,
} as const;

describe('the judge lets pass', () => {
  it('a timer that came in time, once', () => {
    expect(find({}, 'succeeded', [receive()])).toEqual([]);
  });

  it('one that was edited and came as it is now, and one that was cancelled and did not come', () => {
    expect(find(edited, 'succeeded', [receive({ receivedAt: DUE_AT + 1_510 }, 2)])).toEqual([]);
    expect(find(cancelled, 'cancelled', [])).toEqual([]);
  });

  it('four attempts of a timer whose receiver always fails', () => {
    const attempts = [1, 2, 3, 4].map((attempt) => receive({ attempt, receivedAt: DUE_AT + 1_200 * attempt ** 2 }));
    expect(find({ target: 'failing' }, 'dead', attempts)).toEqual([]);
  });

  it('a retry without its backoff, when a fire was sent again', () => {
    const attempts = [1, 2, 3].map((attempt) => receive({ attempt, receivedAt: DUE_AT + 50 * attempt }));
    const fired = { target: 'flaky', deed: 'fire', firedAt: DUE_AT } as const;
    expect(find({ ...fired, isFireRepeated: true }, 'succeeded', attempts)).toEqual([]);
    expect(find({ ...fired, isFireRepeated: false }, 'succeeded', attempts)).toContain('early');
  });

  it('either end of a timer of which nobody knows whether it was cancelled', () => {
    expect(find({ deed: 'cancel', cancelled: 'unknown' }, 'cancelled', [])).toEqual([]);
    expect(find({ deed: 'cancel', cancelled: 'unknown' }, 'succeeded', [receive()])).toEqual([]);
  });

  it('a request that was received before the cancel was asked for, though the database forgot of it', () => {
    expect(find({ ...cancelled, target: 'failing' }, 'cancelled', [receive({ receivedAt: 499_000 })])).not.toContain(
      'overtaken',
    );
  });
});

describe('the judge notices', () => {
  it.each([
    ['a timer that is not there', {}, 'scheduled', [receive()]],
    ['one that is said to have succeeded and never came', {}, 'succeeded', []],
    ['one that died although its receiver was good', {}, 'dead', [receive()]],
    ['one that died before its attempts were used up', { target: 'failing' }, 'dead', [receive()]],
    [
      'a fifth attempt',
      { target: 'failing' },
      'dead',
      [1, 2, 3, 4, 5].map((attempt) => receive({ attempt, receivedAt: DUE_AT + 9_000 * attempt })),
    ],
    ['a request for a timer that nobody knows', {}, 'succeeded', [receive(), receive({ timerId: 'stranger' })]],
  ] as const)('lost: %s', (_name, fields, status, deliveries) => {
    expect(find(fields, status, [...deliveries])).toContain('lost');
  });

  it.each([
    ['before its due time', {}, [receive({ receivedAt: DUE_AT - 1 })]],
    ['before the due time that an edit gave it', edited, [receive({}, 2)]],
    [
      'a retry before its backoff',
      { target: 'flaky' },
      [
        receive(),
        receive({ attempt: 2, receivedAt: DUE_AT + 110 }),
        receive({ attempt: 3, receivedAt: DUE_AT + 9_000 }),
      ],
    ],
  ] as const)('early: %s', (_name, fields, deliveries) => {
    expect(find(fields, 'succeeded', [...deliveries])).toContain('early');
  });

  it.each([
    ['a request after an acknowledged cancel', cancelled, 'cancelled', [receive()]],
    ['a request with what an edit had replaced', edited, 'succeeded', [receive({ receivedAt: DUE_AT + 1_510 }, 1)]],
    ['a request with an edit that was refused', {}, 'succeeded', [receive({}, 2)]],
    [
      'a late request of an attempt that had begun before the edit',
      { ...edited, editedAfter: 1 },
      'succeeded',
      [receive({ receivedAt: DUE_AT + 1_510 }, 1)],
    ],
    ['a cancel that was acknowledged after the request', cancelled, 'cancelled', [receive({ receivedAt: 499_000 })]],
  ] as const)('overtaken: %s', (_name, fields, status, deliveries) => {
    expect(find(fields, status, [...deliveries])).toContain('overtaken');
  });

  it('repeated: an attempt that came twice, and one under another id', () => {
    expect(find({}, 'succeeded', [receive(), receive({ receivedAt: DUE_AT + 20 })])).toEqual(['repeated']);
    expect(find({}, 'succeeded', [receive({ idempotencyKey: 'b' })])).toEqual(['repeated']);
  });

  it('ledger: one that does not balance, one that was never read, and one that ends with live timers', () => {
    const ledgers = [{ ...LEDGER, isBalanced: false }, LEDGER];
    expect(find({}, 'succeeded', [receive()], { ledgers })).toEqual(['ledger']);
    expect(find({}, 'succeeded', [receive()], { ledgers: [] })).toEqual(['ledger']);
    expect(find({}, 'succeeded', [receive()], { ledgers: [{ ...LEDGER, live: 1 }] })).toEqual(['ledger']);
  });

  it('late: what was due by the heal and came a minute after it', () => {
    const healedAt = DUE_AT + 10_000;
    const deliveries = [receive({ receivedAt: healedAt + 60_001 })];
    expect(find({}, 'succeeded', deliveries, { faultAt: DUE_AT - 1, healedAt })).toEqual(['late']);
    expect(judgeOne({}, 'succeeded', deliveries, { faultAt: DUE_AT - 1, healedAt }).recoveryMs).toBe(60_001);
  });

  it('lost: a run that stands still, and a task that was never sent', () => {
    const book = {
      timers: [],
      runs: [{ n: 0, id: 'run' }],
      answers: { requests: 1, refused: 0, unanswered: 0, beyondLimit: 0, slowestMs: 1, slow: [], wrong: [] },
    };
    const tasks = [{ key: 'first', status: 'succeeded', timerId: 'task' }];
    const standing = { book, timers: [], runs: [{ id: 'run', status: 'running', tasks }] };
    expect(find({}, 'succeeded', [], standing)).toEqual(['lost']);
    const unsent = { book, timers: [], runs: [{ id: 'run', status: 'succeeded', tasks }] };
    expect(find({}, 'succeeded', [], unsent)).toEqual(['lost']);
  });

  it('lost: a signal that was taken and did not come with its task, or was refused and came', () => {
    const answers = { requests: 1, refused: 0, unanswered: 0, beyondLimit: 0, slowestMs: 1, slow: [], wrong: [] };
    const tasks = [{ key: 'second', status: 'succeeded', timerId: ID }];
    const runs = [{ id: 'run', status: 'succeeded', tasks }];
    const judgeSignal = (signal: 'taken' | 'refused', payload: { n: number } | null) => {
      const book = { timers: [], runs: [{ n: 7, id: 'run', signal }], answers };
      const request = receive();
      return find({}, 'succeeded', [{ ...request, body: { ...request.body, payload } }], { book, timers: [], runs });
    };
    expect(judgeSignal('taken', { n: 7 })).toEqual([]);
    expect(judgeSignal('refused', null)).toEqual([]);
    for (const payload of [null, { n: 8 }]) expect(judgeSignal('taken', payload)).toEqual(['lost']);
    expect(judgeSignal('refused', { n: 7 })).toEqual(['lost']);
  });

  it('answers: what took too long or made no sense', () => {
    const answers = {
      requests: 1,
      refused: 0,
      unanswered: 0,
      beyondLimit: 0,
      slowestMs: 1,
      slow: ['slow'],
      wrong: ['wrong'],
    };
    const book = { timers: [bookTimer()], runs: [], answers };
    expect(find({}, 'succeeded', [receive()], { book })).toEqual(['answers', 'answers']);
  });

  it('lost: an occurrence of a schedule without its timer, and one whose timer did not end well', () => {
    const judgeSeconds = (...timers: (readonly [second: number, status: string])[]) =>
      judgeOne({}, 'succeeded', [receive()], {
        timers: [
          { id: ID, status: 'succeeded', attempt: 1 },
          ...timers.map(([second, status]) => ({
            id: `s${second}`,
            status,
            attempt: 1,
            externalId: `schedule:x:${new Date(second * 1_000).toISOString()}`,
          })),
        ],
      }).offences.map(({ check }) => check);
    expect(judgeSeconds([3, 'succeeded'], [1, 'succeeded'], [2, 'succeeded'])).toEqual([]);
    expect(judgeSeconds([1, 'succeeded'], [3, 'succeeded'])).toEqual(['lost']);
    expect(judgeSeconds([1, 'succeeded'], [2, 'dead'])).toEqual(['lost']);
  });

  it('ends: a process that ended by itself, and one that did not start', () => {
    const end = { kind: 'end', text: 'worker-1 ended with exit code 1' } as const;
    const start = { kind: 'start', text: 'worker-1 did not start' } as const;
    expect(judgeOne({}, 'succeeded', [receive()], { processFaults: [end, start] }).offences).toEqual([
      { check: 'ends', text: end.text },
      { check: 'ends', text: start.text },
    ]);
  });

  describe('lost, where attempts may fail on their way:', () => {
    const judgeFailed = (status: string, attempt: number, received: readonly number[]) =>
      judgeOne(
        {},
        status,
        received.map((n) => receive({ attempt: n, receivedAt: DUE_AT + 10_000 * n })),
        { timers: [{ id: ID, status, attempt }] },
        { allowsFailedAttempts: true },
      ).offences.map(({ check }) => check);

    it.each([
      ['a timer that succeeded by an attempt that nobody received', 'succeeded', 2, [1]],
      ['a dead one with attempts left', 'dead', 3, [1, 2, 3]],
      ['one whose receiver got more than was made', 'succeeded', 1, [1, 2]],
    ] as const)('%s', (_name, status, attempt, received) =>
      expect(judgeFailed(status, attempt, received)).toEqual(['lost']),
    );

    it.each([
      ['attempts of which some did not arrive', 'succeeded', 3, [1, 3]],
      ['a dead one after all of its attempts', 'dead', 4, [2]],
    ] as const)('but not %s', (_name, status, attempt, received) =>
      expect(judgeFailed(status, attempt, received)).toEqual([]),
    );
  });
});
