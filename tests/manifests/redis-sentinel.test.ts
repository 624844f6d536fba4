import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { createId } from '@punctual/domain';
import {
  findFreePort,
  findOrInstallRedisServer,
  type GuardedProcess,
  startGuardedProcess,
} from '@punctual/local-servers';
import { ChunkQueue } from '@punctual/queue';
import { waitUntil } from '@punctual/testkit';
import { Redis } from 'ioredis';
import { afterAll, expect, test } from 'vitest';
import { find, MANIFESTS } from './overlays.ts';
import { podOf, readDocuments } from './render.ts';

const objects = readDocuments(join(MANIFESTS, 'overlays/examples/redis-sentinel/redis.yaml'));
const PASSWORD = 'a-password-of-the-test';
const PODS = 3;
/** Sentinels take their time, and a busy machine more of it (ms). */
const TEST_MAX_MS = 180_000;
const folder = mkdtempSync(join(tmpdir(), 'punctual-sentinel-'));
const processes: GuardedProcess[] = [];
afterAll(async () => {
  await Promise.all(processes.map((process) => process.stop()));
  rmSync(folder, { recursive: true, force: true });
});

interface Variable {
  name: string;
  value?: string;
}

test(
  'Redis with Sentinels: the scripts of the example start it, and the queue goes on when the master dies and comes back',
  async () => {
    const scripts = find(objects, 'ConfigMap', 'punctual-redis').data as Record<string, string>;
    for (const [name, text] of Object.entries(scripts)) writeFileSync(join(folder, name), text);
    // Under the names that they have in the image: here it may be Valkey.
    const server = await findOrInstallRedisServer({ log: () => {} });
    symlinkSync(server, join(folder, 'redis-server'));
    symlinkSync(join(dirname(server), basename(server).replace('server', 'cli')), join(folder, 'redis-cli'));
    const pods = await Promise.all(
      Array.from({ length: PODS }, async (_, index) => ({
        folder: join(folder, `pod-${index}`),
        redis: await findFreePort(),
        sentinel: await findFreePort(),
      })),
    );
    const start = async (pod: (typeof pods)[number], role: 'redis' | 'sentinel') => {
      mkdirSync(pod.folder, { recursive: true });
      const container = podOf(find(objects, 'StatefulSet', 'punctual-redis')).containers.find(
        ({ name }: { name: string }) => name === role,
      );
      const ours: Record<string, string> = {
        POD_NAME: '',
        SELF_HOST: '127.0.0.1',
        REDIS_PORT: String(pod.redis),
        SENTINEL_PORT: String(pod.sentinel),
        FIRST: `127.0.0.1 ${pods[0]!.redis}`,
        SENTINELS: pods.map(({ sentinel }) => `127.0.0.1 ${sentinel}\n`).join(''),
        DOWN_AFTER_MS: '1000',
        FOLDER: pod.folder,
        REDIS_PASSWORD: PASSWORD,
      };
      // The manifest gives the same variables, with the addresses of pods.
      expect((container.env as Variable[]).map(({ name }) => name).toSorted()).toEqual(Object.keys(ours).toSorted());
      const [shell, script] = container.command as [string, string];
      const process = await startGuardedProcess({
        command: shell,
        args: [join(folder, script.replace('/scripts/', ''))],
        env: { PATH: `${folder}${delimiter}${globalThis.process.env.PATH}`, ...ours },
        cwd: pod.folder,
        stopSignal: 'SIGTERM',
        hardSignal: 'SIGKILL',
        stopTimeoutMs: 10_000,
        output: { file: join(pod.folder, `${role}.log`) },
      });
      processes.push(process);
      return process;
    };
    const [master] = await Promise.all(pods.map((pod) => start(pod, 'redis')));
    await Promise.all(pods.map((pod) => start(pod, 'sentinel')));

    const hosts = pods.map(({ sentinel }) => `127.0.0.1:${sentinel}`).join(',');
    const redisUrl = `redis+sentinel://:${PASSWORD}@${hosts}/punctual?sentinelPassword=${PASSWORD}`;
    const queue = new ChunkQueue({ databaseUrl: '', redisUrl, redisPrefix: 'punctual' }, () => {});
    const dispatch = async () => {
      try {
        return (await queue.dispatch([{ id: createId(), version: 1 }])).chunks;
      } catch {
        return 0;
      }
    };
    const countWaiting = () => queue.countWaiting().catch(() => 0);
    try {
      await waitUntil('a hint is taken', async () => (await dispatch()) === 1, 20_000);
      // They learn of each other, and of the replicas, by way of the master, within seconds.
      for (const pod of pods) await waitUntil('a Sentinel knows all', () => knowsAll(pod.sentinel), 20_000);
      master!.kill('SIGKILL');
      await master!.exited;
      // The Sentinels may not agree at once; then they try again after 20 s.
      await waitUntil('a new master takes hints', async () => (await dispatch()) === 1, 60_000);
      // The pod comes back, empty, and does not take itself for the master.
      await start(pods[0]!, 'redis');
      await waitUntil('it is a replica', async () => (await readRole(pods[0]!.redis)) === 'slave', 20_000);
      // What was taken in between may be lost, as hints may.
      await waitUntil(
        'hints are taken and kept',
        async () => (await dispatch()) === 1 && (await countWaiting()) > 0,
        20_000,
      );
    } finally {
      await queue.close();
    }
  },
  TEST_MAX_MS,
);

/** Whether a Sentinel could see a failover through: it knows enough others, and both replicas are well. */
async function knowsAll(port: number): Promise<boolean> {
  return (
    (await ask(port, async (sentinel) => {
      await sentinel.call('SENTINEL', 'CKQUORUM', 'punctual');
      const replicas = (await sentinel.call('SENTINEL', 'REPLICAS', 'punctual')) as string[][];
      const others = (await sentinel.call('SENTINEL', 'SENTINELS', 'punctual')) as string[][];
      const isWell = (fields: string[]) =>
        fields[fields.indexOf('flags') + 1] === 'slave' && fields[fields.indexOf('master-link-status') + 1] === 'ok';
      return others.length === PODS - 1 && replicas.length === PODS - 1 && replicas.every(isWell);
    })) ?? false
  );
}

/** What a server says that it is; undefined while it does not answer. */
const readRole = (port: number) => ask(port, async (redis) => ((await redis.role()) as [string])[0]);

/** The answer of one server; undefined while it gives none. */
async function ask<Answer>(port: number, question: (redis: Redis) => Promise<Answer>): Promise<Answer | undefined> {
  const redis = new Redis({
    port,
    password: PASSWORD,
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
    retryStrategy: () => null,
  });
  redis.on('error', () => {});
  try {
    await redis.connect();
    return await question(redis);
  } catch {
    return undefined;
  } finally {
    redis.disconnect();
  }
}
