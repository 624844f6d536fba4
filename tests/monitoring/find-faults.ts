import { LATENCY_BUCKETS_SECONDS } from '../../packages/runtime/index.ts';
import type { MetricText } from '../../scripts/describe-docs/describe-metrics.ts';
import { listExpressions, listRules } from './files.ts';
import { type Parsed, parsePromql, type Selector } from './promql.ts';

/** Labels that Prometheus gives every series that it scrapes, and that every metric of ours has. */
const LABELS_OF_TARGETS = ['instance', 'job', 'service'];
/** What others show: Prometheus itself, and the node exporter. */
const FOREIGN: Readonly<Record<string, readonly string[]>> = {
  up: [],
  node_filesystem_avail_bytes: ['fstype', 'mountpoint', 'device'],
  node_filesystem_size_bytes: ['fstype', 'mountpoint', 'device'],
};
/** Labels whose values are no fixed list: routes, methods and tables are those of the api and the schema. */
const OPEN_LABELS = ['route', 'method', 'table', 'tenant', 'fstype', 'instance', 'job', 'service'];
const STATUS_CLASS = /^[1-5]xx$/;

interface Known {
  labels: readonly string[];
  /** Undefined for what is recorded or foreign. */
  metric: MetricText | undefined;
}

/** By the name of each series that there can be. */
function listSeries(metrics: readonly MetricText[]): Map<string, Known> {
  const series = new Map<string, Known>();
  for (const metric of metrics) {
    const { name, labels } = metric;
    if (metric.type !== 'histogram') series.set(name, { labels, metric });
    else {
      series.set(`${name}_bucket`, { labels: [...labels, 'le'], metric });
      for (const end of ['sum', 'count']) series.set(`${name}_${end}`, { labels, metric });
    }
  }
  for (const [name, labels] of Object.entries(FOREIGN)) series.set(name, { labels, metric: undefined });
  for (const { record, expr } of listRules()) {
    if (record) series.set(record, { labels: parsePromql(expr).groupedBy, metric: undefined });
  }
  return series;
}

/** What rules and dashboards name and no service shows, and what the grammar does not take. One sentence each. */
export function findFaults(metrics: readonly MetricText[]): string[] {
  const series = listSeries(metrics);
  return listExpressions().flatMap(({ where, expr }) => {
    const parsed = parsePromql(expr);
    if (parsed.faultAt !== undefined) return [`${where}: no PromQL from character ${parsed.faultAt} on: ${expr}`];
    return findFaultsOf(parsed, series).map((fault) => `${where}: ${fault}`);
  });
}

/** The names of all metrics that rules and dashboards ask for. */
export function listUsedMetrics(metrics: readonly MetricText[]): Set<string> {
  const series = listSeries(metrics);
  const names = listExpressions().flatMap(({ expr }) => parsePromql(expr).selectors.map(({ metric }) => metric));
  return new Set(names.flatMap((name) => series.get(name)?.metric?.name ?? []));
}

function findFaultsOf({ selectors, groupedBy }: Parsed, series: ReadonlyMap<string, Known>): string[] {
  const faults: string[] = [];
  const there = new Set<string>(LABELS_OF_TARGETS);
  if (selectors.length === 0) faults.push('it asks for nothing');
  for (const selector of selectors) {
    const known = series.get(selector.metric);
    if (!known) {
      faults.push(`${selector.metric} is shown by nobody`);
      continue;
    }
    for (const label of known.labels) there.add(label);
    faults.push(...findFaultsOfMatchers(selector, known));
  }
  for (const label of groupedBy) if (!there.has(label)) faults.push(`nothing in it has the label ${label}`);
  return faults;
}

function findFaultsOfMatchers({ metric: name, matchers }: Selector, { labels, metric }: Known): string[] {
  return matchers.flatMap(({ label, operator, value }) => {
    if (![...labels, ...LABELS_OF_TARGETS].includes(label)) return [`${name} has no label ${label}`];
    if (operator !== '=' || metric === undefined || OPEN_LABELS.includes(label)) return [];
    if (label === 'le')
      return LATENCY_BUCKETS_SECONDS.includes(Number(value)) ? [] : [`${name} has no bucket ${value}`];
    if (label === 'status' && STATUS_CLASS.test(value)) return [];
    // What a label can be stands in the help of its metric.
    return metric.help.includes(value) ? [] : [`the help of ${name} does not name the ${label} ${value}`];
  });
}
