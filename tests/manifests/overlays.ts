import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type KubernetesObject, render } from './render.ts';

export const MANIFESTS = join(import.meta.dirname, '../../manifests');

/** Folders that can be applied as they are, from `manifests`; components are parts of others. */
export const OVERLAYS = ['overlays/dev', 'overlays/production', 'overlays/examples/in-cluster'] as const;

/** Each with its objects. */
export const RENDERED = OVERLAYS.map((overlay): [string, KubernetesObject[]] => [
  overlay,
  render(join(MANIFESTS, overlay)),
]);

export const PRODUCTION = RENDERED.find(([overlay]) => overlay === 'overlays/production')![1];

/** Every folder of the manifests that has a kustomization. */
export function listKustomizations(): string[] {
  return readdirSync(MANIFESTS, { recursive: true, encoding: 'utf8' }).filter((path) =>
    existsSync(join(MANIFESTS, path, 'kustomization.yaml')),
  );
}

/** The object of that kind and name; throws when there is none. */
export function find(objects: readonly KubernetesObject[], kind: string, name: string): KubernetesObject {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  if (found === undefined) throw new Error(`There is no ${kind} ${name}.`);
  return found;
}

export const ofKind = (objects: readonly KubernetesObject[], kind: string) =>
  objects.filter((object) => object.kind === kind);
