import type { Command } from 'commander';
import { CommandError, EXIT } from './exit-codes.ts';
import { addCommand, addCommon } from './groups.ts';
import { type Item, renderItem, renderTable } from './render.ts';
import { type CommonOptions, Session } from './session.ts';
import { clean, print, type Terminal } from './terminal.ts';

interface Health {
  status: string;
  version: string;
  uptimeSeconds: number;
  checks: Record<string, { status: string; detail?: string }>;
}
interface Listed {
  data: Item[];
}
interface Ledger {
  readAt: string;
  isBalanced: boolean;
  total: Record<string, number>;
  differences: Item[];
  differenceCount: number;
  overdueCount: number;
  overdueAfterMs: number;
  overdueTimers: Item[];
  unownedPartitions: number[];
  stuckRunCount: number;
  stuckRuns: Item[];
}

/** Instances that `status` looks at: one page. */
const INSTANCES_MAX = '200';

/** `punctual status` and `punctual ledger`. */
export function addStatus(program: Command, terminal: Terminal, finish: (exitCode: number) => void): void {
  const status = addCommon(
    addCommand(program, 'status', 'How the service is: health, who runs, what waits, what comes due'),
  );
  status.action(async () => {
    const session = new Session(terminal, status.opts<CommonOptions>());
    const health = (await session.send('GET /v1/health', {}, [503])).body as Health;
    const operators = await readOperators(session);
    if (session.isJson) session.json({ health, ...operators });
    else showStatus(session, health, operators);
    finish(health.status === 'ok' ? EXIT.done : EXIT.bad);
  });
  const ledger = addCommon(
    addCommand(program, 'ledger', 'Prove that no timer was lost: each is live or ended in exactly one way'),
  );
  ledger
    .option('--tenant-id <id>', 'of one tenant')
    .option('--overdue-after-ms <ms>', 'tells of timers that were due longer ago than this')
    .action(async () => {
      const options = ledger.opts<CommonOptions & { tenantId?: string; overdueAfterMs?: string }>();
      const { tenantId, overdueAfterMs } = options;
      const session = new Session(terminal, options);
      const query = {
        ...(tenantId !== undefined && { tenantId }),
        ...(overdueAfterMs !== undefined && { overdueAfterMs }),
      };
      const report = await session.read<Ledger>('GET /v1/ledger', { query });
      if (session.isJson) session.json(report);
      else showLedger(session, report);
      finish(report.isBalanced ? EXIT.done : EXIT.bad);
    });
}

/** What operators see; others are told that they do not. */
async function readOperators(session: Session) {
  const query = { limit: INSTANCES_MAX };
  try {
    const workers = (await session.read<Listed>('GET /v1/workers', { query })).data;
    const schedulers = (await session.read<Listed>('GET /v1/schedulers', { query })).data;
    const queues = (await session.read<Listed>('GET /v1/queues')).data;
    return { workers, schedulers, queues };
  } catch (error) {
    if (error instanceof CommandError) return { refused: error.message };
    throw error;
  }
}

function showStatus({ terminal }: Session, health: Health, operators: Awaited<ReturnType<typeof readOperators>>): void {
  const checks = Object.entries(health.checks).map(([name, check]) => [
    name,
    check.detail ? `${check.status}: ${check.detail}` : check.status,
  ]);
  const general = { status: health.status, version: health.version, uptimeSeconds: health.uptimeSeconds };
  print(terminal, renderItem({ ...general, ...Object.fromEntries(checks) }));
  if (operators.refused !== undefined) {
    print(terminal, `\nWorkers, schedulers and queues were not shown. ${operators.refused}`);
    return;
  }
  const { workers, schedulers, queues } = operators;
  const own = workers.filter(({ kind }) => kind === 'service');
  const pull = workers.filter(({ kind }) => kind === 'pull');
  const wakes = schedulers.flatMap(({ nextWakeAt }) => (typeof nextWakeAt === 'string' ? [nextWakeAt] : [])).toSorted();
  const total = (items: readonly Item[], read: (item: Item) => unknown) =>
    items.reduce((sum, item) => sum + (Number(read(item)) || 0), 0);
  const inHand = total(own, (item) => (item.details as Item).attemptsInFlight);
  const room = total(own, (item) => (item.details as Item).attemptsMax);
  print(
    terminal,
    `\n${renderItem({
      workers: `${describeInstances(own)}; ${inHand} of ${room} attempts in hand`,
      pullWorkers: `${pull.length} seen within the hour; ${total(pull, (item) => item.tasksHeld)} tasks held`,
      schedulers: `${describeInstances(schedulers)}; ${total(schedulers, (item) => (item.partitions as unknown[]).length)} partitions owned`,
      nextDue: wakes[0] ?? null,
      dueWithinMinute: total(schedulers, (item) => item.dueWithinMinute),
    })}`,
  );
  if (queues.length > 0)
    print(terminal, `\n${renderTable(queues, ['name', 'backend', 'waiting', 'active', 'nextDueAt'])}`);
}

function describeInstances(instances: readonly Item[]): string {
  const byStatus = Map.groupBy(instances, ({ status }) => clean(String(status)));
  if (instances.length === 0) return 'none';
  return [...byStatus].map(([status, { length }]) => `${length} ${status}`).join(', ');
}

function showLedger({ terminal }: Session, report: Ledger): void {
  const { total } = report;
  print(terminal, renderItem({ readAt: report.readAt, ...total }));
  const findings: [count: number, text: string, items: readonly Item[]][] = [
    [report.differenceCount, 'differences', report.differences],
    [report.overdueCount, `timers that are overdue by more than ${report.overdueAfterMs} ms`, report.overdueTimers],
    [report.stuckRunCount, 'runs that are stuck', report.stuckRuns],
  ];
  for (const [count, text, items] of findings) {
    if (count > 0) print(terminal, `\n${count} ${text}\n${renderTable(items, Object.keys(items[0] ?? {}))}`);
  }
  if (report.unownedPartitions.length > 0) {
    print(terminal, `\nPartitions without a scheduler: ${report.unownedPartitions.join(', ')}`);
  }
  print(
    terminal,
    report.isBalanced
      ? '\nBalanced: every timer created is live or ended in exactly one way.'
      : '\nNOT balanced: look at the differences.',
  );
}
