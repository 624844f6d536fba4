import { type RunningStack, startStack } from '@punctual/local-servers';
import { type DnsServer, type Receiver, startDnsServer, startReceiver, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ApiClient, type BatchResult, cut } from './api-client.ts';

/** Plays a host of the public internet: the only address that workers may call. */
const OUTSIDE = '127.0.0.2';
/** Plays a host inside: a canary that nobody may connect to. */
const INSIDE = '127.0.0.1';
/** May be called by what the api was told, and not by what the workers were told since. */
const DENIED_SINCE = '127.0.0.3';
const NAMES = 300;
const BATCH_TIMERS = 500;
/** Between two attempts: longer than workers keep an address that they looked up (ms). */
const BACKOFF_MS = 1_200;
const SETUP_LIMIT_MS = 120_000;
const TEST_LIMIT_MS = 60_000;
const END_LIMIT_MS = 40_000;

let stack: RunningStack;
let dns: DnsServer;
let outside: Receiver;
/** At the port of `outside`, as whoever attacks by DNS would have it. */
let canary: Receiver;
let deniedSince: Receiver;
let api: ApiClient;
let port: string;

/** How often each name was asked for. */
const asked = new Map<string, number>();

/** The first label says how a name behaves. */
function answerName(name: string, family: 4 | 6): readonly string[] {
  const count = asked.get(name) ?? 0;
  if (family === 4) asked.set(name, count + 1);
  const [kind] = name.split('-');
  switch (kind) {
    case 'alternates':
      return [count % 2 === 0 ? OUTSIDE : INSIDE];
    case 'rebinds':
      return [count === 0 ? OUTSIDE : INSIDE];
    case 'mixes':
      return [OUTSIDE, INSIDE];
    case 'mapped':
      return family === 4 ? [OUTSIDE] : [`0:0:0:0:0:ffff:7f00:1`];
    case 'loopback6':
      return family === 4 ? [OUTSIDE] : ['0:0:0:0:0:0:0:1'];
    case 'metadata':
      return ['169.254.169.254'];
    default:
      return [OUTSIDE];
  }
}

beforeAll(async () => {
  dns = await startDnsServer(answerName);
  outside = await startReceiver(undefined, { address: OUTSIDE });
  port = new URL(outside.url).port;
  canary = await startReceiver(undefined, { address: INSIDE, port: Number(port) });
  deniedSince = await startReceiver(undefined, { address: DENIED_SINCE });
  stack = await startStack({
    ephemeral: true,
    env: { LOG_LEVEL: 'fatal', EGRESS_ALLOW: `${OUTSIDE}/32,${DENIED_SINCE}/32` },
    envOf: { worker: { EGRESS_DENY: `${DENIED_SINCE}/32`, WORKER_DNS_SERVERS: dns.address } },
    log: () => {},
  });
  api = new ApiClient(stack.apiUrls);
}, SETUP_LIMIT_MS);

afterAll(async () => {
  await stack?.stop();
  await Promise.all([dns?.close(), outside?.close(), canary?.close(), deniedSince?.close()]);
}, SETUP_LIMIT_MS);

beforeEach(() => {
  for (const receiver of [outside, canary, deniedSince]) {
    receiver.requests.length = 0;
    receiver.connectionCount = 0;
    receiver.answer = () => ({});
  }
});

/** Makes timers for these URLs, due now, and returns how each ended, with what was said of its last attempt. */
async function deliver(urls: readonly string[], maxRetries = 0) {
  const retry = { maxRetries, backoff: { initialMs: BACKOFF_MS, factor: 1, jitter: 0 } };
  const ids: string[] = [];
  for (const batch of cut(urls, BATCH_TIMERS)) {
    const timers = batch.map((url) => ({
      dueAt: new Date().toISOString(),
      action: { type: 'http', url },
      timeoutMs: 5_000,
      retry,
    }));
    const { results } = await api.expect<{ results: BatchResult[] }>([207], 'POST', '/v1/timers/batch', { timers });
    for (const { status, timer, error } of results) {
      if (status !== 201) throw new Error(`a timer was refused: ${JSON.stringify(error)}`);
      ids.push(timer!.id);
    }
  }
  const wanted = new Set(ids);
  const list = async (status: string) =>
    (await api.list<{ id: string }>('/v1/timers', { status })).filter(({ id }) => wanted.has(id)).length;
  await waitUntil(
    'all have ended',
    async () => (await list('succeeded')) + (await list('dead')) === ids.length,
    END_LIMIT_MS,
  );
  return Promise.all(
    ids.map(async (id) => {
      const { data } = await api.expect<{ data: { outcome: string; httpStatus?: number; error?: string }[] }>(
        [200],
        'GET',
        `/v1/timers/${id}/attempts`,
      );
      return data;
    }),
  );
}

