// Starts a local stack: Postgres, Redis, and the services as separate processes.

import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { LocalServerError, type RunningStack, startStack } from '../packages/local-servers/index.ts';

const USAGE = `usage: pnpm stack [OPTION...]        or: npm run stack -- [OPTION...]

Starts Postgres, Redis and the services on this machine, each service in processes of its own. Ctrl-C stops them.

  --api N         api processes (1)
  --scheduler N   scheduler processes (1)
  --worker N      worker processes (1)
  --port N        port of the first api process (8088)
  --ephemeral     throw the data away at the end; otherwise it is kept in .punctual/stack
  --verbose       print what the services log, instead of writing it to .punctual/stack/logs
  --help          print this

DATABASE_URL and REDIS_URL, when set, name servers to use instead of local ones.`;

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const PORT_DEFAULT = 8088;
const PORT_MAX = 65_535;
/** A second Ctrl-C sooner than this is the first one, delivered twice. */
const SAME_SIGNAL_MS = 700;
const INTERRUPTED_CODE = 130;

try {
  await main();
} catch (error) {
  const isPlain = error instanceof LocalServerError || error instanceof RangeError || isUsageError(error);
  console.error(isPlain && error instanceof Error ? error.message : error);
  process.exit(1);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    // npm and pnpm differ in whether they pass the "--" on.
    args: process.argv.slice(2).filter((argument) => argument !== '--'),
    options: {
      api: { type: 'string', default: '1' },
      scheduler: { type: 'string', default: '1' },
      worker: { type: 'string', default: '1' },
      port: { type: 'string', default: String(PORT_DEFAULT) },
      ephemeral: { type: 'boolean', default: false },
      verbose: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const apiPort = Number(values.port);
  if (!Number.isInteger(apiPort) || apiPort < 1 || apiPort > PORT_MAX)
    throw new RangeError('--port must be a port number.');

  let stack: RunningStack | undefined;
  let signalledAt: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      const now = performance.now();
      if (signalledAt !== undefined && now - signalledAt < SAME_SIGNAL_MS) return;
      // While it starts, or when asked again: the guards stop what runs once we are gone.
      if (stack === undefined || signalledAt !== undefined) process.exit(INTERRUPTED_CODE);
      signalledAt = now;
      console.log('Stopping: the services finish what they have in hand.');
      void stack.stop().then(() => {
        console.log('Stopped.');
        process.exit(0);
      });
    });
  }
  console.log('Starting the stack.');
  stack = await startStack({
    api: Number(values.api),
    scheduler: Number(values.scheduler),
    worker: Number(values.worker),
    apiPort,
    ...(values.ephemeral ? { ephemeral: true } : { folder: `${ROOT}.punctual/stack` }),
    verbose: values.verbose,
    ...(process.env.DATABASE_URL ? { databaseUrl: process.env.DATABASE_URL } : {}),
    ...(process.env.REDIS_URL === undefined ? {} : { redisUrl: process.env.REDIS_URL }),
    log: console.log,
  });
  printTable(stack);
}

function printTable(stack: RunningStack): void {
  const rows = [
    ...stack.servers.map(({ name, pid, url, logFile }) => [name, String(pid), url, logFile]),
    ...stack.processes.map(({ name, pid, url, logFile }) => [name, String(pid), url, logFile]),
  ];
  const table = [['name', 'pid', 'URL', 'log'], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  for (const row of table) console.log(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  console.log('Ctrl-C stops everything.');
}

function isUsageError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
}
