import { waitUntil } from '@punctual/testkit';
import { describe, expect, it } from 'vitest';
import { type Connection, ConnectionPool } from './connection-pool.ts';

describe('a connection', () => {
  it('that fails in a way undici would retry without end is reported and not opened again', async () => {
    let connects = 0;
    const errors: Error[] = [];
    const pool = new ConnectionPool({
      connect: (_options, callback) => {
        connects += 1;
        setImmediate(callback, Object.assign(new Error('destroyed'), { code: 'UND_ERR_SOCKET' }), null);
        return undefined;
      },
      maxConnectionsPerOrigin: 1,
    });
    let connection: Connection | undefined;
    const user = {
      onConnection: (given: Connection) => {
        connection = given;
        const handler = {
          onRequestStart() {},
          onResponseStart() {},
          onResponseData() {},
          onResponseEnd() {},
          onResponseError() {},
        };
        given.client.dispatch({ path: '/', method: 'GET' }, handler);
      },
      onConnectionError: (error: Error) => {
        errors.push(error);
        if (connection) pool.discard(connection);
      },
      onFlood: () => {},
      abort: () => {},
    };
    pool.acquire('http://127.0.0.1:9', user);
    await waitUntil('the error is reported', () => errors.length > 0);
    await pool.close();
    // A retry would come in the turns of the loop right after the failure.
    for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect([connects, errors.length, pool.originCount]).toEqual([1, 1, 0]);
  });
});
