import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readApiConfig } from '@punctual/api-service';
import { createEgressPolicy } from '@punctual/domain';
import { createSchedulerMetrics, readSchedulerConfig } from '@punctual/scheduler-service';
import { createWorkerMetrics, readWorkerConfig } from '@punctual/worker-service';
import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { DENIED_IPV4_RANGES, DENIED_IPV6_RANGES } from '../../packages/domain/egress/denied-ranges.ts';
import { find, MANIFESTS, OVERLAYS, ofKind, PRODUCTION, RENDERED } from './overlays.ts';
import { type KubernetesObject, podOf } from './render.ts';

type Labels = Record<string, string>;

/** With it the services take their defaults for all else. */
const DATABASE = { DATABASE_URL: 'postgres://postgres/punctual' };

/** Labels of all pods that the objects make, each with the names of its ports. */
function listPods(objects: readonly KubernetesObject[]): { labels: Labels; ports: Map<string, number> }[] {
  return objects.flatMap((object) => {
    if (object.kind === 'Cluster')
      return [{ labels: object.spec.inheritedMetadata.labels, ports: new Map([['postgres', 5432]]) }];
    const pod = podOf(object);
    if (pod === undefined) return [];
    const ports = pod.containers.flatMap(
      (container: { ports?: { name: string; containerPort: number }[] }) => container.ports ?? [],
    );
    const named = ports.map(
      ({ name, containerPort }: { name: string; containerPort: number }) => [name, containerPort] as const,
    );
    return [{ labels: object.spec.template.metadata.labels, ports: new Map(named) }];
  });
}

const selects = (selector: Labels, labels: Labels) =>
  Object.entries(selector).every(([name, value]) => labels[name] === value);

