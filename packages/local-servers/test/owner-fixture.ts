// Owns a server or a stack and reports it in one line of JSON; the tests then kill this process.
import { setInterval } from 'node:timers';
import { startPostgres, startRedis, startStack } from '../index.ts';
import { fixtureEntries } from './stack-fixture.ts';

const [what, folder = '', ...flags] = process.argv.slice(2);
const ephemeral = flags.includes('--ephemeral');
const log = () => {};

if (what === 'postgres') {
  const { url, pid } = await startPostgres({ dataDir: folder, ephemeral, log });
  console.log(JSON.stringify({ url, pid }));
} else if (what === 'redis') {
  const { url, pid } = await startRedis({ dir: folder, ephemeral, log });
  console.log(JSON.stringify({ url, pid }));
} else {
  const stack = await startStack({ folder, entries: fixtureEntries(), log });
  const pids = [...stack.processes, ...stack.servers].map(({ pid }) => pid);
  console.log(JSON.stringify({ pids }));
}
setInterval(() => {}, 60_000);
