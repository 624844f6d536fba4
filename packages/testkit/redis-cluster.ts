import { join } from 'node:path';
import { findFreePort, type RunningRedis, startRedis } from '@punctual/local-servers';
import { Redis } from 'ioredis';
import { waitUntil } from './wait-until.ts';

const SLOTS = 16_384;
const READY_LIMIT_MS = 60_000;
const NODE_TIMEOUT_MS_DEFAULT = 2_000;

export interface RedisClusterOptions {
  /** Each node gets a folder of its own in this one. */
  folder: string;
  masters: number;
  /** Of each master; none when absent. */
  replicasEach?: number;
  /** A node that says nothing for so long is down (ms). */
  nodeTimeoutMs?: number;
}

/** Redis servers that share the slots evenly, those of a master that is away excepted: the others go on. */
export interface RedisCluster {
  url: string;
  masters: readonly RunningRedis[];
  /** Of the masters in their order, as often as each has replicas. */
  replicas: readonly RunningRedis[];
  /** Which of the masters had this key when the cluster was made: its index. */
  findOwner(key: string): Promise<number>;
  stop(): Promise<void>;
}

/** One command to one server, by a connection of its own. Rejects when it can not be reached. */
export async function askRedis(port: number, command: string, ...args: (string | number)[]): Promise<unknown> {
  const client = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: 1, retryStrategy: () => null });
  client.on('error', () => {});
  try {
    return await client.call(command, ...args);
  } finally {
    client.disconnect();
  }
}

/** Resolves when all nodes know each other and all slots are served. */
export async function startRedisCluster(options: RedisClusterOptions): Promise<RedisCluster> {
  const { folder, masters: masterCount, replicasEach = 0, nodeTimeoutMs = NODE_TIMEOUT_MS_DEFAULT } = options;
  const count = masterCount * (1 + replicasEach);
  const settings = ['--cluster-enabled', 'yes', '--cluster-node-timeout', String(nodeTimeoutMs)];
  settings.push('--cluster-require-full-coverage', 'no');
  await using started = new AsyncDisposableStack();
  const nodes: RunningRedis[] = [];
  // Where nodes talk to each other: by themselves they would take their port and 10,000, which outgoing connections may have.
  const busPorts: number[] = [];
  for (let number = 1; number <= count; number += 1) {
    const busPort = await findFreePort();
    const more = [...settings, '--cluster-port', String(busPort)];
    const node = await startRedis({ dir: join(folder, `node-${number}`), appendonly: false, more, log: () => {} });
    started.defer(() => node.stop());
    nodes.push(node);
    busPorts.push(busPort);
  }
  const masters = nodes.slice(0, masterCount);
  const replicas = nodes.slice(masterCount);
  for (const [index, { port }] of masters.entries()) {
    const from = Math.floor((index * SLOTS) / masterCount);
    const until = Math.floor(((index + 1) * SLOTS) / masterCount) - 1;
    await askRedis(port, 'CLUSTER', 'ADDSLOTSRANGE', from, until);
  }
  for (const { port } of nodes.slice(1)) {
    await askRedis(port, 'CLUSTER', 'MEET', '127.0.0.1', nodes[0]!.port, busPorts[0]!);
  }
  const waitForAll = (what: string, line: string) =>
    waitUntil(
      what,
      async () =>
        (await Promise.all(nodes.map(({ port }) => readClusterInfo(port)))).every((info) => info.includes(line)),
      READY_LIMIT_MS,
    );
  await waitForAll('the nodes of the cluster know each other', `cluster_known_nodes:${count}`);
  for (const [index, { port }] of replicas.entries()) {
    const id = String(await askRedis(masters[index % masterCount]!.port, 'CLUSTER', 'MYID'));
    await askRedis(port, 'CLUSTER', 'REPLICATE', id);
  }
  await waitForAll('the cluster is well', 'cluster_state:ok');
  const all = started.move();
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    masters,
    replicas,
    async findOwner(key) {
      const slot = Number(await askRedis(nodes[0]!.port, 'CLUSTER', 'KEYSLOT', key));
      return Math.min(masterCount - 1, Math.floor((slot * masterCount) / SLOTS));
    },
    stop: () => all.disposeAsync(),
  };
}

/** `CLUSTER INFO` of one node; empty while it can not be reached. */
export async function readClusterInfo(port: number): Promise<string> {
  return String(await askRedis(port, 'CLUSTER', 'INFO').catch(() => ''));
}
