import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KubernetesObject } from './render.ts';

/** Packages that ship the schemas and the types of kinds that Kubernetes itself does not have, by their API group. */
const PACKAGES: Record<string, string> = {
  'keda.sh': '@kubernetes-models/keda',
  'postgresql.cnpg.io': '@kubernetes-models/cloudnative-pg',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
};

const TSC = join(import.meta.dirname, '../../node_modules/.bin/tsc');
const CACHE = join(import.meta.dirname, 'node_modules/.cache');

const moduleOf = ({ apiVersion, kind }: KubernetesObject) =>
  `${PACKAGES[apiVersion.split('/')[0]!] ?? 'kubernetes-models'}/${apiVersion}/${kind}`;

/** What the kind's own schema says against an object; undefined when nothing. Fields that it does not know it lets pass. */
export async function findSchemaFault(object: KubernetesObject): Promise<string | undefined> {
  const models = (await import(moduleOf(object))) as Record<string, new (data: object) => { validate(): void }>;
  try {
    new models[object.kind]!(object).validate();
    return undefined;
  } catch (error) {
    return `${object.kind} ${object.metadata.name}: ${(error as Error).message}`;
  }
}

/**
 * What the compiler says of objects that are written as constants of their kinds' types: fields that no such kind has, which
 * the cluster would drop without a word. One fault a line.
 */
export function findTypeFaults(objects: readonly KubernetesObject[]): string[] {
  const lines = objects.map((object, index) => {
    const type = `import('${moduleOf(object)}', { with: { 'resolution-mode': 'import' } }).I${object.kind}`;
    return `export const object${index}: ${type} = ${JSON.stringify(object)};`;
  });
  mkdirSync(CACHE, { recursive: true });
  const folder = mkdtempSync(join(CACHE, 'types-'));
  const file = join(folder, 'objects.mts');
  writeFileSync(file, lines.join('\n'));
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--target', 'esnext'];
  try {
    execFileSync(TSC, ['--ignoreConfig', ...options, file], { encoding: 'utf8' });
    return [];
  } catch (error) {
    const { stdout } = error as { stdout?: string };
    return (stdout ?? String(error)).trim().split('\n');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
