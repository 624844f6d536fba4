import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import jsonPatch, { type Operation } from 'fast-json-patch';
import { parse, parseAllDocuments } from 'yaml';

/** One object of the cluster, as kustomize would hand it to `kubectl apply`. */
export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  // biome-ignore lint/suspicious/noExplicitAny: each kind has fields of its own; check-types.ts knows them.
  [field: string]: any;
}

interface Target {
  kind?: string;
  name?: string;
  labelSelector?: string;
}

interface Kustomization {
  apiVersion: string;
  kind: string;
  resources?: string[];
  components?: string[];
  namespace?: string;
  images?: { name: string; newName?: string; newTag: string }[];
  replicas?: { name: string; count: number }[];
  patches?: { target: Target; patch: string }[];
}

/** What this renderer understands of a kustomization; all else it refuses, so that nothing is left out unseen. */
const FIELDS = ['apiVersion', 'kind', 'resources', 'components', 'namespace', 'images', 'replicas', 'patches'];
/** Workloads whose pods' images are replaced, and the way to the pod. */
const POD_PATHS: Record<string, (object: KubernetesObject) => PodSpec> = {
  Deployment: (object) => object.spec.template.spec,
  StatefulSet: (object) => object.spec.template.spec,
  Job: (object) => object.spec.template.spec,
};

// biome-ignore lint/suspicious/noExplicitAny: as above.
type PodSpec = any;

/** The pod that a workload makes; undefined for objects that make none. */
export function podOf(object: KubernetesObject): PodSpec | undefined {
  return POD_PATHS[object.kind]?.(object);
}

/** The documents of one file. Throws when it is no YAML, or has a key twice. */
export function readDocuments(file: string): KubernetesObject[] {
  return parseAllDocuments(readFileSync(file, 'utf8')).map((document) => {
    if (document.errors.length > 0) throw new Error(`${file}: ${document.errors[0]!.message}`);
    return document.toJS() as KubernetesObject;
  });
}

/**
 * All objects of a folder with a kustomization: what `kustomize build` makes of the few features that the manifests use. A
 * machine with kubectl or kustomize compares both (kustomize.test.ts).
 */
export function render(folder: string): KubernetesObject[] {
  return build(folder, []);
}

function build(folder: string, inherited: readonly KubernetesObject[]): KubernetesObject[] {
  const path = join(folder, 'kustomization.yaml');
  const file = parse(readFileSync(path, 'utf8')) as Kustomization;
  const unknown = Object.keys(file).filter((field) => !FIELDS.includes(field));
  if (unknown.length > 0) throw new Error(`${path}: ${unknown.join(', ')} are not understood by tests/manifests.`);
  let objects = [...inherited];
  for (const resource of file.resources ?? []) objects.push(...load(join(folder, resource)));
  for (const component of file.components ?? []) objects = build(join(folder, component), objects);
  for (const { target, patch } of file.patches ?? []) objects = applyPatch(objects, target, parse(patch), path);
  if (file.namespace !== undefined) for (const object of objects) setNamespace(object, file.namespace);
  for (const { name, count } of file.replicas ?? []) {
    const scaled = objects.filter((object) => object.metadata.name === name && 'replicas' in (object.spec ?? {}));
    if (scaled.length === 0) throw new Error(`${path}: there is no ${name} with replicas.`);
    for (const object of scaled) object.spec.replicas = count;
  }
  for (const image of file.images ?? []) for (const object of objects) setImage(podOf(object), image);
  const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
  if (new Set(names).size < names.length) throw new Error(`${path}: two objects have one name.`);
  return objects;
}

function load(path: string): KubernetesObject[] {
  if (!existsSync(path)) throw new Error(`${path} does not exist.`);
  return statSync(path).isDirectory() ? build(path, []) : readDocuments(path);
}

function applyPatch(
  objects: readonly KubernetesObject[],
  target: Target,
  operations: Operation[],
  path: string,
): KubernetesObject[] {
  let count = 0;
  const patched = objects.map((object) => {
    if (!matches(object, target)) return object;
    count += 1;
    return jsonPatch.applyPatch(structuredClone(object), operations, true).newDocument;
  });
  if (count === 0) throw new Error(`${path}: a patch matches nothing: ${JSON.stringify(target)}.`);
  return patched;
}

function matches({ kind, metadata }: KubernetesObject, target: Target): boolean {
  const [label, value] = target.labelSelector?.split('=') ?? [];
  return (
    (target.kind === undefined || target.kind === kind) &&
    (target.name === undefined || target.name === metadata.name) &&
    (label === undefined || metadata.labels?.[label] === value)
  );
}

function setNamespace(object: KubernetesObject, namespace: string): void {
  if (object.kind === 'Namespace') object.metadata.name = namespace;
  else object.metadata.namespace = namespace;
}

function setImage(
  pod: PodSpec | undefined,
  { name, newName = name, newTag }: { name: string; newName?: string; newTag: string },
) {
  for (const container of [...(pod?.initContainers ?? []), ...(pod?.containers ?? [])]) {
    if (container.image === name || container.image.startsWith(`${name}:`)) container.image = `${newName}:${newTag}`;
  }
}
