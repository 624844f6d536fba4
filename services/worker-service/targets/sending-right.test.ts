import type { Socket } from 'node:net';
import { waitUntil } from '@punctual/testkit';
import { describe, expect, it, vi } from 'vitest';
import type { ResolvedAddress } from '../egress/host-resolver.ts';
import { WAITING_PER_ORIGIN_MAX } from './connection-pool.ts';
import { SEND_QUESTIONS_MAX, type SendingRight } from './http-attempt.ts';
import { makeRequest, useLoopback } from './test-support/loopback-target.ts';
import { formatAnswer } from './test-support/raw-endpoint.ts';

const { createTarget, startEndpoint } = useLoopback();
const answerOk = { onRequest: (socket: Socket) => void socket.write(formatAnswer(200, 'ok')) };
const LAPSED = -1;
const FOR_EVER = Number.POSITIVE_INFINITY;

function makeRight(goodUntil: number, answer: () => number | undefined | Promise<number | undefined>) {
  const ask = vi.fn(async () => answer());
  const right: SendingRight = { mayBegin: () => true, goodUntil, ask };
  return { right, ask };
}

describe('a request that may be sent for a limited time', () => {
  it('is sent within it without asking', async () => {
    const endpoint = await startEndpoint(answerOk);
    const { right, ask } = makeRight(performance.now() + 60_000, () => undefined);
    expect(await createTarget().perform(makeRequest(endpoint.origin, { right }))).toMatchObject({
      outcome: 'succeeded',
    });
    expect(ask).not.toHaveBeenCalled();
  });

  it('is asked about when its name was found too late, and then sent once, over the connection that was made', async () => {
    const endpoint = await startEndpoint(answerOk);
    const answers: ((addresses: ResolvedAddress[]) => void)[] = [];
    const target = createTarget({ resolveHost: () => new Promise((resolve) => answers.push(resolve)) });
    let connectionsWhenAsked = 0;
    const goodUntil = performance.now() + 20;
    const { right, ask } = makeRight(goodUntil, async () => {
      await waitUntil('the connection is there', () => endpoint.openCount === 1);
      connectionsWhenAsked = endpoint.connectionCount;
      expect(endpoint.requests).toEqual([]);
      return FOR_EVER;
    });
    const attempt = target.perform(makeRequest(`http://name.example:${endpoint.port}/`, { right }));
    await waitUntil('its time is over', () => performance.now() > goodUntil && answers.length === 1);
    expect(ask).not.toHaveBeenCalled();
    answers[0]!([{ address: '127.0.0.1', family: 4 }]);
    expect(await attempt).toMatchObject({ outcome: 'succeeded', responseBody: 'ok', sentAt: expect.any(Number) });
    expect([ask.mock.calls.length, connectionsWhenAsked, endpoint.connectionCount]).toEqual([1, 1, 1]);
    expect(endpoint.requests).toHaveLength(1);
  });

  it('is not sent when a gate has closed while its connection was made, which stays open for others', async () => {
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget();
    const { right, ask } = makeRight(FOR_EVER, () => undefined);
    const held = target.perform(makeRequest(endpoint.origin, { right: { ...right, mayBegin: () => false } }));
    expect(await held).toMatchObject({ outcome: 'unsent', cause: 'held', contact: 'unknown', sentAt: undefined });
    expect(await target.perform(makeRequest(endpoint.origin))).toMatchObject({ outcome: 'succeeded' });
    expect([ask.mock.calls.length, endpoint.connectionCount, endpoint.requests.length]).toEqual([0, 1, 1]);
  });

  it('is not sent when a gate closes while a thousand wait for one connection', async () => {
    let isOpen = true;
    const endpoint = await startEndpoint({
      onRequest: (socket) => {
        isOpen = false;
        socket.write(formatAnswer(200, 'ok'));
      },
    });
    const target = createTarget({ maxConnectionsPerOrigin: 1 });
    const right = {
      mayBegin: () => isOpen,
      goodUntil: Number.POSITIVE_INFINITY,
      ask: () => Promise.resolve(undefined),
    };
    const request = makeRequest(endpoint.origin, { right });
    const results = await Promise.all(
      Array.from({ length: WAITING_PER_ORIGIN_MAX + 1 }, () => target.perform(request)),
    );
    expect(results.filter(({ outcome }) => outcome === 'succeeded')).toHaveLength(1);
    expect(results.filter((result) => 'cause' in result && result.cause === 'held')).toHaveLength(
      WAITING_PER_ORIGIN_MAX,
    );
    expect(endpoint.requests).toHaveLength(1);
  });

  it('is asked about when it waited for a connection that others held', async () => {
    const held: Socket[] = [];
    const endpoint = await startEndpoint({ onRequest: (socket) => void held.push(socket) });
    const target = createTarget({ maxConnectionsPerOrigin: 1 });
    const first = target.perform(makeRequest(endpoint.origin));
    await waitUntil('the first holds it', () => held.length === 1);
    const { right, ask } = makeRight(performance.now(), () => undefined);
    const second = target.perform(makeRequest(endpoint.origin, { right }));
    expect(ask).not.toHaveBeenCalled();
    held[0]!.write(formatAnswer(200, 'ok'));
    expect(await first).toMatchObject({ outcome: 'succeeded' });
    expect(await second).toMatchObject({ outcome: 'unsent', cause: 'void' });
    expect(endpoint.requests).toHaveLength(1);
  });

  it('is not sent when it may not be any more; the connection serves the next one', async () => {
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget();
    const { right } = makeRight(LAPSED, () => undefined);
    expect(await target.perform(makeRequest(endpoint.origin, { right }))).toMatchObject({
      outcome: 'unsent',
      cause: 'void',
      contact: 'unknown',
      sentAt: undefined,
    });
    expect(target.stats).toEqual({ inFlight: 0, idleConnections: 1, origins: 1 });
    expect(await target.perform(makeRequest(endpoint.origin))).toMatchObject({ outcome: 'succeeded' });
    expect([endpoint.connectionCount, endpoint.requests.length]).toEqual([1, 1]);
  });

  it('is not sent where nobody can be asked, or every answer comes too late to be good', async () => {
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget();
    const failing = makeRight(LAPSED, () => Promise.reject(new Error('Postgres is away')));
    expect(await target.perform(makeRequest(endpoint.origin, failing))).toMatchObject({
      outcome: 'unsent',
      cause: 'ownFault',
      error: expect.stringContaining('Postgres is away'),
    });
    const late = makeRight(LAPSED, () => LAPSED);
    expect(await target.perform(makeRequest(endpoint.origin, late))).toMatchObject({
      outcome: 'unsent',
      cause: 'ownFault',
    });
    expect(late.ask).toHaveBeenCalledTimes(SEND_QUESTIONS_MAX);
    expect(endpoint.requests).toEqual([]);
  });

  it('ends at its deadline while nobody has answered, without blame for the endpoint, and is not sent afterwards', async () => {
    const endpoint = await startEndpoint(answerOk);
    const target = createTarget();
    const { promise, resolve } = Promise.withResolvers<number>();
    const { right, ask } = makeRight(LAPSED, () => promise);
    const result = await target.perform(makeRequest(endpoint.origin, { right, timeoutMs: 300 }));
    expect(ask).toHaveBeenCalledOnce();
    expect(result).toMatchObject({ outcome: 'unsent', cause: 'ownFault', contact: 'unknown' });
    resolve(FOR_EVER);
    expect(await target.perform(makeRequest(endpoint.origin))).toMatchObject({ outcome: 'succeeded' });
    expect(endpoint.requests).toHaveLength(1);
  });
});
