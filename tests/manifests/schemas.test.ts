import { expect, test } from 'vitest';
import { OVERLAYS, RENDERED } from './overlays.ts';
import { type KubernetesObject, podOf } from './render.ts';
import { findSchemaFault, findTypeFaults } from './schemas.ts';

const objects = RENDERED.flatMap(([, rendered]) => rendered);

test('every object does to the schema of its kind', async () => {
  expect(objects.length).toBeGreaterThan(20 * OVERLAYS.length);
  const faults = await Promise.all(objects.map(findSchemaFault));
  expect(faults.filter((fault) => fault !== undefined)).toEqual([]);
});

test('no object has a field that its kind does not know', () => {
  expect(findTypeFaults(objects)).toEqual([]);
});

test('a field of the wrong type, one that is missing and one that is misspelt are found', async () => {
  const breakOne = (kind: string, change: (object: KubernetesObject) => void): KubernetesObject => {
    const object = structuredClone(objects.find((each) => each.kind === kind)!);
    change(object);
    return object;
  };
  const wrongType = breakOne('Deployment', (object) => {
    podOf(object).containers[0].ports[0].containerPort = 'x';
  });
  const missing = breakOne('ScaledObject', (object) => {
    delete object.spec.triggers;
  });
  const unknownValue = breakOne('Cluster', (object) => {
    object.spec.postgresql.synchronous.method = 'all';
  });
  expect(await Promise.all([wrongType, missing, unknownValue].map(findSchemaFault))).toEqual([
    expect.stringContaining('containerPort must be integer'),
    expect.stringContaining('must have required property triggers'),
    expect.stringContaining('method must be equal to one of the allowed values'),
  ]);
  const misspelt = [
    breakOne('Deployment', (object) => {
      podOf(object).containers[0].livenesProbe = {};
    }),
    breakOne('ScaledObject', (object) => {
      object.spec.minReplicas = 2;
    }),
    breakOne('NetworkPolicy', (object) => {
      object.spec.egres = [];
    }),
    breakOne('Cluster', (object) => {
      object.spec.bootstrap.initdb.postInitSQLs = [];
    }),
  ];
  const faults = findTypeFaults(misspelt).filter((line) => line.includes('error'));
  expect(faults).toEqual([
    expect.stringContaining(`'"livenesProbe"' does not exist`),
    expect.stringContaining(`'"minReplicas"' does not exist`),
    expect.stringContaining(`'"egres"' does not exist`),
    expect.stringContaining(`'"postInitSQLs"' does not exist`),
  ]);
});
