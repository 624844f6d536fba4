import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { findFreePort } from '@punctual/local-servers';
import { startProxy, waitUntil } from '@punctual/testkit';
import pg from 'pg';
import { type Answer, send, type Timer } from '../api-client.ts';
import { type Program, startProgram } from '../processes.ts';

const ENTRY = join(import.meta.dirname, '../../../services/api-service/main.ts');
const DELAY = { type: 'duration', value: 1, unit: 'days' };
const START_LIMIT_MS = 30_000;

/** A change that is asked for, and asked for again by whoever got no answer. */
interface Change {
  method: string;
  path: string;
  body: unknown;
  headers: Record<string, string>;
  /** What the api says to Postgres when it makes the change for good. */
  lastWord: string;
  /** Counts what the change has left in the database: once it is 1 the change is made, and it must stay 1. */
  effectText: string;
  /** The status of the answer to the repeat. */
  repeatedStatus: number;
}

/** By what a change can be named, so that its repeat is known for one. */
export const CHANGES: Record<string, (api: string) => Promise<Change>> = {
  'a creation with an idempotency key': async () => {
    const mark = randomUUID();
    return {
      method: 'POST',
      path: '/v1/timers',
      body: { delay: DELAY, action: { type: 'noop' }, payload: mark },
      headers: { 'idempotency-key': mark },
      lastWord: 'COMMIT',
      effectText: `SELECT count(*)::int AS count FROM timers WHERE payload::text = '"${mark}"'`,
      repeatedStatus: 201,
    };
  },
  'a creation with an external id': async () => {
    const mark = randomUUID();
    return {
      method: 'POST',
      path: '/v1/timers',
      body: { delay: DELAY, action: { type: 'noop' }, payload: mark, externalId: mark },
      headers: {},
      lastWord: 'create_named_timers',
      effectText: `SELECT count(*)::int AS count FROM timers WHERE payload::text = '"${mark}"'`,
      repeatedStatus: 200,
    };
  },
  'a change with an idempotency key': async (api) => {
    const timer = await send<Timer>(`${api}/v1/timers`, 'POST', { delay: DELAY, action: { type: 'noop' } });
    return {
      method: 'PATCH',
      path: `/v1/timers/${timer.body.id}`,
      body: { payload: 'changed' },
      headers: { 'idempotency-key': randomUUID() },
      lastWord: 'COMMIT',
      effectText: `SELECT version - 1 AS count FROM timers WHERE id = '${timer.body.id}'`,
      repeatedStatus: 200,
    };
  },
};

/** How the api is killed between its commit and the client's reading of the answer. */
export type Moment =
  /** It has not even heard that its commit is done. */
  | 'beforeAnswering'
  /** Its answer is on the way. */
  | 'afterAnswering';

/**
 * One round: an api that makes a change and is killed before its client hears of it, and another one that is asked the
 * same again. Returns what is wrong. `survivorUrl` is that of the other api, on the same database.
 */
export async function killBetweenCommitAndReply(
  describeChange: (api: string) => Promise<Change>,
  moment: Moment,
  databaseUrl: string,
  survivorUrl: string,
): Promise<string[]> {
  const change = await describeChange(survivorUrl);
  const toDatabase = await startProxy(databaseUrl);
  const victim = await startApi(toDatabase.url);
  const toApi = await startProxy(victim.url);
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const countEffects = async () => Number((await client.query<{ count: number }>(change.effectText)).rows[0]?.count);
  try {
    const { method, path, body, headers } = change;
    if (moment === 'beforeAnswering') toDatabase.disturb({ swallowAnswersAfter: change.lastWord });
    else toApi.disturb({ swallowAnswersAfter: `${method} ${path}` });
    const request = send(toApi.url.replace(/\/$/, '') + path, method, body, headers).then(
      () => 'answered',
      () => 'unanswered',
    );
    await waitUntil('the change is made', async () => (await countEffects()) === 1, START_LIMIT_MS);
    if (moment === 'afterAnswering')
      await waitUntil('the answer is on its way', () => toApi.swallowedBytes > 0, START_LIMIT_MS);
    victim.program.kill('SIGKILL');
    await victim.program.exited;
    await toApi.close();
    if ((await request) === 'answered') return ['the client got its answer: nothing was shown'];
    const { rows } = await client.query<{ id: string }>('SELECT id FROM timers');
    const answer = await send<Timer>(survivorUrl + path, method, body, headers);
    const again = await send<Timer>(survivorUrl + path, method, body, headers);
    return findFaults(change, answer, again, await countEffects(), new Set(rows.map(({ id }) => id)));
  } finally {
    victim.program.kill('SIGKILL');
    await client.end();
    await Promise.all([toDatabase.close(), toApi.close()]);
  }
}

function findFaults(change: Change, answer: Answer<Timer>, again: Answer<Timer>, effects: number, before: Set<string>) {
  const faults: string[] = [];
  if (answer.status !== change.repeatedStatus) faults.push(`the repeat was answered ${answer.status}`);
  if (!before.has(answer.body.id)) faults.push('the repeat was told of another timer than the one that was there');
  if (JSON.stringify(again.body) !== JSON.stringify(answer.body)) faults.push('two repeats got two answers');
  if (effects !== 1) faults.push(`the change was made ${effects} times`);
  return faults;
}

async function startApi(databaseUrl: string): Promise<{ program: Program; url: string }> {
  const port = await findFreePort();
  const program = startProgram(ENTRY, [], {
    DATABASE_URL: databaseUrl,
    PORT: String(port),
    HOST: '127.0.0.1',
    AUTH: 'off',
    LOG_LEVEL: 'fatal',
  });
  const url = `http://127.0.0.1:${port}`;
  try {
    await waitUntil(
      'the api is ready',
      async () => (await send(`${url}/v1/health/ready`).catch(() => undefined))?.status === 200,
      START_LIMIT_MS,
    );
  } catch (error) {
    program.kill('SIGKILL');
    throw new Error(`the api did not start: ${program.stderr}`, { cause: error });
  }
  return { program, url };
}
