import { waitUntil } from '@punctual/testkit';
import { expect, it } from 'vitest';
import { type Connection, ConnectionPool } from './connection-pool.ts';

it('a connection that can not be made is told of once, and not tried again', async () => {
  let connects = 0;
  const errors: Error[] = [];
  const pool = new ConnectionPool({
    connect: (_options, callback) => {
      connects += 1;
      setImmediate(callback, Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }), null);
      return undefined;
    },
    maxConnectionsPerOrigin: 1,
  });
  let connection: Connection | undefined;
  const user = {
    answerBytesMax: 1_000,
    onConnection: (given: Connection) => {
      connection = given;
      given.http.send({ path: '/', method: 'GET', headers: '', body: null }, user);
    },
    onSending: () => {},
    onHead: () => {},
    onBody: () => {},
    onEnd: () => {},
    onFlood: () => {},
    onError: (error: Error) => {
      errors.push(error);
      if (connection) pool.discard(connection);
    },
    abort: () => {},
  };
  pool.acquire('http://127.0.0.1:9', user);
  await waitUntil('the error is told', () => errors.length > 0);
  await pool.close();
  // Another try would come in the turns of the loop right after the failure.
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect([connects, errors.length, pool.originCount]).toEqual([1, 1, 0]);
});