describe.each(OVERLAYS)('%s', (overlay) => {
  const objects = RENDERED.find(([name]) => name === overlay)![1];
  const pods = listPods(objects);
  const chosen = (selector: Labels) => pods.filter(({ labels }) => selects(selector, labels));

  test('workloads, budgets and spreads select their own pods', () => {
    for (const object of objects.filter((each) => ['Deployment', 'StatefulSet'].includes(each.kind))) {
      const { labels } = object.spec.template.metadata;
      expect(selects(object.spec.selector.matchLabels, labels)).toBe(true);
      for (const { labelSelector } of podOf(object).topologySpreadConstraints ?? []) {
        expect(labelSelector).toEqual(object.spec.selector);
      }
    }
    for (const budget of ofKind(objects, 'PodDisruptionBudget')) {
      expect(chosen(budget.spec.selector.matchLabels), budget.metadata.name).toHaveLength(1);
      const workload = objects.find(
        ({ kind, metadata, spec }) => metadata.name === budget.metadata.name && kind !== budget.kind && spec?.template,
      );
      expect(budget.spec.selector).toEqual(workload!.spec.selector);
    }
  });

  test('Services lead to ports that their pods have', () => {
    const services = ofKind(objects, 'Service');
    for (const service of services) {
      const found = chosen(service.spec.selector);
      expect(found, service.metadata.name).toHaveLength(1);
      for (const { targetPort } of service.spec.ports) expect([...found[0]!.ports.keys()]).toContain(targetPort);
    }
    for (const { spec } of ofKind(objects, 'Ingress')) {
      const paths = spec.rules.flatMap(({ http }: { http: { paths: unknown[] } }) => http.paths);
      for (const { backend } of paths) {
        const service = find(objects, 'Service', backend.service.name);
        expect(service.spec.ports.map(({ name }: { name: string }) => name)).toContain(backend.service.port.name);
      }
    }
  });

  test('network policies and monitors name pods and ports that are there', () => {
    for (const { metadata, spec } of ofKind(objects, 'NetworkPolicy')) {
      const selector: Labels = spec.podSelector.matchLabels ?? {};
      expect(chosen(selector).length, metadata.name).toBeGreaterThan(0);
      const doors = [...(spec.ingress ?? []), ...(spec.egress ?? [])];
      for (const { from, to, ports } of doors) {
        for (const { podSelector, namespaceSelector } of [...(from ?? []), ...(to ?? [])]) {
          if (podSelector && !namespaceSelector) {
            expect(
              chosen(podSelector.matchLabels).length,
              `${metadata.name} ${JSON.stringify(podSelector)}`,
            ).toBeGreaterThan(0);
          }
        }
        for (const { port } of ports ?? []) {
          if (typeof port === 'string')
            expect(
              chosen(selector).some((pod) => pod.ports.has(port)),
              `${metadata.name} ${port}`,
            ).toBe(true);
        }
      }
    }
    for (const { spec } of ofKind(objects, 'PodMonitor')) {
      const found = chosen(spec.selector.matchLabels);
      for (const { port, path } of spec.podMetricsEndpoints) {
        expect(found.filter((pod) => pod.ports.has(port))).toHaveLength(3);
        expect(path).toBe('/metrics');
      }
    }
  });

  test('nothing comes in or goes out but what a policy lets through, and workers alone reach the internet', () => {
    const policies = ofKind(objects, 'NetworkPolicy');
    const deny = find(objects, 'NetworkPolicy', 'default-deny').spec;
    expect(deny).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
    const wide = policies.filter(({ spec }) =>
      (spec.egress ?? []).some(
        ({ to }: { to?: { ipBlock?: { cidr: string } }[] }) =>
          to === undefined ||
          to.some(({ ipBlock }) => ipBlock !== undefined && ['0.0.0.0/0', '2000::/3', '::/0'].includes(ipBlock.cidr)),
      ),
    );
    expect(wide.map(({ metadata }) => metadata.name)).toEqual(['punctual-worker']);
    expect(wide[0]!.spec.podSelector.matchLabels).toEqual({
      'app.kubernetes.io/name': 'punctual',
      'app.kubernetes.io/component': 'worker',
    });
    // A rule without a peer is a door for everybody.
    for (const { spec } of policies) for (const { from } of spec.ingress ?? []) expect(from.length).toBeGreaterThan(0);
  });

  test('workers may reach what the code lets customers call, and nothing that it denies', () => {
    const [{ to }] = find(objects, 'NetworkPolicy', 'punctual-worker').spec.egress;
    expect(to).toEqual([
      { ipBlock: { cidr: '0.0.0.0/0', except: [...DENIED_IPV4_RANGES] } },
      {
        ipBlock: {
          cidr: '2000::/3',
          except: DENIED_IPV6_RANGES.filter((range) => range.startsWith('2') || range.startsWith('3')),
        },
      },
    ]);
    const policy = createEgressPolicy({ allow: [], deny: [] });
    // What lies outside 2000::/3 is denied by the code, so that this block leaves nothing out.
    for (const address of ['::1', '1fff::1', '4000::1', '64:ff9b::1', 'fc00::1', 'fe80::1', 'ff02::1']) {
      expect(policy.isAddressAllowed(address), address).toBe(false);
    }
  });
});

