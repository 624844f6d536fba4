// The entry of the container image: becomes the program that the image's command names.
// usage: node scripts/image/main.ts COMMAND [ARGUMENT...]
//
// The program runs in this process, which is the first of its container. To such a process the kernel delivers only
// the signals that it has a handler for, and a service has none before it runs: until then this file has one.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What each command runs, from the root of the repository, and what is said of it. */
const COMMANDS: Record<string, { program: string; does: string }> = {
  api: { program: 'services/api-service/main.ts', does: 'the public door, on port 8088' },
  scheduler: { program: 'services/scheduler-service/main.ts', does: 'finds what is due; health on port 8089' },
  worker: { program: 'services/worker-service/main.ts', does: 'calls the endpoints; health on port 8090' },
  standalone: { program: 'services/standalone/main.ts', does: 'all three in one process; needs DATABASE_URL here' },
  migrate: { program: 'services/standalone/migrate.ts', does: 'brings the database up to this version, and ends' },
  punctual: {
    program: 'services/command/main.ts',
    does: 'asks and steers an installation: PUNCTUAL_URL, PUNCTUAL_API_KEY',
  },
  ledger: { program: 'packages/database/ledger-command.ts', does: 'proves that nothing is lost' },
  reseal: { program: 'services/standalone/reseal.ts', does: 'puts stored secrets under the first encryption key' },
  receiver: { program: 'scripts/receiver.mjs', does: "a third party's endpoint, for trials" },
};
const ROOT = join(import.meta.dirname, '../..');
const USAGE_CODE = 2;
/** 128 and the number of SIGTERM, as a shell tells of a process that ended by it. */
const TERMINATED_CODE = 143;
const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

const [name = '', ...args] = process.argv.slice(2);
const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
if (command === undefined) {
  const lines = Object.entries(COMMANDS).map(([each, { does }]) => `  ${each.padEnd(11)} ${does}`);
  console.error(`${name === '' ? 'No command was given.' : `There is no command ${name}.`} Commands:\n\n${lines.join('\n')}
\nSettings are environment variables: docs/configuration.md.`);
  process.exit(USAGE_CODE);
}
for (const signal of SIGNALS) {
  process.on(signal, () => {
    // A service that runs has a handler of its own, which drains.
    if (process.listenerCount(signal) === 1) process.exit(TERMINATED_CODE);
  });
}
const program = join(ROOT, command.program);
process.argv = [process.argv[0]!, program, ...args];
await import(pathToFileURL(program).href);
