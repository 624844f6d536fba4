import { PoolExhaustedError } from '@punctual/database';
import { expect, test } from 'vitest';
import { toProblem } from './problems.ts';

test('a request for which no connection became free is told of our load, not that Postgres is away', () => {
  const timeout = new Error('timeout exceeded when trying to connect');
  expect(toProblem(new PoolExhaustedError(timeout))).toMatchObject({
    status: 503,
    code: 'overloaded',
    headers: { 'retry-after': '1' },
  });
  expect(toProblem(timeout)).toMatchObject({ status: 503, code: 'database_unavailable' });
});
