import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isId } from '@punctual/domain';
import { connectDatabase, parsePooler } from './connect.ts';
import { type LedgerReport, OVERDUE_AFTER_MS_DEFAULT, readLedger } from './repositories/ledger.repository.ts';

const USAGE = `Proves that no timer was lost: every timer ever created is live or ended in exactly one way.

  npm run ledger                     of everything
  npm run ledger -- --tenant <id>       of one tenant
  npm run ledger -- --overdue-ms <ms>   name timers that were due longer ago than this (${OVERDUE_AFTER_MS_DEFAULT})
  npm run ledger -- --json              the whole report as JSON

Exit code: 0 balanced, 1 not balanced (what differs is named), 2 could not be read.

Settings (environment): DATABASE_URL; without it the database of the standalone that runs in PUNCTUAL_DATA_DIR
(.punctual). It only reads, in one snapshot.`;

const DATA_DIR_DEFAULT = '.punctual';
/** Whoever looks on waits a little for a busy server; the report's own queries have their own limit. */
const CONNECT_TIMEOUT_MS = 10_000;
const EXIT_UNREADABLE = 2;

async function findDatabaseUrl(): Promise<string> {
  if (process.env.DATABASE_URL) return process.env.DATABASE_URL;
  const folder = resolve(process.env.PUNCTUAL_DATA_DIR || DATA_DIR_DEFAULT);
  let text: string;
  try {
    text = await readFile(join(folder, 'connection.json'), 'utf8');
  } catch {
    throw new Error(`DATABASE_URL is not set, and no standalone runs in ${folder}.`);
  }
  return (JSON.parse(text) as { databaseUrl: string }).databaseUrl;
}

function printReport(report: LedgerReport): void {
  const { total } = report;
  const counts: [string, number][] = [
    ['created', total.created],
    ['live: scheduled', total.scheduled],
    ['live: running', total.running],
    ['live: paused', total.paused],
    ['finished: succeeded', total.succeeded],
    ['finished: dead', total.dead],
    ['finished: cancelled', total.cancelled],
    ['finished: skipped', total.skipped],
    ['kept as dead letters', total.deadLetters],
  ];
  console.log(`Ledger at ${new Date(report.readAt).toISOString()}, ${report.lineCount} tenants' partitions\n`);
  for (const [name, count] of counts) console.log(`  ${name.padEnd(21)} ${String(count).padStart(14)}`);
  console.log('');
  if (report.isBalanced) console.log('Balanced: every timer created is live or ended in exactly one way.');
  else console.log(`NOT BALANCED in ${report.differenceCount} tenants' partitions:`);
  for (const { tenantId, partition, detail } of report.differences) {
    console.log(`  tenant ${tenantId}, partition ${partition}: ${detail}`);
  }
  if (report.overdueCount > 0) {
    console.log(`${report.overdueCount} timers are more than ${report.overdueAfterMs} ms overdue; the oldest:`);
    for (const { id, tenantId, partition, state, wakeAt } of report.overdueTimers) {
      console.log(
        `  ${id} (${state} since ${new Date(wakeAt).toISOString()}; tenant ${tenantId}, partition ${partition})`,
      );
    }
  }
  if (report.stuckRunCount > 0) {
    console.log(`${report.stuckRunCount} runs are running although nothing of them is live; the oldest:`);
    for (const { id, tenantId, workflowId } of report.stuckRuns) {
      console.log(`  ${id} (tenant ${tenantId}, workflow ${workflowId})`);
    }
  }
  const { endedAt, reviewed, mended, tasksLost, unmendable } = report.review;
  const when =
    endedAt === null ? 'has not ended yet' : `ended at ${new Date(endedAt).toISOString()}, of ${reviewed} runs`;
  console.log(`The last review of runs ${when}; all reviews mended ${mended} (${tasksLost} tasks without a trace).`);
  if (unmendable > 0) console.log(`It could not mend ${unmendable}; the scheduler's log says why.`);
  if (report.unownedPartitions.length > 0) {
    console.log(
      `No scheduler owns ${report.unownedPartitions.length} partitions: ${report.unownedPartitions.join(', ')}.`,
    );
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      tenant: { type: 'string' },
      'overdue-ms': { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const overdueAfterMs = Number(values['overdue-ms'] ?? OVERDUE_AFTER_MS_DEFAULT);
  if (!Number.isSafeInteger(overdueAfterMs) || overdueAfterMs < 0)
    throw new Error('--overdue-ms must be a whole number, 0 or more.');
  if (values.tenant !== undefined && !isId(values.tenant)) throw new Error('--tenant must be the id of a tenant.');
  const database = connectDatabase({
    connectionString: await findDatabaseUrl(),
    pooler: parsePooler(process.env.DATABASE_POOLER),
    applicationName: 'punctual-ledger',
    poolSizeMax: 1,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
  });
  try {
    const report = await readLedger(database, { overdueAfterMs, ...(values.tenant && { tenantId: values.tenant }) });
    if (values.json) console.log(JSON.stringify(report, null, 2));
    else printReport(report);
    return report.isBalanced ? 0 : 1;
  } finally {
    await database.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  // A host with several addresses fails with one error for each, and none of its own.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  console.error(first instanceof Error ? first.message : String(first));
  process.exitCode = EXIT_UNREADABLE;
}
