import { type RunningStack, startStack } from '@punctual/local-servers';
import {
  BACKENDS,
  createTestQueue,
  type Receiver,
  startReceiver,
  type TestQueue,
  useTestDatabase,
  waitUntil,
} from '@punctual/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Run, send, type Timer } from './api-client.ts';
import { type Collector, type ReceivedSpan, startCollector } from './otlp-collector.ts';

const SETUP_LIMIT_MS = 120_000;
/** Spans are sent a second after they ended, or later when the machine is busy. */
const EXPORT_LIMIT_MS = 30_000;

const SAMPLED = '01';
const NOT_SAMPLED = '00';
let made = 0;
const makeTraceId = () => `${++made}`.padStart(32, 'abc');
const CLIENT_SPAN = '00f067aa0ba902b7';

describe.each(BACKENDS)('with the queue on %s, a trace', (backend) => {
  const db = useTestDatabase(4);
  let queue: TestQueue;
  let stack: RunningStack;
  let receiver: Receiver;
  let collector: Collector;

  beforeAll(async () => {
    [receiver, collector] = await Promise.all([startReceiver(), startCollector()]);
    queue = await createTestQueue(backend, { url: db.url });
    stack = await startStack({
      databaseUrl: db.url,
      redisUrl: queue.connection.redisUrl ?? null,
      env: {
        REDIS_PREFIX: queue.connection.redisPrefix,
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_TRACES_SAMPLER: 'parentbased_always_on',
        LOG_LEVEL: 'warn',
      },
      ephemeral: true,
      log: () => {},
    });
  }, SETUP_LIMIT_MS);

  afterAll(async () => {
    await stack?.stop();
    await receiver?.close();
    await collector?.close();
    await queue?.drop();
  }, SETUP_LIMIT_MS);

  async function create<Created>(path: string, body: object, traceparent?: string): Promise<Created> {
    const response = await fetch(`${stack.apiUrls[0]}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(traceparent && { traceparent }) },
      body: JSON.stringify(body),
    });
    expect(response.status).toBe(201);
    return (await response.json()) as Created;
  }

  const callOf = async (timerId: string, attempt = 1) => {
    const find = () =>
      receiver.requests.find(
        ({ headers }) => headers['webhook-id'] === timerId && headers['punctual-attempt'] === String(attempt),
      );
    await waitUntil('the endpoint is called', () => find() !== undefined);
    return find()!;
  };

  async function waitForSpans(traceId: string, names: readonly string[]): Promise<ReceivedSpan[]> {
    const find = () => collector.spans.filter((span) => span.traceId === traceId);
    const has = () => {
      const found = find().map(({ name }) => name);
      return names.every(
        (name) => found.filter((one) => one === name).length >= names.filter((n) => n === name).length,
      );
    };
    await waitUntil(`the collector has ${names.join(', ')}`, has, EXPORT_LIMIT_MS);
    return find();
  }

  const LIFE = ['timer.dispatch', 'timer.start', 'timer.attempt', 'timer.outcome'];

  it("leads from the client's call to the endpoint, through all three services", async () => {
    const traceId = makeTraceId();
    const timer = await create<Timer>(
      '/v1/timers',
      { delay: { type: 'duration', value: 1, unit: 'seconds' }, action: { type: 'http', url: `${receiver.url}/a` } },
      `00-${traceId}-${CLIENT_SPAN}-${SAMPLED}`,
    );
    const { headers } = await callOf(timer.id);
    const spans = await waitForSpans(traceId, ['POST /v1/timers', ...LIFE]);
    const [request, dispatch, start, attempt, outcome] = ['POST /v1/timers', ...LIFE].map(
      (name) => spans.find((span) => span.name === name)!,
    );
    expect(request).toMatchObject({ parentSpanId: CLIENT_SPAN, service: 'punctual-api' });
    expect(request!.attributes).toMatchObject({ 'http.response.status_code': 201, 'http.route': '/v1/timers' });
    expect(dispatch).toMatchObject({ parentSpanId: request!.spanId, service: 'punctual-scheduler' });
    expect(start).toMatchObject({ parentSpanId: request!.spanId, service: 'punctual-worker' });
    expect(attempt).toMatchObject({ parentSpanId: request!.spanId, service: 'punctual-worker' });
    expect(attempt!.attributes).toMatchObject({
      'punctual.timer.id': timer.id,
      'punctual.attempt': 1,
      'punctual.outcome': 'succeeded',
      'http.response.status_code': 200,
    });
    expect(outcome).toMatchObject({ parentSpanId: attempt!.spanId });
    // The third party goes on from the attempt.
    expect(headers.traceparent).toBe(`00-${traceId}-${attempt!.spanId}-01`);
    expect(spans).toHaveLength(5);
  });

  it('begins here when the client has none, or sends what is none', async () => {
    for (const traceparent of [undefined, 'ff-0-0-00', `00-${'0'.repeat(32)}-${CLIENT_SPAN}-01`]) {
      const timer = await create<Timer>('/v1/timers', { action: { type: 'http', url: receiver.url } }, traceparent);
      const { headers } = await callOf(timer.id);
      const [, traceId] = /^00-([\da-f]{32})-[\da-f]{16}-01$/.exec(String(headers.traceparent)) ?? [];
      const spans = await waitForSpans(traceId!, ['POST /v1/timers', ...LIFE]);
      expect(spans.find(({ name }) => name === 'POST /v1/timers')!.parentSpanId).toBe('');
    }
  });

  it('holds every attempt, and what went wrong with it', async () => {
    receiver.answer = ({ path, headers }) => ({
      status: path === '/flaky' && headers['punctual-attempt'] === '1' ? 503 : 200,
    });
    const traceId = makeTraceId();
    const retry = { maxRetries: 1, backoff: { initialMs: 100, factor: 1, maxMs: 100, jitter: 0 } };
    const action = { type: 'http', url: `${receiver.url}/flaky` };
    const timer = await create<Timer>('/v1/timers', { action, retry }, `00-${traceId}-${CLIENT_SPAN}-${SAMPLED}`);
    await callOf(timer.id, 2);
    const spans = await waitForSpans(traceId, ['timer.attempt', 'timer.attempt', 'timer.outcome', 'timer.outcome']);
    const attempts = spans.filter(({ name }) => name === 'timer.attempt');
    expect(attempts.map(({ attributes }) => attributes['punctual.outcome']).toSorted()).toEqual([
      'retryable',
      'succeeded',
    ]);
    expect(attempts.filter(({ hasFailed }) => hasFailed)).toHaveLength(1);
    expect(new Set(attempts.map(({ parentSpanId }) => parentSpanId)).size).toBe(1);
  });

  it('holds all tasks of a run', async () => {
    const http = { type: 'http', url: `${receiver.url}/task` };
    const tasks = [
      { key: 'first', action: http },
      { key: 'second', after: ['first'], action: http },
      { key: 'third', after: ['second'], delay: { type: 'duration', value: 1, unit: 'seconds' }, action: http },
    ];
    const { id: workflowId } = await create<{ id: string }>('/v1/workflows', { name: 'traced', tasks });
    const traceId = makeTraceId();
    await create<Run>('/v1/runs', { workflowId }, `00-${traceId}-${CLIENT_SPAN}-${SAMPLED}`);
    const spans = await waitForSpans(traceId, ['POST /v1/runs', ...Array(3).fill('timer.attempt')]);
    const attempts = spans.filter(({ name }) => name === 'timer.attempt');
    expect(attempts.map(({ attributes }) => attributes['punctual.task.key']).toSorted()).toEqual([
      'first',
      'second',
      'third',
    ]);
  });

  it('is not begun for what the client did not sample, and nothing of it is kept', async () => {
    const count = async () =>
      (await db.database.ordinary.query('SELECT count(*)::int AS count FROM trace_contexts')).rows[0].count as number;
    const before = await count();
    const timer = await create<Timer>(
      '/v1/timers',
      { action: { type: 'http', url: receiver.url } },
      `00-${makeTraceId()}-${CLIENT_SPAN}-${NOT_SAMPLED}`,
    );
    expect((await callOf(timer.id)).headers.traceparent).toBeUndefined();
    expect(await count()).toBe(before);
  });

  it("leaves a traceparent alone that the customer's action brings", async () => {
    const own = `00-${makeTraceId()}-${CLIENT_SPAN}-01`;
    const action = { type: 'http', url: receiver.url, headers: { TraceParent: own } };
    const timer = await create<Timer>('/v1/timers', { action });
    expect((await callOf(timer.id)).headers.traceparent).toBe(own);
  });

  it('that can not be sent holds up nothing', async () => {
    await collector.close();
    const ids: string[] = [];
    for (let count = 0; count < 20; count += 1) {
      ids.push((await create<Timer>('/v1/timers', { action: { type: 'http', url: receiver.url } })).id);
    }
    for (const id of ids) await callOf(id);
    const { status } = await send(`${stack.apiUrls[0]}/v1/health`);
    expect(status).toBe(200);
  });
});
