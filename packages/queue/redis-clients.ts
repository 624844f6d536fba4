import { Cluster, Redis, type RedisOptions } from 'ioredis';
import { parseRedisUrl } from './redis-address.ts';

type Client = Redis | Cluster;

/** The clients of one end of a queue: the one it was given, and those that BullMQ duplicated from it. */
export interface RedisClients {
  client: Client;
  /** Closes all of them at once; commands that wait for an answer, or for Redis to come back, are rejected. */
  disconnect(): void;
}

/** Reconnect soon and for ever: deliveries wait for it. */
const RECONNECT_PAUSE_STEP_MS = 100;
const RECONNECT_PAUSE_MAX_MS = 1_000;
/** A node of a cluster that does not say in this time where the slots are is passed over for the next (ms). */
const SLOTS_REFRESH_TIMEOUT_MS = 2_000;
/** Behind a failover that nobody told of, the slots are looked at anew this often (ms). */
const SLOTS_REFRESH_INTERVAL_MS = 5_000;

const choosePauseMs = (times: number) => Math.min(times * RECONNECT_PAUSE_STEP_MS, RECONNECT_PAUSE_MAX_MS);

/**
 * Opens a client that BullMQ is to share and does not own. Left to itself, BullMQ waits without limit for a Redis that
 * was never there, also when it is told to close, and fails to close when Redis went away.
 * Throws RedisUrlError when the URL makes no sense.
 */
export function openRedis(url: string, options: RedisOptions): RedisClients {
  const opened: Client[] = [];
  const adopt = <Opened extends Client>(client: Opened): Opened => {
    opened.push(client);
    // BullMQ stops listening when it closes; ioredis prints errors that nobody listens to.
    client.on('error', () => {});
    const duplicate = client.duplicate.bind(client) as (...args: unknown[]) => Opened;
    client.duplicate = ((...args: unknown[]) => adopt(duplicate(...args))) as never;
    return client;
  };
  const client = adopt<Client>(createClient(url, options));
  return {
    client,
    disconnect() {
      for (const each of opened) each.disconnect();
    },
  };
}

function createClient(url: string, options: RedisOptions): Client {
  const address = parseRedisUrl(url);
  const { username, password, isTls } = address;
  const common: RedisOptions = {
    ...options,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(isTls && { tls: {} }),
    retryStrategy: choosePauseMs,
  };
  switch (address.kind) {
    case 'server':
      return new Redis({ ...common, host: address.host, port: address.port, db: address.db });
    case 'sentinel':
      return new Redis({
        ...common,
        sentinels: address.sentinels,
        name: address.name,
        db: address.db,
        ...(address.sentinelPassword !== undefined && { sentinelPassword: address.sentinelPassword }),
        ...(isTls && { enableTLSForSentinelMode: true, sentinelTLS: {} }),
        sentinelRetryStrategy: choosePauseMs,
        // The other replicas are told of a failover by the Sentinels; a client that waits for a write to fail is late.
        failoverDetector: true,
      });
    case 'cluster':
      return new Cluster(address.nodes, {
        redisOptions: common,
        enableOfflineQueue: options.enableOfflineQueue ?? true,
        clusterRetryStrategy: choosePauseMs,
        slotsRefreshTimeout: SLOTS_REFRESH_TIMEOUT_MS,
        slotsRefreshInterval: SLOTS_REFRESH_INTERVAL_MS,
      });
  }
}
