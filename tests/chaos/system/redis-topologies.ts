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
import { askRedis, readClusterInfo, startRedisCluster, waitUntil } from '@punctual/testkit';
import type { Surroundings } from './surroundings.ts';

const SENTINELS = 3;
const MASTERS = 3;
const MASTER_NAME = 'main';
/** A master that says nothing for so long is down (ms). */
const DOWN_AFTER_MS = 2_000;
const READY_LIMIT_MS = 60_000;
const FAIL_OVER_LIMIT_MS = 60_000;
const STOP = { stopSignal: 'SIGTERM', hardSignal: 'SIGKILL', stopTimeoutMs: 5_000 } as const;

const startNode = (folder: string, more: readonly string[]) =>
  startRedis({ dir: folder, appendonly: false, more, log: () => {} });

function kill(redis: RunningRedis): Promise<unknown> {
  signalTree(redis.pid, 'SIGKILL');
  return redis.exited;
}

/** BullMQ keeps a queue's settings in this key from its first job on. */
async function countQueues(port: number): Promise<number> {
  return ((await askRedis(port, 'KEYS', 'punctual:{punctual-*}:meta')) as string[]).length;
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
    const found = await askRedis(ports[0]!, 'SENTINEL', 'get-master-addr-by-name', MASTER_NAME).catch(() => null);
    return Number((found as [string, string] | null)?.[1]);
  };
  const knowEachOther = async () => {
    const text = String(await askRedis(ports[0]!, 'INFO', 'sentinel').catch(() => ''));
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
  const cluster = await startRedisCluster({ folder, masters: MASTERS, replicasEach: 1, nodeTimeoutMs: DOWN_AFTER_MS });
  return {
    redisUrl: cluster.url,
    async strike() {
      if (queues === 'everywhere') {
        const counts = await Promise.all(cluster.masters.map(({ port }) => countQueues(port)));
        if (counts.includes(0)) throw new Error(`a master holds no queue: they hold ${counts.join(', ')}`);
      }
      const index = await cluster.findOwner('punctual:{punctual-0}:wait');
      await kill(cluster.masters[index]!);
      const replica = cluster.replicas[index]!;
      const isPromoted = async () => {
        const role = (await askRedis(replica.port, 'ROLE').catch(() => [])) as [string];
        return role[0] === 'master' && (await readClusterInfo(replica.port)).includes('cluster_state:ok');
      };
      await waitUntil('the replica has taken the slots', isPromoted, FAIL_OVER_LIMIT_MS);
    },
    // The one that died stays away.
    heal: () => Promise.resolve(),
    stop: () => cluster.stop(),
  };
}
