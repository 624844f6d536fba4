import { inTransaction, readLedger, redriveDeadLetters, type StoredTask, WorkflowVersions } from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { BACKENDS, beginRuns, storeWorkflow, useTestDatabase, waitUntil } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { useReceivingRig } from './open-rig.ts';

const db = useTestDatabase(8);
const versions = new WorkflowVersions();
const RUN_LIMIT_MS = 60_000;

const readRun = (id: string) =>
  db.database.kysely.selectFrom('runs').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const readOutputs = async (runId: string, key: string) => {
  const rows = await db.database.kysely
    .selectFrom('task_outputs')
    .selectAll()
    .where('run_id', '=', runId)
    .where('task_key', '=', key)
    .orderBy('path')
    .execute();
  return rows.map(({ path, output }) => [path, JSON.parse(output) as unknown]);
};
const readDead = (runId: string) =>
  db.database.kysely.selectFrom('dead_letters').selectAll().where('run_id', '=', runId).execute();

describe.each(BACKENDS)('a mapped run, with the queue on %s', (backend) => {
  const parts = useReceivingRig(db, backend);

  const call = (path: string) => ({ type: 'http' as const, url: `${parts.receiver.url}/${path}` });
  const give = (output: unknown) => ({ type: 'noop' as const, output });
  const quick = { maxRetries: 0 };

  async function run(tasks: StoredTask[], input: string | null = null) {
    const workflowId = await storeWorkflow(db.database, tasks);
    const [runId] = await beginRuns(db.database, versions, workflowId, 1, input);
    return { runId: runId!, ...(await waitUntilEnded(runId!)) };
  }
  const waitUntilEnded = (runId: string) =>
    waitUntil(
      'the run has ended',
      async () => {
        const row = await readRun(runId);
        return row.finished_at === null ? undefined : row;
      },
      RUN_LIMIT_MS,
    );
  async function redrive(runId: string, key: string) {
    const letters = (await readDead(runId)).filter(({ task_key }) => task_key === key).map(({ id }) => id);
    expect(letters).toHaveLength(1);
    await inTransaction(db.database.hot, (client) => redriveDeadLetters(client, versions, DEFAULT_TENANT_ID, letters));
    return waitUntilEnded(runId);
  }
  const readBodies = (path: string) =>
    parts.receiver.requests.filter((request) => request.path === path).map(({ body }) => JSON.parse(body));

  it('runs a task once per element of an answer, and gives what is behind it all answers in order', async () => {
    parts.receiver.answer = ({ path, body }) => {
      if (path === '/split') return { body: '{"items": [{"n": 1}, {"n": 2}, {"n": 3}]}' };
      if (path === '/map') return { body: JSON.stringify({ double: JSON.parse(body).item.n * 2 }) };
      return {};
    };
    const { runId, status } = await run([
      { key: 'split', action: call('split') },
      { key: 'map', forEach: { task: 'split', path: '/items' }, action: call('map') },
      { key: 'join', after: ['map'], action: call('join') },
    ]);
    expect(status).toBe('succeeded');
    const maps = readBodies('/map').toSorted((a, b) => a.index - b.index);
    expect(maps).toMatchObject([
      { index: 0, item: { n: 1 } },
      { index: 1, item: { n: 2 } },
      { index: 2, item: { n: 3 } },
    ]);
    expect(readBodies('/join')).toMatchObject([{ inputs: { map: [{ double: 2 }, { double: 4 }, { double: 6 }] } }]);
    expect(await readOutputs(runId, 'map')).toEqual([
      ['0000', { double: 2 }],
      ['0001', { double: 4 }],
      ['0002', { double: 6 }],
    ]);
  });

  it('reduces two levels of elements one after the other: 1, 10, 100, 10, 1', async () => {
    const rows = Array.from({ length: 10 }, (_, row) => Array.from({ length: 10 }, (_leaf, n) => row * 10 + n));
    const tasks: StoredTask[] = [
      { key: 'split', hasTemplates: true, action: give('{{ input }}') },
      {
        key: 'map',
        forEach: { task: 'split', path: '' },
        hasTemplates: true,
        action: give({ leaves: '{{ item }}' }),
      },
      {
        key: 'leaf',
        forEach: { task: 'map', path: '/leaves' },
        hasTemplates: true,
        action: give('{{ item }}'),
      },
      {
        key: 'reduce',
        in: 'map',
        after: ['leaf'],
        reads: ['leaf'],
        hasTemplates: true,
        action: give({ of: '{{ index }}', leaves: '{{ inputs.leaf }}' }),
      },
      { key: 'join', after: ['reduce'], reads: ['reduce'], hasTemplates: true, action: give('{{ inputs.reduce }}') },
      { key: 'last', after: ['join'], reads: ['join'], hasTemplates: true, action: call('last') },
    ];
    const { runId, status } = await run(tasks, JSON.stringify(rows));
    expect(status).toBe('succeeded');
    expect(await readOutputs(runId, 'join')).toEqual([['', rows.map((leaves, of) => ({ of, leaves }))]]);
    const finished = await db.database.kysely
      .selectFrom('finished_timers')
      .select(['task_key'])
      .where('run_id', '=', runId)
      .execute();
    expect(finished).toHaveLength(123);
  });

  it('begins a join at once, with an empty list, when there are no elements', async () => {
    const { status } = await run([
      { key: 'split', action: give([]) },
      { key: 'map', forEach: { task: 'split', path: '' }, action: give(1) },
      { key: 'chain', in: 'map', after: ['map'], action: give(1) },
      { key: 'join', after: ['chain'], action: call('join') },
    ]);
    expect(status).toBe('succeeded');
    expect(readBodies('/join')).toMatchObject([{ inputs: { chain: [] } }]);
  });

  it.each([
    ['no array stands at the path', { items: 7 }, /no array at "\/items"/],
    ['there is nothing at the path', {}, /no array at "\/items"/],
    ['there are too many elements', { items: Array.from({ length: 10_001 }, () => 0) }, /more than 10000 elements/],
  ])('ends a mapped task dead, and nothing else, when %s', async (_case, output, error) => {
    const { runId, status } = await run([
      { key: 'split', action: give(output) },
      { key: 'map', forEach: { task: 'split', path: '/items' }, action: give(1) },
      { key: 'join', after: ['map'], action: call('join') },
      { key: 'other', after: ['split'], action: call('other') },
    ]);
    expect(status).toBe('failed');
    expect(await readDead(runId)).toMatchObject([
      { task_key: 'map', path: null, outcome: 'permanent', error: expect.stringMatching(error) },
    ]);
    expect(parts.receiver.requests.map(({ path }) => path)).toEqual(['/other']);
  });

  it('ends the task dead whose output is more than a run may keep', async () => {
    const half = 'x'.repeat(600_000);
    const { runId, status } = await run([
      { key: 'one', action: give({ half }) },
      { key: 'two', after: ['one'], action: give({ half }) },
      { key: 'never', after: ['two'], reads: ['one', 'two'], hasTemplates: true, action: give('{{ inputs.two }}') },
    ]);
    expect(status).toBe('failed');
    expect(await readDead(runId)).toMatchObject([
      { task_key: 'two', outcome: 'permanent', error: expect.stringContaining('larger than 1048576') },
    ]);
  });

  it('renders URL, headers and body at the attempt, and ends dead what can not be rendered', async () => {
    const action = {
      type: 'http' as const,
      url: `${parts.receiver.url}/people/{{ item.name }}?place={{ index }}`,
      headers: { 'x-name': 'of {{ input.team }}' },
      body: { whole: '{{ item }}', text: 'no. {{ item.age + 1 }}', tags: ['{{ item.?nick.orValue("none") }}'] },
    };
    const people = [{ name: 'a/b c', age: 3 }, { name: '..', age: 3 }, { name: 'x' }, { name: 'y', age: 3, nick: 'z' }];
    const { runId, status } = await run(
      [
        { key: 'split', action: give(people) },
        { key: 'map', forEach: { task: 'split', path: '' }, hasTemplates: true, action },
        { key: 'header', action: { ...call('h'), headers: { 'x-a': '{{ input.evil }}' } }, hasTemplates: true },
      ],
      '{"team": "red", "evil": "a\\r\\nx-b: c"}',
    );
    expect(status).toBe('failed');
    expect(parts.receiver.requests.map((request) => request.path).toSorted()).toEqual([
      '/people/a%2Fb%20c?place=0',
      '/people/y?place=3',
    ]);
    const [first] = parts.receiver.requests.filter(({ path }) => path.includes('place=0'));
    expect(first!.headers['x-name']).toBe('of red');
    expect(JSON.parse(first!.body)).toEqual({ whole: people[0], text: 'no. 4', tags: ['none'] });
    const dead = (await readDead(runId)).toSorted((a, b) => (a.path ?? '').localeCompare(b.path ?? ''));
    expect(dead.map(({ task_key, path, outcome, error }) => [task_key, path, outcome, error])).toEqual([
      ['header', null, 'permanent', expect.stringContaining('header x-a')],
      ['map', '0001', 'permanent', expect.stringContaining('url: a part of the path')],
      ['map', '0002', 'permanent', expect.stringContaining('No such key: age')],
    ]);
  });

  it('asks a condition that could not be told once more when its task is sent again, and begins it or leaves it out', async () => {
    parts.receiver.answer = ({ path }) => ({ status: path === '/light' ? 400 : 200 });
    const { runId, status } = await run([
      { key: 'light', action: call('light'), retry: quick, continueOnFailure: true },
      { key: 'one', after: ['light'], reads: ['light'], when: 'inputs.light.n == 1', action: call('one') },
      { key: 'two', after: ['light'], reads: ['light'], when: 'inputs.light.n == 2', action: call('two') },
    ]);
    expect(status).toBe('failed');
    await redrive(runId, 'one');
    const again = (await readDead(runId)).find(({ task_key }) => task_key === 'one');
    expect(again).toMatchObject({ outcome: 'permanent', error: expect.stringMatching(/^when: /) });
    parts.receiver.answer = ({ path }) => ({ status: path === '/one' ? 400 : 200, body: '{"n": 1}' });
    await redrive(runId, 'light');
    await redrive(runId, 'two');
    await redrive(runId, 'one');
    const called = () => parts.receiver.requests.map(({ path }) => path).filter((path) => path !== '/light');
    expect(called()).toEqual(['/one']);
    expect(await readDead(runId)).toMatchObject([{ task_key: 'one', http_status: 400 }]);
    const [two] = await db.database.kysely
      .selectFrom('finished_timers')
      .selectAll()
      .where('run_id', '=', runId)
      .where('task_key', '=', 'two')
      .execute();
    expect(two).toMatchObject({ state: 'skipped', attempt: 0, outcome: null, error: null });
    expect(await readLedger(db.database)).toMatchObject({ isBalanced: true });
    // What has begun is not asked any more.
    parts.receiver.answer = () => ({});
    await redrive(runId, 'one');
    expect(called()).toEqual(['/one', '/one']);
    // What was left out fails nothing.
    expect(await readRun(runId)).toMatchObject({ status: 'succeeded' });
  });

  it('leaves out what a condition leaves out, with what is behind it alone, and handles failures', async () => {
    parts.receiver.answer = ({ path }) => ({ status: path === '/pay' ? 400 : 200 });
    const { status, task_states } = await run(
      [
        { key: 'yes', when: 'input.n > 1', action: call('yes') },
        { key: 'no', when: 'input.n > 2', action: call('no') },
        { key: 'after-no', after: ['no'], action: call('after-no') },
        { key: 'both', after: ['yes', 'after-no'], action: call('both') },
        { key: 'pay', action: call('pay'), retry: quick },
        { key: 'paid', after: ['pay'], action: call('paid') },
        { key: 'refund', onFailure: ['pay'], action: call('refund') },
        { key: 'unneeded', onFailure: ['yes'], action: call('unneeded') },
        { key: 'end', after: ['paid', 'refund'], action: call('end') },
        { key: 'light', action: call('pay'), retry: quick, continueOnFailure: true },
        { key: 'behind', after: ['light'], action: call('behind') },
      ],
      '{"n": 2}',
    );
    expect(parts.receiver.requests.map(({ path }) => path).toSorted()).toEqual(
      ['/behind', '/both', '/end', '/pay', '/pay', '/refund', '/yes'].toSorted(),
    );
    expect({ status, task_states }).toEqual({ status: 'succeeded', task_states: '0,0;snnsdnsnsds' });
  });
});