describe('the autoscalers of production', () => {
  const scalers = [...ofKind(PRODUCTION, 'HorizontalPodAutoscaler'), ...ofKind(PRODUCTION, 'ScaledObject')];
  const triggers = ofKind(PRODUCTION, 'ScaledObject').flatMap(({ metadata, spec }) =>
    spec.triggers.map((trigger: { name: string; metadata: { query: string; threshold: string } }) => ({
      ...trigger,
      of: metadata.name,
    })),
  );

  test('scale one deployment each, which has no number of its own', () => {
    const targets = scalers.map(({ spec }) => spec.scaleTargetRef.name);
    expect(targets.toSorted()).toEqual(['punctual-api', 'punctual-scheduler', 'punctual-worker']);
    for (const name of targets) expect(find(PRODUCTION, 'Deployment', name).spec).not.toHaveProperty('replicas');
  });

  test('ask for metrics and labels that the services have, in the namespace', async () => {
    const registry = new Registry();
    createSchedulerMetrics(registry);
    createWorkerMetrics(registry);
    const known = new Map(
      registry
        .getMetricsAsArray()
        .map((metric) => [metric.name, (metric as unknown as { labelNames: string[] }).labelNames]),
    );
    expect(triggers.map(({ of, name }) => `${of} ${name}`)).toEqual([
      'punctual-scheduler busiest-minute',
      'punctual-scheduler oldest-overdue',
      'punctual-worker busiest-minute',
      'punctual-worker oldest-overdue',
      'punctual-worker attempts-in-flight',
    ]);
    for (const { metadata } of triggers) {
      const [, by, metric, matchers] = /^(?:max|sum)\((?:sum by \((\w+)\) \()?(\w+)\{(.*)\}\)+$/.exec(metadata.query)!;
      expect([...known.keys()]).toContain(metric);
      if (by !== undefined) expect(known.get(metric!)).toContain(by);
      expect(matchers).toBe(`namespace="${find(PRODUCTION, 'Deployment', 'punctual-worker').metadata.namespace}"`);
    }
  });

  test('expect of a pod what docs/capacity.md says of a core, at 60 %', () => {
    const capacity = readFileSync(join(MANIFESTS, '../docs/capacity.md'), 'utf8');
    const readFigure = (pattern: RegExp) => Number(pattern.exec(capacity)![1]!.replaceAll(',', ''));
    const USE = 0.6;
    const thresholds = Object.fromEntries(
      triggers.map(({ of, name, metadata }) => [`${of} ${name}`, Number(metadata.threshold)]),
    );
    expect(thresholds).toMatchObject({
      'punctual-worker busiest-minute': readFigure(/([\d,]+) deliveries \(worker\)/) * 60 * USE,
      'punctual-scheduler busiest-minute': readFigure(/([\d,]+) \(scheduler\)/) * 60 * USE,
      'punctual-worker attempts-in-flight': Math.floor(
        Math.floor((readWorkerConfig(DATABASE).WORKER_ATTEMPTS_MAX * 2) / 3) * USE,
      ),
    });
    const [api] = ofKind(PRODUCTION, 'HorizontalPodAutoscaler');
    expect(api!.spec.metrics[0].resource.target.averageUtilization).toBe(USE * 100);
  });

  test('start no more pods than Postgres has connections for', () => {
    // docs/configuration.md, "Connections to Postgres".
    const perPod: Record<string, number> = {
      'punctual-api': readApiConfig(DATABASE).API_POOL_SIZE_MAX * 1.5 + 2,
      'punctual-scheduler': readSchedulerConfig(DATABASE).SCHEDULER_POOL_SIZE * 1.5,
      'punctual-worker': readWorkerConfig(DATABASE).WORKER_POOL_SIZE * 2.5,
    };
    const total = scalers.reduce(
      (sum, { spec }) => sum + (spec.maxReplicas ?? spec.maxReplicaCount) * perPod[spec.scaleTargetRef.name]!,
      0,
    );
    const text = readFileSync(join(MANIFESTS, 'overlays/production/autoscaling.yaml'), 'utf8');
    expect(text).toContain(`${total}\n# connections to Postgres`);
    const inCluster = RENDERED.find(([name]) => name === 'overlays/examples/in-cluster')![1];
    const cluster = find(inCluster, 'Cluster', 'punctual-postgres');
    // A roll-out has one more of each, and a person comes by with psql.
    expect(Number(cluster.spec.postgresql.parameters.max_connections)).toBeGreaterThan(total + 35);
  });
});

test('the jobs of production have the names that alerts ask for', () => {
  const [monitor] = ofKind(PRODUCTION, 'PodMonitor');
  const [relabeling] = monitor!.spec.podMetricsEndpoints[0].relabelings;
  expect(relabeling.sourceLabels).toEqual(['__meta_kubernetes_pod_label_app_kubernetes_io_component']);
  expect(relabeling.targetLabel).toBe('job');
  const config = parse(readFileSync(join(MANIFESTS, '../monitoring/prometheus/prometheus.yml'), 'utf8'));
  const jobs = (config.scrape_configs as { job_name: string }[]).map(({ job_name }) => job_name);
  const components = ['api', 'scheduler', 'worker'];
  expect(components.map((name) => relabeling.replacement.replace('$1', name))).toEqual(
    jobs.filter((name) => name.startsWith('punctual-')),
  );
});
