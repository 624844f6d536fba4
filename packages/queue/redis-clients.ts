import { Redis, type RedisOptions } from 'ioredis';

/** The clients of one end of a queue: the one it was given, and those that BullMQ duplicated from it. */
export interface RedisClients {
  client: Redis;
  /** Closes all of them at once; commands that wait for an answer, or for Redis to come back, are rejected. */
  disconnect(): void;
}

/** Reconnect soon and for ever: deliveries wait for it. */
const RECONNECT_PAUSE_MAX_MS = 1_000;

/**
 * Opens a client that BullMQ is to share and does not own. Left to itself, BullMQ waits without limit for a Redis that
 * was never there, also when it is told to close, and fails to close when Redis went away.
 */
export function openRedis(url: string, options: RedisOptions): RedisClients {
  const opened: Redis[] = [];
  const adopt = (client: Redis): Redis => {
    opened.push(client);
    // BullMQ stops listening when it closes; ioredis prints errors that nobody listens to.
    client.on('error', () => {});
    const duplicate = client.duplicate.bind(client);
    client.duplicate = (override) => adopt(duplicate(override));
    return client;
  };
  const client = adopt(
    new Redis(url, { ...options, retryStrategy: (times) => Math.min(times * 100, RECONNECT_PAUSE_MAX_MS) }),
  );
  return {
    client,
    disconnect() {
      for (const each of opened) each.disconnect();
    },
  };
}
