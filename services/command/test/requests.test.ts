import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort } from '@punctual/local-servers';
import { afterAll, describe, expect, test } from 'vitest';
import { useAnsweringApi } from './answering-api.ts';
import { run } from './run.ts';

const api = useAnsweringApi();
const ID = '01990000-0000-7000-8000-000000000000';
const folder = mkdtempSync(join(tmpdir(), 'punctual-command-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ask = (args: string[], more?: Parameters<typeof run>[2]) =>
  run(args, { PUNCTUAL_URL: `${api.url}/`, PUNCTUAL_API_KEY: 'pk_secret' }, more);

describe('what is typed becomes a request', () => {
  test('with the key in its header, and options by the names of the API', async () => {
    api.reply({ body: { data: [], nextCursor: null } });
    const ran = await ask([
      ...['timers', 'list', '--status', 'scheduled,paused', '--status', 'dead', '--workflow-id', ID],
      ...['--label', 'team=a=b', '--label', 'x y=z', '--limit', '7'],
    ]);
    expect(ran).toEqual({ exitCode: 0, stdout: 'None.\n', stderr: '' });
    const [{ method, url, headers, body }] = api.asked as [(typeof api.asked)[0]];
    expect(method).toBe('GET');
    expect(Object.fromEntries(new URL(url, api.url).searchParams)).toEqual({
      status: 'scheduled,paused,dead',
      workflowId: ID,
      'label.team': 'a=b',
      'label.x y': 'z',
      limit: '7',
    });
    expect(headers).toMatchObject({ authorization: 'Bearer pk_secret' });
    expect(headers['idempotency-key']).toBeUndefined();
    expect(body).toBeUndefined();
  });

  test.each<[string, string[], unknown]>([
    [
      'short forms of a delay, an action and labels',
      ['--delay', '90m', '--action', 'https://example.com/hook', '--label', 'a=b', '--timeout-ms', '5000'],
      {
        delay: { type: 'duration', value: 90, unit: 'minutes' },
        action: { type: 'http', url: 'https://example.com/hook' },
        labels: { a: 'b' },
        timeoutMs: 5000,
      },
    ],
    ['JSON', ['--action', '{"type":"noop"}', '--payload', '"text"'], { action: { type: 'noop' }, payload: 'text' }],
    [
      'a whole body, of which options change a part',
      ['--body', '{"payload":1,"externalId":"a"}', '--external-id', 'b'],
      { payload: 1, externalId: 'b' },
    ],
    ['what comes in', ['--body', '-'], { payload: 'of the input' }],
  ])('from %s', async (_name, args, body) => {
    api.reply({ status: 201, body: { id: ID } });
    const ran = await ask(['timers', 'create', '-q', ...args], { input: '{"payload":"of the input"}' });
    expect(ran).toEqual({ exitCode: 0, stdout: `${ID}\n`, stderr: '' });
    expect(api.asked[0]!.body).toEqual(body);
  });

  test('from a file, with a filter as lists take it', async () => {
    const file = join(folder, 'change.json');
    writeFileSync(file, '{"delay":{"type":"duration","value":1,"unit":"days"}}');
    api.reply({ status: 202, body: { id: ID } });
    const filter = 'status=scheduled,paused&label.team=a';
    const ran = await ask(['bulk', 'start', '--action', 'reschedule', '--filter', filter, '--change', `@${file}`]);
    expect(ran.exitCode).toBe(0);
    expect(api.asked[0]!.body).toEqual({
      action: 'reschedule',
      filter: { status: ['scheduled', 'paused'], labels: { team: 'a' } },
      change: { delay: { type: 'duration', value: 1, unit: 'days' } },
      dryRun: false,
    });
  });

  test('a path holds its argument whole, and a version stands in If-Match', async () => {
    api.reply({ body: {} }, { body: {} });
    await ask(['queues', 'pause', 'a/b?c']);
    await ask(['schedules', 'change', ID, '--name', 'n', '--end-at', 'null', '--if-match', '3']);
    expect(api.asked[0]!.url).toBe('/v1/task-queues/a%2Fb%3Fc/pause');
    expect(api.asked[1]).toMatchObject({ headers: { 'if-match': '"3"' }, body: { name: 'n', endAt: null } });
  });
});

describe('nothing is sent, and the exit code is 2, for', () => {
  test.each<[string, string[], RegExp]>([
    ['a command that is not there', ['timer', 'list'], /unknown command 'timer'.*timers/s],
    ['an option that is not there', ['timers', 'list', '--stat', 'x'], /unknown option '--stat'.*--status/s],
    ['an argument that is missing', ['timers', 'get'], /missing required argument 'id'/],
    ['one too many', ['timers', 'get', ID, ID], /too many arguments/],
    ['a choice that is none', ['bulk', 'dry-run', '--action', 'destroy'], /Allowed choices are cancel/],
    [
      'a number that is none',
      ['timers', 'create', '--timeout-ms', '5s'],
      /--timeout-ms must be a whole number, and "5s" is none/,
    ],
    ['JSON that is none', ['timers', 'create', '--payload', 'text'], /--payload must be JSON.*'"text"'/],
    ['a body that is no object', ['timers', 'create', '--body', '[]'], /--body must be a JSON object/],
    ['a file that is not there', ['timers', 'create', '--body', '@/no/such/file'], /\/no\/such\/file can not be read/],
    ['a label that is none', ['timers', 'list', '--label', 'team'], /--label must be key=value/],
    ['too long a way to follow', ['timers', 'list', '--follow', '--max', '1000001'], /from 1 to 1000000/],
    ['a URL that is none', ['timers', 'list', '--url', 'ftp://x'], /--url must be an http or https URL/],
  ])('%s', async (_name, args, text) => {
    const ran = await ask(args);
    expect(ran).toMatchObject({ exitCode: 2, stdout: '' });
    expect(ran.stderr).toMatch(text);
    expect(api.asked).toEqual([]);
  });
});

describe('what can not be taken back', () => {
  const cancel = ['timers', 'cancel', ID];

  test.each([
    ['a script that does not say --yes', undefined, 2],
    ['a person who says no', 'n', 2],
    ['a person who goes away', '', 2],
    ['a person who says yes', 'y', 0],
  ])('is asked for: %s', async (_name, typed, exitCode) => {
    api.reply({ body: { id: ID } });
    const ran = await ask(cancel, typed === undefined ? {} : { typed });
    expect(ran.exitCode).toBe(exitCode);
    expect(ran.stderr).toContain(`This cancels timer ${ID}.`);
    expect(api.asked).toHaveLength(exitCode === 0 ? 1 : 0);
  });

  test('is done at once with --yes', async () => {
    api.reply({ body: { id: ID } });
    expect(await ask([...cancel, '--yes'])).toMatchObject({ exitCode: 0, stderr: '' });
  });
});

describe('a list', () => {
  const page = (from: number, nextCursor: string | null) => ({
    body: { data: [0, 1].map((index) => ({ id: `id-${from + index}`, status: 'dead' })), nextCursor },
  });

  test('shows one page and how to go on', async () => {
    api.reply(page(0, 'abc'));
    const ran = await ask(['api-keys', 'list']);
    expect(ran.stdout).toBe('ID    STATUS\nid-0  dead\nid-1  dead\n');
    expect(ran.stderr).toBe('There are more: --cursor abc, or --follow\n');
  });

  test('is followed to its end', async () => {
    api.reply(page(0, 'abc'), page(2, 'def'), page(4, null));
    const ran = await ask(['api-keys', 'list', '--follow', '-q']);
    expect(ran).toEqual({ exitCode: 0, stdout: '012345'.replaceAll(/./g, 'id-$&\n'), stderr: '' });
    expect(api.asked.map(({ url }) => url)).toEqual([
      '/v1/api-keys?limit=200',
      '/v1/api-keys?limit=200&cursor=abc',
      '/v1/api-keys?limit=200&cursor=def',
    ]);
  });

  test('is followed no further than told', async () => {
    api.reply(page(0, 'abc'), page(2, 'def'));
    const ran = await ask(['api-keys', 'list', '--follow', '--max', '3', '--json']);
    expect(JSON.parse(ran.stdout)).toMatchObject({ data: { length: 4 }, nextCursor: 'def' });
  });

  test('spells out what would steer the terminal, and cuts what is too long', async () => {
    const name = '\u001b[2Jgone\u202e\n';
    api.reply({ body: { data: [{ name, long: 'x'.repeat(200) }], nextCursor: null } });
    const { stdout } = await ask(['api-keys', 'list']);
    expect(stdout).toContain('\\u001b[2Jgone\\u202e\\u000a');
    expect(stdout).toContain(`${'x'.repeat(59)}…`);
    expect(stdout).not.toContain('\u001b');
    expect(stdout).not.toContain('\u202e');
  });
});

describe('a refusal', () => {
  const problem = { status: 400, code: 'invalid_request', detail: 'It is wrong.', requestId: 'r-1' };

  test('is told in plain words, by the options that were typed', async () => {
    const errors = [
      { pointer: '/delay/value', detail: 'It must be >= 0.' },
      { pointer: '/timeoutMs', detail: 'It must be <= 60000.' },
      { pointer: '', detail: 'It lacks something.' },
    ];
    api.reply({ status: 400, body: { ...problem, errors } });
    const ran = await ask(['timers', 'create', '--delay', '1h']);
    expect(ran).toEqual({
      exitCode: 1,
      stdout: '',
      stderr: [
        'Refused (400 invalid_request): It is wrong.',
        '  --delay, at /value: It must be >= 0.',
        '  --timeout-ms: It must be <= 60000.',
        '  the request: It lacks something.',
        'Request id: r-1\n',
      ].join('\n'),
    });
  });

  test('is JSON with --json', async () => {
    api.reply({ status: 404, body: { ...problem, status: 404 } });
    const ran = await ask(['timers', 'get', ID, '--json']);
    expect(ran.exitCode).toBe(1);
    expect(JSON.parse(ran.stdout)).toEqual({ ...problem, status: 404 });
  });

  test.each([
    [{}, 'Set PUNCTUAL_API_KEY'],
    [{ PUNCTUAL_API_KEY: 'pk' }, 'not known here, or was revoked'],
  ])('for want of a key says what to do: %j', async (environment, text) => {
    api.reply({ status: 401, body: { ...problem, status: 401 } });
    const ran = await run(['timers', 'get', ID], { PUNCTUAL_URL: api.url, ...environment });
    expect(ran).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(text) });
  });

  test('never shows the key', async () => {
    for (const reply of [{ status: 401, body: problem }, { status: 502, text: '<html>' }, { cut: true as const }]) {
      api.reply(reply, reply, reply, reply);
      const ran = await ask(['timers', 'get', ID, '--json']);
      expect(ran.stdout + ran.stderr).not.toContain('pk_secret');
    }
  });
});

