import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { listKustomizations, MANIFESTS, OVERLAYS, RENDERED } from './overlays.ts';
import type { KubernetesObject } from './render.ts';

/** The command that builds a kustomization here; undefined where there is none, as on a bare machine. */
const BUILD = [
  ['kustomize', 'build'],
  ['kubectl', 'kustomize'],
].find(([program]) => {
  try {
    execFileSync(program!, program === 'kubectl' ? ['version', '--client'] : ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});

const byName = (objects: readonly KubernetesObject[]) =>
  objects.toSorted((a, b) => (`${a.kind} ${a.metadata.name}` < `${b.kind} ${b.metadata.name}` ? -1 : 1));

test.skipIf(BUILD === undefined).each(RENDERED)('%s is what kustomize makes of it', (overlay, objects) => {
  const text = execFileSync(BUILD![0]!, [...BUILD!.slice(1), join(MANIFESTS, overlay)], { encoding: 'utf8' });
  const built = parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject);
  expect(byName(objects)).toEqual(byName(built));
});

test('every kustomization is one that is applied, or part of one', () => {
  const parts = ['base', 'overlays/examples/cloudnative-pg', 'overlays/examples/redis-sentinel'];
  expect(listKustomizations().toSorted()).toEqual([...OVERLAYS, ...parts].toSorted());
});
