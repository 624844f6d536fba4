import type { RunningStack } from '@punctual/local-servers';
import { areFaultsInjected } from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient } from './api-client.ts';
import { startApis } from './idempotency/apis.ts';
import { sendEqualPosts } from './idempotency/equal-posts.ts';
import { CHANGES, killBetweenCommitAndReply, type Moment } from './idempotency/killed-api.ts';

/** Here; `npm run idempotency` sends as many as one likes. */
const POSTS = { keys: 50, copies: 50, keysAtOnce: 10 };
const TEST_LIMIT_MS = 120_000;
const MOMENTS: readonly Moment[] = ['beforeAnswering', 'afterAnswering'];

let apis: Awaited<ReturnType<typeof startApis>>;
let stack: RunningStack;
beforeAll(async () => {
  apis = await startApis();
  stack = apis.stack;
});
afterAll(() => apis?.stop());

interface Ledger {
  isBalanced: boolean;
  total: { created: number; scheduled: number };
}
const readLedger = () => new ApiClient(stack.apiUrls).expect<Ledger>([200], 'GET', '/v1/ledger');

describe('equal requests with one idempotency key', () => {
  it(
    'make one timer, whichever api they reach at the same time, and get one answer',
    async () => {
      const before = await readLedger();
      const { ids, refusals, faults } = await sendEqualPosts(stack.apiUrls, POSTS);
      expect(faults).toEqual([]);
      if (!areFaultsInjected) expect(refusals).toBe(0);
      expect(ids.size).toBe(POSTS.keys);
      const after = await readLedger();
      expect(after.isBalanced).toBe(true);
      expect(after.total.created - before.total.created).toBe(POSTS.keys);
      expect(after.total.scheduled - before.total.scheduled).toBe(POSTS.keys);
    },
    TEST_LIMIT_MS,
  );
});

describe('an api that is killed between its commit and its reply', () => {
  const cases = Object.keys(CHANGES).flatMap((name) => MOMENTS.map((moment) => ({ name, moment })));

  it.each(cases)(
    'leaves to the next one to answer a repeat with what was done: $name, $moment',
    async ({ name, moment }) => {
      expect(await killBetweenCommitAndReply(CHANGES[name]!, moment, stack.databaseUrl, stack.apiUrls[0]!)).toEqual([]);
    },
    TEST_LIMIT_MS,
  );
});