describe('what passes', () => {
  const busy = {
    status: 503,
    body: { status: 503, code: 'overloaded', detail: 'Busy.' },
    headers: { 'retry-after': '0' },
  };

  test('is sent again, a change under the same key', async () => {
    api.reply({ cut: true }, busy, { status: 201, body: { id: ID } });
    const ran = await ask(['timers', 'create', '--delay', '1h', '-q']);
    expect(ran).toEqual({ exitCode: 0, stdout: `${ID}\n`, stderr: '' });
    const keys = api.asked.map(({ headers }) => headers['idempotency-key']);
    expect(keys).toHaveLength(3);
    expect(new Set(keys).size).toBe(1);
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('is given up after four tries, with exit code 3', async () => {
    api.reply(busy, busy, busy, busy, busy);
    const ran = await ask(['timers', 'get', ID]);
    expect(ran).toMatchObject({ exitCode: 3, stderr: expect.stringContaining('503 overloaded') });
    expect(api.asked).toHaveLength(4);
  });

  test('what leads elsewhere is not followed, and the page of a proxy is no answer', async () => {
    api.reply({ status: 302, headers: { location: `${api.url}/elsewhere` }, text: '' });
    expect(await ask(['timers', 'get', ID])).toMatchObject({ exitCode: 3 });
    expect(api.asked).toHaveLength(1);
    api.reply({ status: 502, text: '<html>Bad Gateway</html>' });
    const ran = await ask(['timers', 'get', ID]);
    expect(ran).toMatchObject({ exitCode: 3, stderr: expect.stringContaining("not an answer of Punctual's api") });
  });

  test('nobody there is told at once', async () => {
    const url = `http://127.0.0.1:${await findFreePort()}`;
    const ran = await run(['status'], { PUNCTUAL_URL: url });
    expect(ran).toMatchObject({ exitCode: 3, stderr: expect.stringContaining(`No answer from ${url} (ECONNREFUSED)`) });
  });
});

test('a batch of which something was refused ends with exit code 1', async () => {
  const results = [{ status: 200 }, { status: 409, error: { code: 'timer_finished' } }];
  api.reply({ status: 207, body: { results } });
  expect(await ask(['timers', 'cancel-many', '--ids', `${ID},${ID}`, '--yes'])).toMatchObject({ exitCode: 1 });
  expect(api.asked[0]!.body).toEqual({ ids: [ID, ID] });
});

describe('work that takes long', () => {
  const operation = (status: string, done: number, failed = 0) => ({
    body: { id: ID, status, matched: 10, done, failed },
  });

  test('is drawn as a bar for a person', async () => {
    api.reply(operation('running', 5), operation('succeeded', 10));
    const ran = await ask(['bulk', 'watch', ID], { typed: '' });
    expect(ran.exitCode).toBe(0);
    expect(ran.stderr).toContain('50% | 5 of 10 | running');
    expect(ran.stderr).toContain('100% | 10 of 10 | succeeded');
    expect(ran.stderr).toMatch(/\[#+-+\]/);
  });

  test('is told in lines to a script, and ends with exit code 1 when something failed', async () => {
    api.reply(operation('running', 2, 1), operation('succeeded', 7, 3));
    const ran = await ask(['bulk', 'watch', ID, '--json']);
    expect(ran.exitCode).toBe(1);
    expect(ran.stderr).toBe('bulk operation: 3 of 10, running, 1 failed\nbulk operation: 10 of 10, succeeded\n');
    expect(JSON.parse(ran.stdout)).toMatchObject({ status: 'succeeded', failed: 3 });
  });

  test('is watched for no longer than told', async () => {
    api.reply(...Array(10).fill(operation('running', 2)));
    const ran = await ask(['bulk', 'watch', ID, '--timeout', '1']);
    expect(ran).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('It has not ended within 1 s, and goes on.'),
    });
  });
});
