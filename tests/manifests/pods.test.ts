import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApiConfigSchema, readApiConfig } from '@punctual/api-service';
import { DRAIN_TIMEOUT_MS_DEFAULT, VERSION } from '@punctual/runtime';
import { readSchedulerConfig, SchedulerSettings } from '@punctual/scheduler-service';
import { readWorkerConfig, WorkerSettings } from '@punctual/worker-service';
import { describe, expect, test } from 'vitest';
import { WAIT_MAX_MS } from '../../services/standalone/wait-for-migrations.ts';
import { find, MANIFESTS, OVERLAYS, ofKind, PRODUCTION, RENDERED } from './overlays.ts';
import { type KubernetesObject, podOf } from './render.ts';

const SERVICES = {
  api: { settings: ApiConfigSchema.properties, read: readApiConfig },
  scheduler: { settings: SchedulerSettings.properties, read: readSchedulerConfig },
  worker: { settings: WorkerSettings.properties, read: readWorkerConfig },
} as const;
type Service = keyof typeof SERVICES;
const NAMES = Object.keys(SERVICES) as Service[];
/** After the drain has given up, the process must end before it is killed (s). */
const END_SECONDS = 5;
const USER = 10_001;

interface Variable {
  name: string;
  value?: string;
  valueFrom?: { secretKeyRef?: { name: string; key: string } };
}

const workloads = RENDERED.flatMap(([overlay, objects]) =>
  objects
    .filter((object) => podOf(object) !== undefined)
    .map((object): [string, KubernetesObject] => [`${overlay} ${object.kind} ${object.metadata.name}`, object]),
);
const isOurs = (object: KubernetesObject) =>
  object.spec.template.metadata.labels['app.kubernetes.io/name'] === 'punctual';
const ours = workloads.filter(([, object]) => isOurs(object));
const listContainers = (object: KubernetesObject) => [
  ...(podOf(object).initContainers ?? []),
  ...podOf(object).containers,
];

/** A container's variables as its process gets them: those of the ConfigMap, then its own; secrets by a stand-in. */
function readEnvironment(
  objects: readonly KubernetesObject[],
  container: { envFrom?: { configMapRef: { name: string } }[]; env?: Variable[] },
  secrets: Record<string, string>,
) {
  const shared = (container.envFrom ?? []).map(
    ({ configMapRef }) => find(objects, 'ConfigMap', configMapRef.name).data,
  );
  const own = (container.env ?? []).map(({ name, value, valueFrom }) => {
    const { secretKeyRef } = valueFrom ?? {};
    return [name, value ?? secrets[`${secretKeyRef!.name}/${secretKeyRef!.key}`]];
  });
  return Object.assign({}, ...shared, Object.fromEntries(own)) as Record<string, string>;
}

const SECRETS = {
  'punctual-database/url': 'postgres://punctual:secret@postgres:5432/punctual',
  'punctual-redis/url': 'redis://redis:6379',
  'punctual-encryption-keys/keys': `k1:${Buffer.alloc(32, 1).toString('base64')}`,
  'punctual-bootstrap-key/key': 'a-key-of-some-length',
};

describe.each(OVERLAYS)('%s', (overlay) => {
  const objects = RENDERED.find(([name]) => name === overlay)![1];

  test.each(NAMES)('the pods of the %s have the port, and settings that it takes', (name) => {
    const { settings, read } = SERVICES[name];
    const pod = podOf(find(objects, 'Deployment', `punctual-${name}`));
    const [container] = pod.containers;
    expect(pod.containers).toHaveLength(1);
    expect(container.args).toEqual([name]);
    expect(container.ports).toEqual([
      { name: 'http', containerPort: read({ DATABASE_URL: SECRETS['punctual-database/url'] }).PORT },
    ]);
    const known = Object.keys(settings);
    const own = (container.env as Variable[]).map((variable) => variable.name);
    expect(own.filter((variable) => !known.includes(variable))).toEqual([]);
    const environment = readEnvironment(objects, container, SECRETS);
    expect(Object.values(environment)).not.toContain(undefined);
    const config = read(environment);
    expect(config.DATABASE_URL).toBe(SECRETS['punctual-database/url']);
    expect(config.REDIS_URL).toBe(SECRETS['punctual-redis/url']);
    // Who decrypts needs the keys, and nobody else gets them.
    expect('ENCRYPTION_KEYS' in environment).toBe('ENCRYPTION_KEYS' in settings);
  });

  test('each setting of the ConfigMap is one of some service', () => {
    const known = new Set(NAMES.flatMap((name) => Object.keys(SERVICES[name].settings)));
    const { data } = find(objects, 'ConfigMap', 'punctual');
    expect(Object.keys(data).filter((name) => !known.has(name))).toEqual([]);
  });

  test('secrets, accounts, volumes and ConfigMaps that pods name are there or are made by the commands of README.md', () => {
    expect(ofKind(objects, 'Secret')).toEqual([]);
    const readme = readFileSync(join(MANIFESTS, 'README.md'), 'utf8');
    for (const object of objects.filter(podOf)) {
      const pod = podOf(object);
      if (pod.serviceAccountName !== undefined) find(objects, 'ServiceAccount', pod.serviceAccountName);
      const volumes = [
        ...(pod.volumes ?? []),
        ...(object.spec.volumeClaimTemplates ?? []).map((claim: KubernetesObject) => claim.metadata),
      ];
      for (const { configMap } of pod.volumes ?? []) if (configMap) find(objects, 'ConfigMap', configMap.name);
      for (const container of listContainers(object)) {
        for (const { configMapRef } of container.envFrom ?? []) find(objects, 'ConfigMap', configMapRef.name);
        for (const { name } of container.volumeMounts) expect(volumes.map((volume) => volume.name)).toContain(name);
        for (const { valueFrom } of (container.env ?? []) as Variable[]) {
          if (valueFrom?.secretKeyRef === undefined) continue;
          const { name, key } = valueFrom.secretKeyRef;
          expect(readme).toMatch(new RegExp(`create secret generic ${name} [^\\n]*--from-literal=${key}=`));
        }
      }
    }
  });
});

