import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { signalTree } from '@punctual/e2e';
import {
  findFreePort,
  findOrInstallRedisServer,
  type RunningRedis,
  startGuardedProcess,
  startRedis,
} from '@punctual/local-servers';
import { waitUntil } from '@punctual/testkit';
import { Redis } from 'ioredis';
import type { Surroundings } from './surroundings.ts';

const SENTINELS = 3;
const MASTERS = 3;
const MASTER_NAME = 'main';
/** A master that says nothing for so long is down (ms). */
const DOWN_AFTER_MS = 2_000;
const SLOTS = 16_384;
const READY_LIMIT_MS = 60_000;
const FAIL_OVER_LIMIT_MS = 60_000;
const STOP = { stopSignal: 'SIGTERM', hardSignal: 'SIGKILL', stopTimeoutMs: 5_000 } as const;

async function ask(port: number, command: string, ...args: (string | number)[]): Promise<unknown> {
  const client = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: 1, retryStrategy: () => null });
  client.on('error', () => {});
  try {
    return await client.call(command, ...args);
  } finally {
    client.disconnect();
  }
}

const startNode = (folder: string, more: readonly string[]) =>
  startRedis({ dir: folder, appendonly: false, more, log: () => {} });

function kill(redis: RunningRedis): Promise<unknown> {
  signalTree(redis.pid, 'SIGKILL');
  return redis.exited;
}

/** BullMQ keeps a queue's settings in this key from its first job on. */
async function countQueues(port: number): Promise<number> {
  return ((await ask(port, 'KEYS', 'punctual:{punctual-*}:meta')) as string[]).length;
}

/** A master with a replica, watched by three Sentinels. */
export async function startSentinels(folder: string): Promise<Surroundings> {
  await using started = new AsyncDisposableStack();
  const master = await startNode(join(folder, 'master'), []);
  started.defer(() => master.stop());
  const replica = await startNode(join(folder, 'replica'), ['--replicaof', `127.0.0.1 ${master.port}`]);
  started.defer(() => replica.stop());
  const program = await findOrInstallRedisServer({ log: () => {} });
  const ports: number[] = [];
  for (let number = 1; number <= SENTINELS; number += 1) {
    const port = await findFreePort();
    const own = join(folder, `sentinel-${number}`);
    mkdirSync(own);
    const file = join(own, 'sentinel.conf');
    writeFileSync(
      file,
      [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${own}`,
        `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${master.port} 2`,
        `sentinel down-after-milliseconds ${MASTER_NAME} ${DOWN_AFTER_MS}`,
        `sentinel failover-timeout ${MASTER_NAME} 10000`,
        '',
      ].join('\n'),
    );
    const sentinel = await startGuardedProcess({
      command: program,
      args: [file, '--sentinel'],
      env: process.env,
      cwd: own,
      ...STOP,
      output: { onLine: () => {} },
    });
    started.defer(async () => void (await sentinel.stop()));
    ports.push(port);
  }
  const readMaster = async () => {
    const found = await ask(ports[0]!, 'SENTINEL', 'get-master-addr-by-name', MASTER_NAME).catch(() => null);
    return Number((found as [string, string] | null)?.[1]);
  };
  const knowEachOther = async () => {
    const text = String(await ask(ports[0]!, 'INFO', 'sentinel').catch(() => ''));
    return text.includes(`slaves=1,sentinels=${SENTINELS}`);
  };
  await waitUntil('the Sentinels know each other and the replica', knowEachOther, READY_LIMIT_MS);
  const all = started.move();
  return {
    redisUrl: `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`).join(',')}/${MASTER_NAME}`,
    async strike() {
      await kill(master);
      const isPromoted = async () => (await readMaster()) === replica.port;
      await waitUntil('the Sentinels have made the replica the master', isPromoted, FAIL_OVER_LIMIT_MS);
    },
    // The one that died stays away.
    heal: () => Promise.resolve(),
    stop: () => all.disposeAsync(),
  };
}

/** Three masters, each with a replica, that share the slots. With `queues` each of them must hold one when the first dies. */
export async function startCluster(
  folder: string,
  queues: 'anywhere' | 'everywhere' = 'anywhere',
): Promise<Surroundings> {
  const settings = ['--cluster-enabled', 'yes', '--cluster-node-timeout', String(DOWN_AFTER_MS)];
  await using started = new AsyncDisposableStack();
  const nodes: RunningRedis[] = [];
  // Where nodes talk to each other: by themselves they would take their port and 10,000, which outgoing connections may have.
  const busPorts: number[] = [];
  for (let number = 1; number <= 2 * MASTERS; number += 1) {
    const busPort = await findFreePort();
    const node = await startNode(join(folder, `node-${number}`), [...settings, '--cluster-port', String(busPort)]);
    started.defer(() => node.stop());
    nodes.push(node);
    busPorts.push(busPort);
  }
  const masters = nodes.slice(0, MASTERS);
  for (const [index, { port }] of masters.entries()) {
    const from = Math.floor((index * SLOTS) / MASTERS);
    const until = Math.floor(((index + 1) * SLOTS) / MASTERS) - 1;
    await ask(port, 'CLUSTER', 'ADDSLOTSRANGE', from, until);
  }
  for (const { port } of nodes.slice(1)) await ask(port, 'CLUSTER', 'MEET', '127.0.0.1', nodes[0]!.port, busPorts[0]!);
  const readInfo = async (port: number) => String(await ask(port, 'CLUSTER', 'INFO').catch(() => ''));
  const isComplete = async () => {
    const infos = await Promise.all(nodes.map(({ port }) => readInfo(port)));
    return infos.every((info) => info.includes(`cluster_known_nodes:${2 * MASTERS}`));
  };
  await waitUntil('the nodes of the cluster know each other', isComplete, READY_LIMIT_MS);
  for (const [index, { port }] of nodes.slice(MASTERS).entries()) {
    const id = String(await ask(masters[index]!.port, 'CLUSTER', 'MYID'));
    await ask(port, 'CLUSTER', 'REPLICATE', id);
  }
  const isWell = async () => {
    const infos = await Promise.all(nodes.map(({ port }) => readInfo(port)));
    return infos.every((info) => info.includes('cluster_state:ok'));
  };
  await waitUntil('the cluster is well', isWell, READY_LIMIT_MS);
  const all = started.move();
  return {
    redisUrl: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    async strike() {
      if (queues === 'everywhere') {
        const counts = await Promise.all(masters.map(({ port }) => countQueues(port)));
        if (counts.includes(0)) throw new Error(`a master holds no queue: they hold ${counts.join(', ')}`);
      }
      // The one that holds the first queue.
      const slot = Number(await ask(nodes[0]!.port, 'CLUSTER', 'KEYSLOT', 'punctual:{punctual-0}:wait'));
      const index = Math.min(MASTERS - 1, Math.floor((slot * MASTERS) / SLOTS));
      await kill(masters[index]!);
      const replica = nodes[MASTERS + index]!;
      const isPromoted = async () => {
        const role = (await ask(replica.port, 'ROLE').catch(() => [])) as [string];
        return role[0] === 'master' && (await readInfo(replica.port)).includes('cluster_state:ok');
      };
      await waitUntil('the replica has taken the slots', isPromoted, FAIL_OVER_LIMIT_MS);
    },
    // The one that died stays away.
    heal: () => Promise.resolve(),
    stop: () => all.disposeAsync(),
  };
}
