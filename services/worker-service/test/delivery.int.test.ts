import { DEFAULT_TENANT_ID } from '@punctual/domain';
import { BACKENDS, startReceiver, useTestDatabase, waitUntil } from '@punctual/testkit';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { httpAction, QUICK_RETRY, useReceivingRig, type WorkerRig, waitForEnds } from './open-rig.ts';

const db = useTestDatabase(6);
const SECRET = `whsec_${Buffer.from('0123456789abcdef0123456789abcdef').toString('base64')}`;

describe.each(BACKENDS)('delivery, with the queue on %s', (backend) => {
  const parts = useReceivingRig(db, backend);

  const deliverOne = async (fields: Parameters<WorkerRig['deliver']>[0]) => {
    const [id] = await parts.rig.deliver(fields!);
    const ended = await waitForEnds(db.database, [id!]);
    return { id: id!, row: ended.get(id!)! };
  };
  const readAttempts = (id: string) =>
    db.database.kysely.selectFrom('attempts').selectAll().where('timer_id', '=', id).orderBy('attempt').execute();

  it('sends the action and keeps what the endpoint said', async () => {
    parts.receiver.answer = () => ({ status: 201, body: 'thanks' });
    const dueAt = Date.now() - 50;
    const { id, row } = await deliverOne({
      dueAt,
      action: httpAction(`${parts.receiver.url}/hook?x=1`, {
        method: 'PUT',
        headers: { 'x-own': 'yes' },
        body: { a: [1, 'é'] },
      }),
    });
    expect(row).toMatchObject({
      state: 'succeeded',
      outcome: 'succeeded',
      attempt: 1,
      http_status: 201,
      response_body: 'thanks',
      error: null,
    });
    expect(row.lateness_ms).toBeGreaterThanOrEqual(0);
    expect(parts.receiver.requests).toHaveLength(1);
    const [request] = parts.receiver.requests;
    expect(request).toMatchObject({ method: 'PUT', path: '/hook?x=1', body: '{"a":[1,"é"]}' });
    expect(request!.headers).toMatchObject({
      'webhook-id': id,
      'idempotency-key': id,
      'punctual-attempt': '1',
      'punctual-due-at': new Date(dueAt).toISOString(),
      'content-type': 'application/json',
      'x-own': 'yes',
    });
    expect(request!.headers['user-agent']).toMatch(/^punctual\/\d/);
    expect(Math.abs(Number(request!.headers['webhook-timestamp']) * 1_000 - Date.now())).toBeLessThan(10_000);
    expect(request!.headers).not.toHaveProperty('webhook-signature');
    expect(await readAttempts(id)).toEqual([]);
  });

  it("sends the timer's description where the action has no body, its payload as it was stored", async () => {
    const payload = '{"n": 12345678901234567890, "s": "\\u00e9"}';
    const { id } = await deliverOne({
      dueAt: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
      payload,
      action: httpAction(parts.receiver.url),
    });
    expect(parts.receiver.requests[0]!.body).toBe(
      `{"timerId":"${id}","runId":null,"workflowId":null,"taskKey":null,"attempt":1,"dueAt":"2026-01-02T03:04:05.006Z","payload":${payload},"input":null}`,
    );
    await deliverOne({ payload, action: httpAction(parts.receiver.url, { method: 'GET' }) });
    expect(parts.receiver.requests[1]).toMatchObject({ method: 'GET', body: '' });
  });

  it('tries four times by default, with the same webhook-id and growing waits, then keeps a dead letter', async () => {
    parts.receiver.answer = ({ headers }) => ({ status: 500, body: `no ${String(headers['punctual-attempt'])}` });
    const { id, row } = await deliverOne({ action: httpAction(parts.receiver.url), retry: QUICK_RETRY });
    expect(parts.receiver.requests.map(({ headers }) => headers['punctual-attempt'])).toEqual(['1', '2', '3', '4']);
    expect(new Set(parts.receiver.requests.map(({ headers }) => headers['webhook-id']))).toEqual(new Set([id]));
    const waits = parts.receiver.requests
      .slice(1)
      .map(({ receivedAt }, index) => receivedAt - parts.receiver.requests[index]!.receivedAt);
    for (const [index, least] of [20, 40, 50].entries()) expect(waits[index]).toBeGreaterThanOrEqual(least - 1);
    expect(row).toMatchObject({
      state: 'dead',
      outcome: 'retryable',
      attempt: 4,
      http_status: 500,
      response_body: 'no 4',
    });
    expect(await readAttempts(id)).toMatchObject(
      [1, 2, 3].map((attempt) => ({
        attempt,
        outcome: 'retryable',
        http_status: 500,
        response_body: `no ${attempt}`,
        error: 'The endpoint answered 500.',
      })),
    );
  });

  it('succeeds at a later attempt, and does not wait shorter than Retry-After says', async () => {
    parts.receiver.answer = () =>
      parts.receiver.requests.length === 1 ? { status: 503, headers: { 'retry-after': '1' } } : { status: 204 };
    const { row } = await deliverOne({ action: httpAction(parts.receiver.url), retry: QUICK_RETRY });
    expect(row).toMatchObject({ state: 'succeeded', attempt: 2, http_status: 204 });
    const [first, second] = parts.receiver.requests;
    expect(second!.receivedAt - first!.receivedAt).toBeGreaterThanOrEqual(999);
  });

  it('ends an attempt that takes too long, and tries again', async () => {
    parts.receiver.answer = () => (parts.receiver.requests.length === 1 ? 'hang' : {});
    const { id, row } = await deliverOne({
      action: httpAction(parts.receiver.url),
      retry: QUICK_RETRY,
      timeoutMs: 150,
    });
    expect(row).toMatchObject({ state: 'succeeded', attempt: 2 });
    const [timedOut] = await readAttempts(id);
    expect(timedOut).toMatchObject({ outcome: 'timedOut', http_status: null });
    expect(timedOut!.duration_ms).toBeGreaterThanOrEqual(149);
  });

  it.each([
    [404, 'permanent'],
    [410, 'permanent'],
    [302, 'permanent'],
  ] as const)('takes %i for final: a dead letter after one request', async (status, outcome) => {
    parts.receiver.answer = () => ({ status, headers: { location: `${parts.receiver.url}/elsewhere` } });
    const { id, row } = await deliverOne({ action: httpAction(parts.receiver.url), retry: QUICK_RETRY });
    expect(row).toMatchObject({ state: 'dead', outcome, attempt: 1, http_status: status });
    expect(parts.receiver.requests).toHaveLength(1);
    expect(await readAttempts(id)).toEqual([]);
  });

  it('calls no address that is not allowed', async () => {
    const { row } = await deliverOne({ action: httpAction('http://10.255.255.1/'), retry: QUICK_RETRY });
    expect(row).toMatchObject({ state: 'dead', outcome: 'blocked', attempt: 1, http_status: null });
  });

  it('takes a refused connection for a passing fault', async () => {
    const closed = await startReceiver();
    await closed.close();
    const { row } = await deliverOne({ action: httpAction(closed.url), retry: QUICK_RETRY });
    expect(row).toMatchObject({
      state: 'dead',
      outcome: 'retryable',
      attempt: 4,
      error: 'The connection was refused.',
    });
  });

  it('does nothing for a noop, for as long as it is told and no longer than its time-out', async () => {
    expect((await deliverOne({ action: '{"type":"noop"}' })).row).toMatchObject({ state: 'succeeded', duration_ms: 0 });
    const slow = await deliverOne({
      action: '{"type":"noop","durationMs":500}',
      timeoutMs: 60,
      retry: '{"maxRetries":0}',
    });
    expect(slow.row).toMatchObject({ state: 'dead', outcome: 'timedOut' });
  });

  it('does nothing for a timer that is for workers which lease tasks, and says so', async () => {
    const { row } = await deliverOne({ action: '{"type":"pull","queue":"emails"}' });
    expect(row).toMatchObject({ state: 'dead', outcome: 'permanent', attempt: 1 });
    expect(row.error).toContain('lease tasks');
  });

  it('signs requests of a tenant that has a secret', async () => {
    const tenantId = '00000000-0000-7000-8000-00000000000a';
    await db.database.ordinary.query(
      `INSERT INTO tenants (id, name, signing_secrets) VALUES ($1, 'signer', $2) ON CONFLICT DO NOTHING`,
      [tenantId, [SECRET]],
    );
    await deliverOne({ tenantId, action: httpAction(parts.receiver.url, { body: { total: 1 } }) });
    const { headers, body } = parts.receiver.requests[0]!;
    const verified = new Webhook(SECRET).verify(body, headers as Record<string, string>);
    expect(verified).toEqual({ total: 1 });
    expect(() => new Webhook(SECRET).verify(body.replace('1', '2'), headers as Record<string, string>)).toThrow();
  });

  it('sends once, however often a timer is dispatched', async () => {
    parts.receiver.answer = () => ({ delayMs: 100 });
    const [id] = await parts.rig.deliver({ action: httpAction(parts.receiver.url) });
    await Promise.all(Array.from({ length: 10 }, () => parts.rig.queue.dispatch([{ id: id!, version: 1 }])));
    await waitForEnds(db.database, [id!]);
    await waitUntil('all hints are used up', async () => {
      const { waiting, active } = await parts.rig.queue.readFigures();
      return waiting + active === 0;
    });
    expect(parts.receiver.requests).toHaveLength(1);
  });

  it('drops hints of versions that no longer stand, and of timers that never were', async () => {
    const dropped = await parts.rig.readMetric('worker_hints_dropped_total');
    const [id] = await parts.rig.deliver({ action: httpAction(parts.receiver.url), dueAt: Date.now() + 3_600_000 });
    await parts.rig.queue.dispatch([
      { id: id!, version: 2 },
      { id: DEFAULT_TENANT_ID, version: 1 },
    ]);
    await waitUntil(
      'both are dropped',
      async () => (await parts.rig.readMetric('worker_hints_dropped_total')) === dropped + 2,
    );
    expect(parts.receiver.requests).toEqual([]);
  });

  it('keeps a hint that comes a little early until it is due by the database clock', async () => {
    const dueAt = Date.now() + 500;
    const [id] = await parts.rig.deliver({ dueAt, action: httpAction(parts.receiver.url) });
    await parts.rig.queue.dispatch([{ id: id!, version: 1 }]);
    await waitUntil(
      'it was seen to be early',
      async () => (await parts.rig.readMetric('worker_hints_early_total')) > 0,
    );
    const row = (await waitForEnds(db.database, [id!])).get(id!)!;
    expect(parts.receiver.requests).toHaveLength(1);
    expect(row.started_at).toBeGreaterThanOrEqual(dueAt);
    expect(row.lateness_ms).toBeLessThan(2_000);
  });

  it('gives up a timer whose worker was lost more than ten times in a row, without sending it again', async () => {
    const lose = async (lost: number) => {
      const [id] = await parts.rig.deliver({ dueAt: Date.now() + 3_600_000, action: httpAction(parts.receiver.url) });
      await db.database.ordinary.query(
        `UPDATE timers SET state = 'running', attempt = 2, lost = $2, version = 5, wake_at = clock_timestamp() - interval '1 second' WHERE id = $1`,
        [id, lost],
      );
      return (await waitForEnds(db.database, [id!])).get(id!)!;
    };
    expect(await lose(9)).toMatchObject({ state: 'succeeded', attempt: 2 });
    expect(parts.receiver.requests).toHaveLength(1);
    expect(parts.receiver.requests[0]!.headers['punctual-attempt']).toBe('2');
    const given = await lose(10);
    expect(given).toMatchObject({ state: 'dead', outcome: 'lost', attempt: 2 });
    expect(given.error).toContain('11 times');
    expect(parts.receiver.requests).toHaveLength(1);
  });
});
