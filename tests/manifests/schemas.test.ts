import { expect, test } from 'vitest';
import { OVERLAYS, RENDERED } from './overlays.ts';
import { type KubernetesObject, podOf } from './render.ts';
import { findSchemaFault, findTypeFaults, hasSchema, WITHOUT_SCHEMA } from './schemas.ts';

const objects = RENDERED.flatMap(([, rendered]) => rendered);
const checked = objects.filter(hasSchema);

test('every object does to the schema of its kind', async () => {
  expect(checked.length).toBeGreaterThan(20 * OVERLAYS.length);
  const faults = await Promise.all(checked.map(findSchemaFault));
  expect(faults.filter((fault) => fault !== undefined)).toEqual([]);
});

test('no object has a field that its kind does not know', () => {
  expect(findTypeFaults(checked)).toEqual([]);
});

test('those without a schema are named', () => {
  const without = objects.filter((object) => !hasSchema(object)).map(({ apiVersion, kind }) => `${apiVersion} ${kind}`);
  expect([...new Set(without)]).toEqual(WITHOUT_SCHEMA);
});

test('a field of the wrong type, one that is missing and one that is misspelt are found', async () => {
  const breakOne = (kind: string, change: (object: KubernetesObject) => void): KubernetesObject => {
    const object = structuredClone(checked.find((each) => each.kind === kind)!);
    change(object);
    return object;
  };
  const wrongType = breakOne('Deployment', (object) => {
    podOf(object).containers[0].ports[0].containerPort = 'x';
  });
  const missing = breakOne('ScaledObject', (object) => {
    delete object.spec.triggers;
  });
  expect(await Promise.all([wrongType, missing].map(findSchemaFault))).toEqual([
    expect.stringContaining('containerPort must be integer'),
    expect.stringContaining('must have required property triggers'),
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
  ];
  const faults = findTypeFaults(misspelt).filter((line) => line.includes('error'));
  expect(faults).toEqual([
    expect.stringContaining(`'"livenesProbe"' does not exist`),
    expect.stringContaining(`'"minReplicas"' does not exist`),
    expect.stringContaining(`'"egres"' does not exist`),
  ]);
});
