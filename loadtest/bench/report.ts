import type { Origin } from '@punctual/loadtest-command';
import type { EngineName } from './engines/engine.ts';
import { median } from './percentile.ts';
import type { DrainResult } from './scenarios/drain.ts';
import type { OwnResult } from './scenarios/own-scenario.ts';
import type { SteadyResult } from './scenarios/steady.ts';

export type RunResult =
  | { scenario: 'drain'; engine: EngineName; round: number; result: DrainResult }
  | { scenario: 'steady'; engine: EngineName; round: number; result: SteadyResult }
  | { scenario: 'own'; engine: 'punctual'; name: string; count: number; round: number; result: OwnResult };

interface Column {
  title: string;
  read(run: RunResult): number;
  /** Whether more is better; the ratio to the best peer is shown then, too. */
  better?: 'more' | 'less';
  digits?: number;
}

const drainColumn = (title: string, read: (result: DrainResult) => number, more: Partial<Column> = {}): Column => ({
  title,
  read: (run) => (run.scenario === 'drain' ? read(run.result) : Number.NaN),
  ...more,
});
const steadyColumn = (title: string, read: (result: SteadyResult) => number, more: Partial<Column> = {}): Column => ({
  title,
  read: (run) => (run.scenario === 'steady' ? read(run.result) : Number.NaN),
  digits: 1,
  ...more,
});

type Compared = Exclude<RunResult['scenario'], 'own'>;

const COLUMNS: Record<Compared, Column[]> = {
  drain: [
    drainColumn('timers/s', (r) => r.timersPerSecond, { better: 'more' }),
    drainColumn('CPU µs/timer', (r) => r.cpuMicrosecondsPerTimer.total, { better: 'less', digits: 1 }),
    drainColumn('created/s in batches', (r) => r.createdPerSecondInBatches, { better: 'more' }),
    drainColumn('bytes/timer waiting', (r) => r.bytesPerTimer.waiting),
    drainColumn('delivered', (r) => r.bytesPerTimer.delivered),
    drainColumn('in Redis', (r) => r.bytesPerTimer.redisWaiting),
    drainColumn('log of create', (r) => r.bytesPerTimer.walOfCreate),
    drainColumn('of delivery', (r) => r.bytesPerTimer.walOfDelivery),
    drainColumn('stolen %', (r) => r.stolenShare * 100),
  ],
  steady: [
    steadyColumn('late p50 ms', (r) => r.latenessMs.p50),
    steadyColumn('p95', (r) => r.latenessMs.p95, { better: 'less' }),
    steadyColumn('p99', (r) => r.latenessMs.p99),
    steadyColumn('max', (r) => r.latenessMs.max),
    steadyColumn('CPU µs/timer', (r) => r.cpuMicrosecondsPerTimer.total, { better: 'less' }),
    steadyColumn('disk bytes/timer', (r) => r.diskBytesPerTimer, { digits: 0 }),
    steadyColumn('create p50 ms', (r) => r.creates.p50),
    steadyColumn('p99', (r) => r.creates.p99),
    steadyColumn('stolen %', (r) => r.stolenShare * 100, { digits: 0 }),
  ],
};

/** One Markdown table a scenario: the median of each engine's rounds, and Punctual's ratio to the best peer. */
export function formatReport(origin: Origin, runs: readonly RunResult[]): string {
  const lines = [
    `\`${origin.command}\` at \`${origin.commit}\`, ${origin.measuredAt.slice(0, 10)}`,
    '',
    origin.machine,
    '',
  ];
  for (const scenario of ['drain', 'steady'] as const) {
    const ofScenario = runs.filter((run) => run.scenario === scenario);
    if (ofScenario.length > 0) lines.push(...formatTable(scenario, ofScenario), '');
  }
  lines.push(...formatOwn(runs));
  const faults = runs.flatMap((run) => run.result.faults.map((fault) => `${run.engine}, ${run.scenario}: ${fault}`));
  lines.push(faults.length === 0 ? 'Every timer arrived, none early, none twice; the ledger balances.' : 'Faults:');
  return [...lines, ...faults.map((fault) => `- ${fault}`)].join('\n');
}

/** One line a scenario and count: its figures, each the median of the rounds. */
function formatOwn(runs: readonly RunResult[]): string[] {
  const own = runs.filter((run) => run.scenario === 'own');
  const lines: string[] = [];
  for (const [name, rounds] of Map.groupBy(own, (run) => `${run.name}, ${run.count.toLocaleString('en')}`)) {
    lines.push(`${name}, medians of ${rounds.length}`, '', '| | |', '|---|--:|');
    for (const figure of Object.keys(rounds[0]!.result.figures)) {
      const value = median(rounds.map((run) => run.result.figures[figure]!));
      lines.push(`| ${figure} | ${value >= 1_000 ? Math.round(value) : Math.round(value * 10) / 10} |`);
    }
    lines.push('');
  }
  return lines;
}

function formatTable(scenario: Compared, runs: readonly RunResult[]): string[] {
  const columns = COLUMNS[scenario];
  const engines = [...new Set(runs.map((run) => run.engine))];
  const medians = new Map(
    engines.map((engine) => [
      engine,
      columns.map((column) => median(runs.filter((run) => run.engine === engine).map(column.read))),
    ]),
  );
  const rounds = Math.max(...runs.map((run) => run.round));
  const lines = [
    `${scenario}, medians of ${rounds}`,
    '',
    `| | ${columns.map((column) => column.title).join(' | ')} |`,
    `|---|${columns.map(() => '--:').join('|')}|`,
  ];
  for (const [engine, values] of medians) {
    const cells = values.map((value, index) => value.toFixed(columns[index]!.digits ?? 0));
    lines.push(`| ${engine} | ${cells.join(' | ')} |`);
  }
  const ours = medians.get('punctual');
  const peers = [...medians].filter(([engine]) => engine !== 'punctual').map(([, values]) => values);
  if (ours !== undefined && peers.length > 0) {
    const ratios = columns.map(({ better }, index) => {
      if (better === undefined) return '';
      const values = peers.map((values) => values[index]!);
      const best = better === 'more' ? Math.max(...values) : Math.min(...values);
      return `${(ours[index]! / best).toFixed(2)}×`;
    });
    lines.push(`| **punctual to the best peer** | ${ratios.join(' | ')} |`);
  }
  return lines;
}
