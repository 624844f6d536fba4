import { type RunningStack, startStack } from '@punctual/local-servers';
import { type Receiver, startReceiver, useTestDatabase, waitUntil } from '@punctual/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { listMetrics, type MetricText } from '../../scripts/describe-docs/describe-metrics.ts';
import { findFaults } from '../monitoring/find-faults.ts';

const SETUP_LIMIT_MS = 120_000;
const FIGURES_INTERVAL_MS = 500;

const db = useTestDatabase(4);
let stack: RunningStack;
let receiver: Receiver;

beforeAll(async () => {
  receiver = await startReceiver();
  stack = await startStack({
    databaseUrl: db.url,
    redisUrl: null,
    ephemeral: true,
    envOf: { scheduler: { SCHEDULER_FIGURES_INTERVAL_MS: String(FIGURES_INTERVAL_MS) } },
    log: () => {},
  });
}, SETUP_LIMIT_MS);

afterAll(async () => {
  await stack?.stop();
  await receiver?.close();
}, SETUP_LIMIT_MS);

interface Sample {
  name: string;
  labels: string[];
  value: number;
}

async function scrape(): Promise<{ types: Map<string, string>; samples: Sample[] }> {
  const texts = await Promise.all(stack.processes.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()));
  const lines = texts.flatMap((text) => text.split('\n'));
  const types = new Map(
    lines.flatMap((line) => {
      const [, name, type] = /^# TYPE (\w+) (\w+)$/.exec(line) ?? [];
      return name ? [[name, type!] as const] : [];
    }),
  );
  const samples = lines.flatMap((line) => {
    const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    return name
      ? [{ name, labels: [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label!), value: Number(value) }]
      : [];
  });
  return { types, samples };
}

/** Of a sample's name: that of its metric. */
function findMetric(metrics: readonly MetricText[], name: string): MetricText | undefined {
  return metrics.find((metric) =>
    metric.type === 'histogram'
      ? [`${metric.name}_bucket`, `${metric.name}_sum`, `${metric.name}_count`].includes(name)
      : metric.name === name,
  );
}

it('what the services really show is all that rules and dashboards ask for', async () => {
  const created = await fetch(`${stack.apiUrls[0]}/v1/timers`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    },
    body: JSON.stringify({ action: { type: 'http', url: receiver.url } }),
  });
  expect(created.status).toBe(201);
  await waitUntil('it is delivered', () => receiver.requests.length > 0);
  await waitUntil('the figures of the database are read', async () => {
    const { samples } = await scrape();
    return samples.some(({ name, value }) => name === 'scheduler_database_bytes' && value > 0);
  });
  const { types, samples } = await scrape();
  const metrics = listMetrics();
  const shown = metrics.filter(({ name, type }) => types.get(name) === type);
  expect(shown.length).toBeGreaterThan(90);
  expect(findFaults(shown)).toEqual([]);
  const wrong = samples.filter(({ name, labels }) => {
    const metric = findMetric(metrics, name);
    return labels.some((label) => ![...(metric?.labels ?? [label]), 'service', 'le'].includes(label));
  });
  expect(wrong).toEqual([]);
  // Traces are off: what the client says of its own is neither kept nor passed on.
  expect(receiver.requests[0]!.headers.traceparent).toBeUndefined();
  const { rows } = await db.database.ordinary.query('SELECT target_id FROM trace_contexts');
  expect(rows).toEqual([]);
  // The attempt is in the figure that all the alarms are about.
  await waitUntil('its lateness is counted', async () => {
    const counted = (await scrape()).samples.find(({ name }) => name === 'timer_lateness_seconds_count');
    return counted?.value === 1;
  });
});