test.each(ours)('%s is given the time that its drain takes, and the wait for migrations comes first', (_, object) => {
  const pod = podOf(object);
  if (object.kind === 'Job') {
    expect(pod.containers[0].args).toEqual(['migrate']);
    expect(object.spec.activeDeadlineSeconds).toBe(WAIT_MAX_MS / 1_000);
    return;
  }
  const stopSeconds = pod.containers[0].lifecycle?.preStop.sleep.seconds ?? 0;
  expect(pod.terminationGracePeriodSeconds).toBe(stopSeconds + DRAIN_TIMEOUT_MS_DEFAULT / 1_000 + END_SECONDS);
  expect(pod.initContainers.map(({ args }: { args: string[] }) => args)).toEqual([['migrate', '--wait']]);
  expect(pod.topologySpreadConstraints.map(({ topologyKey }: { topologyKey: string }) => topologyKey)).toEqual([
    'kubernetes.io/hostname',
    'topology.kubernetes.io/zone',
  ]);
});

test.each(workloads)(
  '%s does to the Pod Security standard "restricted", and has no way into the cluster',
  (_, object) => {
    const pod = podOf(object);
    expect(pod.automountServiceAccountToken).toBe(false);
    expect(pod.enableServiceLinks).toBe(false);
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(pod.securityContext.runAsUser).toBe(isOurs(object) ? USER : 999);
    for (const field of ['hostNetwork', 'hostPID', 'hostIPC']) expect(pod).not.toHaveProperty(field);
    for (const volume of pod.volumes ?? []) {
      expect(['emptyDir', 'configMap']).toContain(Object.keys(volume).find((key) => key !== 'name'));
    }
    for (const container of listContainers(object)) {
      expect(container.securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(container.resources.requests).toMatchObject({ cpu: expect.anything(), memory: expect.anything() });
      expect(container.resources.limits).toEqual({ memory: expect.anything() });
      for (const port of container.ports ?? []) expect(port).not.toHaveProperty('hostPort');
    }
  },
);

test('pods run as the user of the image', () => {
  expect(readFileSync(join(MANIFESTS, '../Dockerfile'), 'utf8')).toContain(`\nUSER ${USER}:${USER}\n`);
});

test.each(ours)('%s may write to /tmp alone', (_, object) => {
  expect(podOf(object).volumes).toEqual([{ name: 'tmp', emptyDir: { sizeLimit: '64Mi' } }]);
  for (const { volumeMounts } of listContainers(object)) {
    expect(volumeMounts).toEqual([{ name: 'tmp', mountPath: '/tmp' }]);
  }
});

test.each(workloads)('the images of %s are pinned to one release', (_, object) => {
  for (const { image } of listContainers(object)) {
    if (isOurs(object)) expect(image).toBe(`ghcr.io/punctual/punctual:${VERSION}`);
    else expect(image).toMatch(/^[a-z]+:\d+(\.\d+)+$/);
  }
});

test('probes ask the port of their container, and the readiness check longer than the check of Postgres takes', () => {
  const CHECK_TIMEOUT_SECONDS = 2;
  for (const [name, object] of workloads) {
    for (const container of listContainers(object)) {
      const ports = (container.ports ?? []).map((port: { name: string }) => port.name);
      for (const kind of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
        const probe = container[kind];
        const port = probe?.httpGet?.port ?? probe?.tcpSocket?.port;
        if (port !== undefined) expect(ports, `${name} ${kind}`).toContain(port);
      }
      if (container.readinessProbe?.httpGet) {
        expect(container.readinessProbe.timeoutSeconds).toBeGreaterThan(CHECK_TIMEOUT_SECONDS);
      }
    }
  }
});

test('the requests of production hold the largest process that was measured', () => {
  const capacity = readFileSync(join(MANIFESTS, '../docs/capacity.md'), 'utf8');
  const largest = Number(/\| memory of each process \|.*?\*{0,2}(\d+) MB at most/.exec(capacity)![1]);
  for (const name of NAMES) {
    const { memory } = podOf(find(PRODUCTION, 'Deployment', `punctual-${name}`)).containers[0].resources.requests;
    expect(Number.parseInt(memory, 10)).toBeGreaterThan(largest);
    expect(memory).toMatch(/^\d+Mi$/);
  }
});
