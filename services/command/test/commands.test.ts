import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { API_COMMANDS, OTHER_ROUTES, WITHOUT_COMMAND } from '../commands.ts';
import { nameOption } from '../options.ts';
import { findOperation, OPERATIONS } from '../session.ts';
import { run } from './run.ts';

const MAIN = join(import.meta.dirname, '../main.ts');
const folder = mkdtempSync(join(tmpdir(), 'punctual-command-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('every operation of the API has a command, or is listed as meant to have none', () => {
  const covered = [
    ...API_COMMANDS.map(({ route }) => route),
    ...Object.keys(OTHER_ROUTES),
    ...Object.keys(WITHOUT_COMMAND),
  ];
  expect([...new Set(covered)].toSorted()).toEqual(OPERATIONS.map(({ route }) => route).toSorted());
});

test('no two commands have the same words, and what a command sets itself its operation takes', () => {
  const words = [...API_COMMANDS.map((command) => command.words), ...Object.values(OTHER_ROUTES)];
  expect(new Set(words).size).toBe(words.length);
  for (const { route, preset = {} } of API_COMMANDS) {
    const names = findOperation(route).body.map(({ name }) => name);
    expect(names, route).toEqual(expect.arrayContaining(Object.keys(preset)));
  }
});

test('no option of an operation has the name of one of ours', () => {
  const ours = ['json', 'quiet', 'url', 'yes', 'follow', 'max', 'body', 'if-match', 'help'];
  for (const { route, query, body } of OPERATIONS) {
    const names = [...query, ...body].map(nameOption);
    expect(new Set(names).size, route).toBe(names.length);
    expect(
      names.filter((name) => ours.includes(name)),
      route,
    ).toEqual([]);
  }
});

test.each([...API_COMMANDS.map(({ words }) => words), ...Object.values(OTHER_ROUTES), 'config check'])(
  '%s tells what it takes',
  async (words) => {
    const ran = await run([...words.split(' '), '--help']);
    expect(ran.exitCode, ran.stderr).toBe(0);
    expect(ran.stdout).toContain(`Usage: punctual ${words} [options]`);
  },
);

test('the whole help names every group with a word on it', async () => {
  const { stdout } = await run(['--help']);
  for (const group of new Set(API_COMMANDS.map(({ words }) => words.split(' ')[0]!))) {
    expect(stdout).toMatch(new RegExp(`^  ${group} +[A-Z]`, 'm'));
  }
});

/** As a process of its own: what only that shows, and what loads too much for a test's process. */
function punctual(args: readonly string[], environment: Record<string, string> = {}) {
  const env = { PATH: process.env.PATH, ...environment };
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', env });
  return { exitCode: status, stdout, stderr };
}

describe('config check', () => {
  const GOOD = { DATABASE_URL: 'postgres://db/punctual' };
  const check = (environment: Record<string, string>, ...args: string[]) =>
    punctual(['config', 'check', ...args], environment);

  test('tells all faults of all services at once, and nothing that is secret', () => {
    const ran = check({
      ...GOOD,
      API_CREATE_QUEUE_MAX: '1',
      SCHEDULER_LEASE_RENEW_MS: 'soon',
      ENCRYPTION_KEYS: 'k1:not-so-secret',
      WORKER_ATTEMPT_MAX: '5',
    });
    expect(ran.exitCode).toBe(1);
    expect(ran.stdout).toMatch(/^api:\n(.*\n)*? {2}API_CREATE_QUEUE_MAX must/m);
    expect(ran.stdout).toMatch(/^scheduler:\n {2}SCHEDULER_LEASE_RENEW_MS=soon is not a whole number/m);
    expect(ran.stdout).toMatch(/^worker:\n {2}ENCRYPTION_KEYS/m);
    expect(ran.stdout).toContain('No service reads: WORKER_ATTEMPT_MAX.');
    expect(ran.stdout).not.toContain('not-so-secret');
  });

  test('of the standalone needs nothing, and knows its own settings', () => {
    expect(check({}, 'standalone')).toMatchObject({ exitCode: 0, stdout: 'standalone: good\n' });
    const ran = check({ HOST: '0.0.0.0', AUTH: 'off' }, 'standalone', '--json');
    expect(ran.exitCode).toBe(1);
    expect(JSON.parse(ran.stdout)).toMatchObject({
      isGood: false,
      services: [{ faults: [expect.stringContaining('AUTH')] }],
    });
  });
});

describe('completion', () => {
  test.each(['bash', 'zsh', 'fish'])('has a script for %s', (shell) => {
    const { stdout, exitCode } = punctual(['completion', shell]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('punctual');
    expect(stdout.length).toBeGreaterThan(500);
  });

  test('in bash offers groups, commands, options and choices', () => {
    symlinkSync(MAIN, join(folder, 'punctual'));
    writeFileSync(join(folder, 'completion.bash'), punctual(['completion', 'bash']).stdout);
    // As bash calls the function that the script registers, when Tab is pressed behind these words.
    const complete = (...words: string[]) => {
      // The first two are of the package bash-completion, and of a shell with a person.
      const script = `
        _get_comp_words_by_ref() { words=("\${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=\${words[cword]}; prev=\${words[cword-1]}; }
        compopt() { :; }
        source ${join(folder, 'completion.bash')}
        COMP_WORDS=(punctual ${words.map((word) => `'${word}'`).join(' ')})
        COMP_CWORD=${words.length}; COMP_LINE="\${COMP_WORDS[*]}"; COMP_POINT=\${#COMP_LINE}
        function_name=$(complete -p punctual | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        "$function_name"
        printf '%s\\n' "\${COMPREPLY[@]}"`;
      const env = { ...process.env, PATH: `${folder}:${join(process.execPath, '..')}:${process.env.PATH}` };
      const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8', env });
      expect(stderr).toBe('');
      return stdout.split('\n').map((line) => line.trim());
    };
    expect(complete('dead')).toEqual(expect.arrayContaining([expect.stringContaining('dead-letters')]));
    expect(complete('workers', 'dr')).toEqual(expect.arrayContaining([expect.stringContaining('drain')]));
    expect(complete('timers', 'list', '--work')).toEqual(
      expect.arrayContaining([expect.stringContaining('--workflow-id')]),
    );
  });
});
