import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { listMetrics } from '../../scripts/describe-docs/describe-metrics.ts';
import { ApiConfigSchema } from '../../services/api-service/config.ts';
import { SchedulerSettings } from '../../services/scheduler-service/config.ts';
import { WorkerSettings } from '../../services/worker-service/config.ts';
import { listFiles, ROOT } from '../docs/markdown-files.ts';
import { listDashboards, listRules, readYaml } from './files.ts';
import { findFaults, listUsedMetrics } from './find-faults.ts';
import { parsePromql } from './promql.ts';

const metrics = listMetrics();
const alerts = listRules().flatMap((rule) => (rule.alert === undefined ? [] : [{ ...rule, alert: rule.alert }]));
const RUNBOOKS = 'docs/runbooks';
const RUNBOOK_URL = /^\{\{ \$externalLabels\.runbooks \}\}\/([a-z-]+\.md)#([a-z]+)$/;

test('every expression of rules and dashboards is PromQL, and names metrics and labels that services show', () => {
  expect(findFaults(metrics)).toEqual([]);
});

test('a metric that is renamed, or loses its labels, is noticed', () => {
  const used = listUsedMetrics(metrics);
  expect(used.size).toBeGreaterThan(50);
  const unnoticed = [...used].filter(
    (name) =>
      findFaults(metrics.map((metric) => (metric.name === name ? { ...metric, name: `${name}_x` } : metric))).length ===
      0,
  );
  expect(unnoticed).toEqual([]);
  const withoutLabels = metrics.map((metric) =>
    metric.name === 'worker_timers_ended_total' ? { ...metric, labels: [] } : metric,
  );
  expect(findFaults(withoutLabels).join('\n')).toContain('worker_timers_ended_total has no label status');
});

test('what is no PromQL is noticed', () => {
  expect(parsePromql('sum(rate(x[5m])').faultAt).toBeDefined();
  expect(parsePromql('sum(rate(x[$__rate_interval]))').faultAt).toBeUndefined();
});

test('every alert has a severity that is routed, texts, and labels in them that its answer has', () => {
  const { route } = readYaml<{ route: { routes: { matchers: string[] }[] } }>('prometheus/alertmanager.yml');
  const routed = route.routes.flatMap(({ matchers }) => matchers);
  expect(alerts.length).toBeGreaterThan(25);
  for (const { alert, expr, labels, annotations } of alerts) {
    expect(alert).toMatch(/^Punctual[A-Z]/);
    expect(routed, alert).toContain(`severity = "${labels?.severity}"`);
    expect(annotations?.summary, alert).toBeTruthy();
    const { isAggregated, groupedBy } = parsePromql(expr);
    const named = [...(annotations?.description ?? '').matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label!);
    if (isAggregated) expect(groupedBy, alert).toEqual(expect.arrayContaining(named));
  }
  expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length);
});

