// The text of docs/metrics.md, from the registries that the services fill.
import { createMetrics, LATENCY_BUCKETS_SECONDS } from '../../packages/runtime/index.ts';
import { createApiMetrics } from '../../services/api-service/metrics.ts';
import { createSchedulerMetrics } from '../../services/scheduler-service/metrics.ts';
import { createWorkerMetrics } from '../../services/worker-service/metrics.ts';
import { code, renderTable } from './markdown.ts';

type Registry = ReturnType<typeof createMetrics>;

/** What is described of one metric. */
export interface MetricText {
  name: string;
  type: string;
  labels: readonly string[];
  help: string;
}

const SERVICES: readonly [name: string, fill: (registry: Registry) => unknown][] = [
  [
    'api',
    (registry) =>
      createApiMetrics(registry, {
        countWaitingQueries: () => 0,
        countWaitingTimers: () => 0,
        countBodyBytes: () => 0,
        countLeaseWaits: () => 0,
      }),
  ],
  ['scheduler', createSchedulerMetrics],
  ['worker', createWorkerMetrics],
];

/** prom-client has these on Linux only: leaving them out of the table keeps the file the same on every system. */
const LINUX_ONLY = ['process_heap_bytes', 'process_max_fds', 'process_open_fds', 'process_virtual_memory_bytes'];

/** What a name's end, or a word in it, says is counted; the first that fits. */
const UNITS: readonly [pattern: RegExp, unit: string][] = [
  [/_seconds(_total)?$/, 'seconds'],
  [/_bytes$/, 'bytes'],
  [/_timers?(_|$)/, 'timers'],
  [/_outcomes?_/, 'outcomes'],
  [/_hints_/, 'hints'],
  [/_attempts_/, 'attempts'],
  [/_chunks_/, 'chunks'],
  [/_partitions?_/, 'partitions'],
  [/_circuits_/, 'circuits'],
  [/_pool_waiting$/, 'queries'],
];

/** `outcome_write_failures` are failures, not outcomes; `clock_steps` are steps; and so on: what is left is counted. */
const COUNTED = /_(failures|pauses|steps)(_total)?$/;

/** Every metric that some service shows. */
export function listMetrics(): MetricText[] {
  return [
    ...readMetrics(createMetrics('any')),
    ...SERVICES.flatMap(([service, fill]) => readOwnMetrics(service, fill)),
  ];
}

export function describeMetrics(): string {
  const own = SERVICES.flatMap(([service, fill]) =>
    readOwnMetrics(service, fill).map((metric) => [service, metric] as const),
  );
  const common = readMetrics(createMetrics('any')).filter(({ name }) => !LINUX_ONLY.includes(name));
  return `${[
    '<!-- Made by scripts/describe-docs.ts from the code; edit the code, then run `npm run docs`. -->',
    '# Metrics',
    'Every service answers `GET /metrics` on its own port, in the text format of Prometheus, without an API key. Every metric has the label `service`: `api`, `scheduler` or `worker`, and `standalone` where all three run in one process. A timer id is never a label. What to watch, and what a value out of line means: [failure-modes.md](failure-modes.md).',
    '## Of Punctual',
    renderTable(
      ['Name', 'Type', 'Labels', 'Unit', 'Meaning', 'Service'],
      own.map(([service, { name, type, labels, help }]) => [
        code(name),
        type,
        labels.map(code).join(', '),
        nameUnit(name),
        help,
        service,
      ]),
    ),
    `Histograms of seconds have the buckets ${LATENCY_BUCKETS_SECONDS.join(', ')}. A histogram has three series: \`_bucket\` with the label \`le\`, \`_sum\` and \`_count\`.`,
    '`timer_lateness_seconds` is the figure that the service is for. It counts each attempt from the instant at which that attempt was due, so a retry is late only when it comes later than its backoff.',
    '## Of every process',
    `These come from the library prom-client. On Linux there are also ${LINUX_ONLY.map(code).join(', ')}. The delay of the event loop is \`nodejs_eventloop_lag_seconds\` and the figures beside it.`,
    renderTable(
      ['Name', 'Type', 'Labels', 'Unit', 'Meaning'],
      common.map(({ name, type, labels, help }) => [
        code(name),
        type,
        labels.map(code).join(', '),
        nameUnit(name),
        help,
      ]),
    ),
  ].join('\n\n')}\n`;
}

function readOwnMetrics(service: string, fill: (registry: Registry) => unknown): MetricText[] {
  const registry = createMetrics(service);
  const common = new Set(readMetrics(registry).map(({ name }) => name));
  fill(registry);
  return readMetrics(registry).filter(({ name }) => !common.has(name));
}

function readMetrics(registry: Registry): MetricText[] {
  return registry.getMetricsAsArray().map((metric) => {
    // prom-client's types leave out what its metrics are made with.
    const { name, help, labelNames } = metric as unknown as {
      name: string;
      help: string;
      labelNames: readonly string[];
    };
    return { name, help, labels: labelNames, type: metric.constructor.name.toLowerCase() };
  });
}

function nameUnit(name: string): string {
  if (COUNTED.test(name)) return 'count';
  return UNITS.find(([pattern]) => pattern.test(name))?.[1] ?? 'count';
}
