import { runClosedLoop } from '../client.ts';
import { BATCH_TIMERS, BATCHES_AT_ONCE, PAYLOAD } from '../engines/engine.ts';
import type { PunctualEngine } from '../engines/punctual.ts';
import { withProgress } from '../progress.ts';
import { startCostClock } from './measure.ts';
import type { OwnScenario } from './own-scenario.ts';

const A_DAY_MS = 86_400_000;
const SHIFT_MS = 3_600_000;
const LABELS = { campaign: 'bench' };
/** Timers beside them that no filter matches: they must stay as they are. */
const BYSTANDERS = 1_000;
const POLL_MS = 100;
/** No operation takes as long (ms). */
const LIMIT_MS = 1_800_000;

interface Operation {
  id: string;
  status: string;
  matched: number;
  done: number;
  failed: number;
}

/** What one operation came to. */
interface Measured {
  timersPerSecond: number;
  cpuMicrosecondsPerTimer: number;
  faults: string[];
}

/** Operations by a filter over sleeping timers, from the request to the last of them. */
export const bulk: OwnScenario = {
  summary: '--count sleeping timers of one label, by filter: rescheduled, paused, resumed and cancelled',
  countDefault: 1_000_000,
  async run(engine, _sink, { count, log }) {
    const dueAt = Date.now() + A_DAY_MS;
    await putSleeping(engine, count, dueAt);
    const carryOut = (body: object) => measure(engine, count, body, log);
    const filter = { labels: LABELS };
    const rescheduled = await carryOut({ action: 'reschedule', filter, change: { shiftMs: SHIFT_MS } });
    const faults = await findUnmoved(engine, dueAt + SHIFT_MS);
    const paused = await carryOut({ action: 'pause', filter });
    faults.push(...(await findStrays(engine, 'paused', count)));
    const resumed = await carryOut({ action: 'resume', filter });
    faults.push(...(await findStrays(engine, 'scheduled', count)));
    const cancelled = await carryOut({ action: 'cancel', filter });
    faults.push(...(await findStrays(engine, 'cancelled', count)));
    const all = { rescheduled, paused, resumed, cancelled };
    return {
      figures: Object.fromEntries(
        Object.entries(all).flatMap(([name, { timersPerSecond, cpuMicrosecondsPerTimer }]) => [
          [`${name}, timers/s`, timersPerSecond],
          [`${name}, CPU µs/timer`, cpuMicrosecondsPerTimer],
        ]),
      ),
      faults: [...Object.values(all).flatMap((measured) => measured.faults), ...faults, ...(await engine.check())],
    };
  },
};

async function putSleeping(engine: PunctualEngine, count: number, dueAt: number): Promise<void> {
  const put = async (total: number, labels: object) => {
    const timer = { dueAt: new Date(dueAt).toISOString(), action: { type: 'noop' }, payload: PAYLOAD, labels };
    await runClosedLoop(Math.ceil(total / BATCH_TIMERS), BATCHES_AT_ONCE, (index) =>
      engine.client.send('POST', '/v1/timers/batch', {
        timers: Array.from({ length: Math.min(BATCH_TIMERS, total - index * BATCH_TIMERS) }, () => timer),
      }),
    );
  };
  await put(count, LABELS);
  await put(BYSTANDERS, { campaign: 'another' });
}

async function measure(
  engine: PunctualEngine,
  count: number,
  body: object,
  log: (line: string) => void,
): Promise<Measured> {
  const readCost = startCostClock(engine);
  const beganAt = performance.now();
  let operation = await engine.client.send<Operation>('POST', '/v1/bulk-operations', body);
  const waitForEnd = async () => {
    while (operation.status === 'running' && performance.now() - beganAt < LIMIT_MS) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      operation = await engine.client.send<Operation>('GET', `/v1/bulk-operations/${operation.id}`);
    }
  };
  await withProgress(log, () => `${operation.done} of ${operation.matched} are done`, waitForEnd);
  const seconds = (performance.now() - beganAt) / 1000;
  const { status, matched, done, failed } = operation;
  const isWhole = status === 'succeeded' && matched === count && done === count && failed === 0;
  return {
    timersPerSecond: Math.round(count / seconds),
    cpuMicrosecondsPerTimer: readCost(count).cpuMicrosecondsPerTimer.total,
    faults: isWhole ? [] : [`${JSON.stringify(body)} came to ${JSON.stringify({ status, matched, done, failed })}`],
  };
}

/** Whether all of the label, and none of the others, are in this state. */
async function findStrays(engine: PunctualEngine, status: string, count: number): Promise<string[]> {
  const read = async (campaign: string, wanted: string) => {
    const path = `/v1/timers?limit=200&label.campaign=${campaign}&status=${wanted}`;
    return (await engine.client.send<{ data: unknown[] }>('GET', path)).data.length;
  };
  const left = ['scheduled', 'running', 'paused', 'cancelled'].filter((other) => other !== status);
  const strays = await Promise.all(left.map(async (other) => [other, await read('bench', other)] as const));
  const bystanders = await read('another', 'scheduled');
  const { total } = await engine.client.send<{ total: Record<string, number> }>('GET', '/v1/ledger');
  return [
    ...strays.flatMap(([other, found]) => (found > 0 ? [`timers that should be ${status} are ${other}`] : [])),
    ...(bystanders === Math.min(200, BYSTANDERS) ? [] : ['timers that no filter matched were changed']),
    ...(total[status]! - (status === 'scheduled' ? BYSTANDERS : 0) === count
      ? []
      : [`by the ledger ${total[status]} timers are ${status}`]),
  ];
}

/** Whether none of them is due before it should be, now that all were moved. */
async function findUnmoved(engine: PunctualEngine, dueAt: number): Promise<string[]> {
  const path = `/v1/timers?limit=200&label.campaign=bench&dueBefore=${new Date(dueAt).toISOString()}`;
  const { data } = await engine.client.send<{ data: unknown[] }>('GET', path);
  return data.length > 0 ? ['timers were not moved'] : [];
}