test('every alert has a runbook that tells symptom, check and what to do, and every such section an alert', () => {
  const sections = new Map<string, string>();
  for (const path of listFiles(join(ROOT, RUNBOOKS), (name) => name.endsWith('.md'))) {
    for (const section of readFileSync(join(ROOT, path), 'utf8').split(/^## /m).slice(1)) {
      const heading = section.slice(0, section.indexOf('\n'));
      if (heading.startsWith('Punctual')) sections.set(`${path}#${heading}`, section);
    }
  }
  const expected = alerts.map(({ alert, annotations }) => {
    const [, page, anchor] = RUNBOOK_URL.exec(annotations?.runbook_url ?? '') ?? [];
    expect(anchor, alert).toBe(alert.toLowerCase());
    return `${RUNBOOKS}/${page}#${alert}`;
  });
  expect([...sections.keys()].toSorted()).toEqual(expected.toSorted());
  for (const [name, section] of sections) {
    for (const part of ['**Symptom.**', '**Check.**', '```sh\n', '**Do.**']) expect(section, name).toContain(part);
  }
});

test('every alert is tested to fire, and to be silent while all that it names is there and well', () => {
  const { tests } = readYaml<{
    tests: {
      input_series: { series: string }[];
      promql_expr_test: { expr: string; exp_samples: { labels: string; value: number }[] }[];
    }[];
  }>('prometheus/tests/alerts.yml');
  const fired = tests.flatMap(({ promql_expr_test }) =>
    promql_expr_test.flatMap(({ exp_samples }) =>
      exp_samples.map(({ labels }) => /alertname="(\w+)"/.exec(labels)?.[1]),
    ),
  );
  expect(fired.toSorted()).toEqual(alerts.map(({ alert }) => alert).toSorted());
  const [well] = tests;
  expect(well!.promql_expr_test[0]!.exp_samples).toEqual([]);
  const there = new Set(well!.input_series.map(({ series }) => series.split('{')[0]));
  const named = listRules().flatMap(({ expr }) => parsePromql(expr).selectors.map(({ metric }) => metric));
  const recordedOnly = ['worker_attempts_total'];
  const missing = named.filter((name) => !name.includes(':') && !there.has(name) && !recordedOnly.includes(name));
  expect(missing).toEqual([]);
});

test('Prometheus scrapes each service on the port that it has by itself, and reads rules that are there', () => {
  const config = readYaml<{
    rule_files: string[];
    global: { external_labels: Record<string, string> };
    scrape_configs: { job_name: string; dns_sd_configs: { names: string[]; port: number }[] }[];
  }>('prometheus/prometheus.yml');
  const ports = Object.fromEntries(
    config.scrape_configs.map(({ job_name, dns_sd_configs: [target] }) => [job_name, target!.port]),
  );
  const readPort = ({ properties }: { properties: { PORT: object } }) =>
    (properties.PORT as { default: number }).default;
  expect(ports).toEqual({
    'punctual-api': readPort(ApiConfigSchema),
    'punctual-scheduler': readPort(SchedulerSettings),
    'punctual-worker': readPort(WorkerSettings),
    node: 9100,
  });
  expect(config.rule_files).toEqual(['rules/*.yml']);
  // Without it the links of the alerts lead nowhere.
  expect(config.global.external_labels.runbooks).toMatch(/^https:\/\/.*\/docs\/runbooks$/);
});

test('Alertmanager knows the alerts that it keeps quiet, and the receivers that it sends to', () => {
  const config = readYaml<{
    route: { receiver: string; routes: { receiver: string }[] };
    receivers: { name: string }[];
    inhibit_rules: { source_matchers: string[]; target_matchers: string[] }[];
  }>('prometheus/alertmanager.yml');
  const receivers = config.receivers.map(({ name }) => name);
  for (const { receiver } of [config.route, ...config.route.routes]) expect(receivers).toContain(receiver);
  const names = alerts.map(({ alert }) => alert);
  for (const { source_matchers, target_matchers } of config.inhibit_rules) {
    for (const matcher of [...source_matchers, ...target_matchers]) {
      const patterns = matcher.split('"')[1]!.split('|');
      for (const pattern of patterns) {
        expect(
          names.some((name) => new RegExp(`^(?:${pattern})$`).test(name)),
          pattern,
        ).toBe(true);
      }
    }
  }
});

test('dashboards ask the data source that Grafana is given, say what they tell, and can be told apart', () => {
  const { datasources } = readYaml<{ datasources: { uid: string; type: string }[] }>(
    'grafana/provisioning/datasources/prometheus.yml',
  );
  const dashboards = listDashboards();
  expect(dashboards.map(({ uid }) => uid).toSorted()).toEqual(
    ['database', 'overview', 'scheduler', 'tenant', 'worker'].map((name) => `punctual-${name}`),
  );
  for (const { title, panels, templating } of dashboards) {
    expect(new Set(panels.map(({ id }) => id)).size, title).toBe(panels.length);
    for (const panel of panels.filter(({ type }) => type !== 'row')) {
      expect(datasources.map(({ uid }) => uid)).toContain(panel.datasource?.uid);
      expect(panel.description, panel.title).toBeTruthy();
      expect(panel.targets?.length, panel.title).toBeGreaterThan(0);
    }
    const variables = (templating.list ?? []).map(({ name }) => name);
    for (const { targets = [], title: panel } of panels) {
      const named = targets.flatMap(({ expr }) => [...expr.matchAll(/\$([a-z]\w*)/g)].map(([, name]) => name));
      for (const name of named) expect(variables, panel).toContain(name);
    }
  }
  expect(existsSync(join(ROOT, 'monitoring/grafana/provisioning/dashboards/punctual.yml'))).toBe(true);
});
