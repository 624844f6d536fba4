// Makes docs/configuration.md from the services' settings, docs/metrics.md from their metrics, docs/licences.md from
// the packages that are locked and installed, Grafana's dashboards from monitoring/grafana/source, and the object of the
// Prometheus Operator from the rules of monitoring/prometheus.
//
// usage: npm run docs                     writes the files
//        npm run docs -- --check          writes nothing; exit code 1 when a file is not what it would write

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { renderDashboard } from '../monitoring/grafana/source/build-dashboard.ts';
import { DASHBOARDS } from '../monitoring/grafana/source/dashboards.ts';
import { describeConfiguration } from './describe-docs/describe-configuration.ts';
import { describeLicences } from './describe-docs/describe-licences.ts';
import { describeMetrics } from './describe-docs/describe-metrics.ts';
import { wrapAlerts } from './describe-docs/wrap-alerts.ts';

/** The files made here, by their path in the repository, and what makes them. */
export const MADE_DOCS: Readonly<Record<string, () => string>> = {
  'docs/configuration.md': describeConfiguration,
  'docs/licences.md': describeLicences,
  'docs/metrics.md': describeMetrics,
  'manifests/overlays/production/alerts.yaml': wrapAlerts,
  ...Object.fromEntries(
    Object.entries(DASHBOARDS).map(([name, text]) => [
      `monitoring/grafana/dashboards/${name}.json`,
      () => renderDashboard(text),
    ]),
  ),
};

const ROOT = fileURLToPath(new URL('../', import.meta.url));

/** The files that are not what they would be if they were made now. */
export function findStaleDocs(): string[] {
  return Object.entries(MADE_DOCS).flatMap(([path, describe]) => (readDoc(path) === describe() ? [] : [path]));
}

function readDoc(path: string): string | undefined {
  try {
    return readFileSync(ROOT + path, 'utf8');
  } catch {
    return undefined;
  }
}

function main(): number {
  // npm and pnpm differ in whether they pass the "--" on.
  const args = process.argv.slice(2).filter((argument) => argument !== '--');
  const { values } = parseArgs({ args, options: { check: { type: 'boolean', default: false } } });
  const stale = findStaleDocs();
  if (!values.check) for (const path of stale) writeFileSync(ROOT + path, MADE_DOCS[path]!());
  for (const path of stale) {
    console.log(values.check ? `${path} is not up to date: run \`npm run docs\`.` : `Wrote ${path}.`);
  }
  if (stale.length === 0) console.log(`${Object.keys(MADE_DOCS).join(', ')} are up to date.`);
  return values.check && stale.length > 0 ? 1 : 0;
}

if (import.meta.main) process.exitCode = main();