describe('the canary inside sees no connection', () => {
  it(
    'of names that alternate between an address outside and one inside, however often they are tried',
    async () => {
      const names = Array.from({ length: NAMES }, (_, index) => `alternates-${index}.attack.example`);
      // The second half of the names begins inside.
      for (const name of names.slice(NAMES / 2)) asked.set(name, 1);
      // Each answer closes the connection, so each attempt looks the name up again.
      outside.answer = () => ({ status: 503, headers: { connection: 'close' } });
      const attempts = (
        await deliver(
          names.map((name) => `http://${name}:${port}/`),
          3,
        )
      ).flat();
      expect(canary.connectionCount).toBe(0);
      const outcomes = Map.groupBy(attempts, ({ outcome }) => outcome);
      expect([...outcomes.keys()].toSorted()).toEqual(['blocked', 'retryable']);
      // Each name showed its inside once: half of them at first, the others after a look outside.
      expect(outcomes.get('blocked')).toHaveLength(NAMES);
      // On a busy machine a look-up may go without its answer, which is tried again like any other failure.
      const answered = outcomes.get('retryable')!.filter(({ httpStatus }) => httpStatus === 503);
      expect(answered).toHaveLength(outside.requests.length);
      expect(outside.requests.length).toBeGreaterThanOrEqual(NAMES / 4);
    },
    TEST_LIMIT_MS,
  );

  it(
    'of names that show it after a first look, beside another, as IPv6, or lead to the metadata of a cloud',
    async () => {
      const kinds = ['rebinds', 'mixes', 'mapped', 'loopback6', 'metadata'];
      const names = kinds.flatMap((kind) =>
        Array.from({ length: 20 }, (_, index) => `${kind}-${index}.attack.example`),
      );
      const ended = await deliver(names.map((name) => `http://${name}:${port}/`));
      expect(canary.connectionCount).toBe(0);
      const found = names.map((name, index) => `${name.split('-')[0]} ${ended[index]!.at(-1)!.outcome}`);
      expect(new Set(found)).toEqual(
        new Set(['rebinds succeeded', 'mixes blocked', 'mapped blocked', 'loopback6 blocked', 'metadata blocked']),
      );
    },
    TEST_LIMIT_MS,
  );

  it(
    'of redirects that lead to it',
    async () => {
      const statuses = [300, 301, 302, 303, 307, 308];
      outside.answer = ({ path }) => ({
        status: Number(path.slice(1)),
        headers: { location: `http://${INSIDE}:${port}/secret`, refresh: `0; url=http://${INSIDE}:${port}/secret` },
      });
      const ended = await deliver(statuses.map((status) => `${outside.url}/${status}`));
      expect(ended.map((attempts) => attempts.map(({ outcome }) => outcome))).toEqual(
        statuses.map(() => ['permanent']),
      );
      expect(outside.requests).toHaveLength(statuses.length);
      expect(canary.connectionCount).toBe(0);
    },
    TEST_LIMIT_MS,
  );
});

it(
  'an address that was allowed when the timer was stored, and is denied when it is sent, sees no connection',
  async () => {
    const ended = await deliver([`${deniedSince.url}/`, `${deniedSince.url}/other`, `${outside.url}/`]);
    expect(ended.map((attempts) => attempts.map(({ outcome }) => outcome))).toEqual([
      ['blocked'],
      ['blocked'],
      ['succeeded'],
    ]);
    expect([deniedSince.connectionCount, canary.connectionCount, outside.requests.length]).toEqual([0, 0, 1]);
  },
  TEST_LIMIT_MS,
);
