import { waitUntil } from '@punctual/testkit';
import type { CaseContext, ChaosCase } from '../chaos-case.ts';
import type { Offence } from '../judge/evidence.ts';
import { type EndedOperation, judgeMoves, judgeOperation, type MovedTimer } from '../judge/judge-workflows.ts';
import { killDuring } from './kills.ts';

const TIMERS = 100_000;
const TIMERS_SHORT = 6_000;
const BATCH_TIMERS = 1_000;
/** Every second one is fired in the end, to see that it is delivered; the others are cancelled, to see that they are not. */
const HALVES = ['fired', 'cancelled'] as const;
const HOUR_MS = 3_600_000;
const SHIFT_MS = 600_000;
/** Of crashes at its portions: enough for some portions of each operation. */
const PASSED_TIMERS = 10_000;
const OPERATION_LIMIT_MS = 240_000;

/** Operations over many timers, whose workers die at any moment. */
export const bulkOperations: readonly ChaosCase[] = [
  {
    name: 'bulk:kills',
    summary: `${TIMERS.toLocaleString('en')} timers are moved, fired and cancelled by filter, while apis and workers are killed by turns`,
    isInTests: true,
    system: { api: 2, env: { WORKER_LEASE_MARGIN_MS: '2000' } },
    allowsRepeats: true,
    async fault(context) {
      const timers = await putSleepers(context, context.choose(TIMERS, TIMERS_SHORT));
      const offences: Offence[] = [];
      await killDuring(context, ['api', 'worker'], changeAll(context, timers, offences));
      context.judgeAtEnd(async ({ deliveries }) => {
        const received = new Set(deliveries.map(({ timerId }) => timerId));
        for (const [id, { half }] of timers) {
          if (half === 'fired' && !received.has(id))
            offences.push({ check: 'lost', text: `timer ${id} was never sent` });
          if (half === 'cancelled' && received.has(id))
            offences.push({ check: 'overtaken', text: `timer ${id} was sent, although an operation had cancelled it` });
        }
        return offences;
      });
    },
  },
];

type Sleepers = ReadonlyMap<string, { half: (typeof HALVES)[number]; dueAt: number }>;

async function putSleepers({ traffic: { asker }, receivers }: CaseContext, count: number): Promise<Sleepers> {
  const timers = new Map<string, { half: (typeof HALVES)[number]; dueAt: number }>();
  for (let first = 0; first < count; first += BATCH_TIMERS) {
    const wanted = Array.from({ length: BATCH_TIMERS }, (_, index) => {
      const half = HALVES[index % HALVES.length]!;
      return {
        dueAt: new Date(Date.now() + HOUR_MS).toISOString(),
        action: { type: 'http', url: receivers.urls.good },
        payload: { n: first + index },
        timeoutMs: 5_000,
        externalId: `bulk-${first + index}`,
        labels: { bulk: 'yes', half },
      };
    });
    const body = { timers: wanted };
    const answer = await asker.ask<{ results: { timer: { id: string } }[] }>('POST', '/v1/timers/batch', [207], body);
    for (const [index, { timer }] of (answer?.body.results ?? []).entries()) {
      const { labels, dueAt } = wanted[index]!;
      timers.set(timer.id, { half: labels.half, dueAt: Date.parse(dueAt) });
    }
  }
  return timers;
}

/** Moves all of them and looks at each, then ends the halves, each by an operation. */
async function changeAll(context: CaseContext, timers: Sleepers, offences: Offence[]): Promise<void> {
  const change = { shiftMs: SHIFT_MS };
  const moved = await carryOut(context, { action: 'reschedule', filter: { labels: { bulk: 'yes' } }, change });
  offences.push(...judgeOperation(moved, timers.size));
  offences.push(...judgeMoves(await readMoved(context, timers, 1), 1));
  const ends = [
    { action: 'fire', filter: { labels: { half: 'fired' } } },
    { action: 'cancel', filter: { labels: { half: 'cancelled' } } },
  ];
  const ended = await Promise.all(ends.map((body) => carryOut(context, body)));
  for (const operation of ended) offences.push(...judgeOperation(operation, timers.size / HALVES.length));
}

/** For the crashes between the steps of a portion: moves timers to and fro by operations, and cancels them in the end. */
export async function passBulkPortions(context: CaseContext, isOver: () => boolean): Promise<void> {
  const timers = await putSleepers(context, PASSED_TIMERS);
  const offences: Offence[] = [];
  context.judgeAtEnd(async () => offences);
  const filter = { labels: { bulk: 'yes' } };
  let moves = 0;
  for (; !isOver(); moves += 1) {
    const change = { shiftMs: SHIFT_MS };
    const moved = await carryOut(context, { action: 'reschedule', filter, change }, String(moves));
    offences.push(...judgeOperation(moved, timers.size));
  }
  offences.push(...judgeMoves(await readMoved(context, timers, moves), moves));
  await carryOut(context, { action: 'cancel', filter });
}

/** Under a key, so that a repeat of the request does not make a second operation. */
async function carryOut(
  { traffic: { asker } }: CaseContext,
  body: { action: string; filter: object; change?: object },
  name = body.action,
): Promise<EndedOperation> {
  const key = `chaos-bulk-${name}`;
  const begun = await asker.ask<EndedOperation>('POST', '/v1/bulk-operations', [202], body, key);
  if (begun === undefined) throw new Error(`no operation ${body.action} could be begun`);
  const read = async () =>
    (await asker.ask<EndedOperation>('GET', `/v1/bulk-operations/${begun.body.id}`, [200]))?.body ?? begun.body;
  return waitUntil(
    `the operation ${body.action} has ended`,
    async () => {
      const operation = await read();
      return operation.status === 'running' ? undefined : operation;
    },
    OPERATION_LIMIT_MS,
  );
}

// Past the API: a hundred thousand timers by pages would take longer than the case.
async function readMoved({ system }: CaseContext, timers: Sleepers, moves: number): Promise<MovedTimer[]> {
  const rows = await system.queryPostgres(
    `SELECT id, version, date_part('epoch', due_at) * 1000 AS due_at FROM timers WHERE id = ANY ($1::uuid[])`,
    [[...timers.keys()]],
  );
  const found = new Map(rows.map((row) => [row.id as string, row]));
  return [...timers].map(([id, { dueAt }]) => {
    const row = found.get(id);
    const wantedAt = dueAt + moves * SHIFT_MS;
    return { id, version: Number(row?.version ?? 0), dueAt: Math.round(Number(row?.due_at ?? 0)), wantedAt };
  });
}
