// Carries out runbooks on real servers, command by command as they stand there, and checks that they keep what they promise.
//
// usage: npm run runbooks [-- [--install] [--out=FOLDER] [NAME...]]
//
//   --install      the tools of Postgres 18 are installed with pip, for these runs only, when the system has none
//   --out=FOLDER   writes what was typed, and what came of it, to FOLDER/NAME.md
//   NAME           restore, move, folder or partitions; all unless told
//
// Needs Linux and root: each page finds its folders where it names them, in a view of the file system of its own. Exit code 1
// when a page did not work, 2 when something is not to be had.

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeOrigin, writeReport } from '../../loadtest/command/index.ts';
import { copyTheFolder } from './copy-the-folder.ts';
import { growPartitions } from './grow.ts';
import { moveToAnotherPostgres } from './move.ts';
import { Operator } from './operator.ts';
import { findPostgresTools } from './postgres-tools.ts';
import { backUpAndRestore } from './restore.ts';

const RUNBOOKS: Record<string, { page: string; carryOut: (operator: Operator) => Promise<void> }> = {
  restore: { page: 'back-up-and-restore-postgres', carryOut: backUpAndRestore },
  move: { page: 'move-to-another-postgres', carryOut: moveToAnotherPostgres },
  folder: { page: 'back-up-the-data-folder', carryOut: copyTheFolder },
  partitions: { page: 'more-partitions', carryOut: growPartitions },
};

const INTERRUPTED_CODE = 130;

const args = process.argv.slice(2).filter((argument) => argument !== '--');
const { values, positionals } = parseArgs({
  args,
  allowPositionals: true,
  options: { install: { type: 'boolean', default: false }, out: { type: 'string' } },
});
const names = positionals.length > 0 ? positionals : Object.keys(RUNBOOKS);
const unknown = names.find((name) => !Object.hasOwn(RUNBOOKS, name));
if (unknown !== undefined) refuse(`There is no ${unknown}: name some of ${Object.keys(RUNBOOKS).join(', ')}.`);
if (process.platform !== 'linux' || process.geteuid?.() !== 0) refuse('Runbooks are carried out as root, on Linux.');
const tools = await findPostgresTools(values.install);
if (tools === undefined)
  refuse(
    'There are no tools of Postgres 18 (psql, initdb, pg_basebackup) on the PATH. Install them (postgresql-18 of apt.postgresql.org), or give --install where Python is.',
  );
// What a page has started with `pg_ctl` would outlive us.
let operator: Operator | undefined;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    void (operator?.close() ?? Promise.resolve()).finally(() => process.exit(INTERRUPTED_CODE));
  });
}
const origin = describeOrigin('runbooks', args);
for (const name of names) {
  const { page, carryOut } = RUNBOOKS[name]!;
  operator = await Operator.create(tools);
  let failure: unknown;
  try {
    await carryOut(operator);
  } catch (error) {
    failure = error;
    process.exitCode = 1;
  } finally {
    await operator.close();
  }
  const transcript = operator.transcript.join('\n');
  console.log(`== ${page}\n${transcript}\n${failure === undefined ? 'It works.' : 'IT DOES NOT WORK.'}`);
  if (failure !== undefined) console.error(failure);
  else if (values.out !== undefined) {
    const text = [
      `\`${origin.command}\` at \`${origin.commit}\`, ${origin.measuredAt.slice(0, 10)}`,
      '',
      `${origin.machine}; ${tools.version}. [The page](../../../docs/runbooks/${page}.md), carried out; lines with # say what else was done, and seen.`,
      '',
      '```',
      transcript,
      '```',
    ].join('\n');
    writeReport(join(values.out, page), text, {
      ...origin,
      page,
      tools: tools.version,
      transcript: operator.transcript,
    });
  }
}

function refuse(sentence: string): never {
  console.error(sentence);
  process.exit(2);
}
