import { readdirSync, readFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';

const RULES = new URL('../../monitoring/prometheus/rules/', import.meta.url);
const COMMENT = `# The rules of monitoring/prometheus/rules, for the Prometheus Operator. Made by \`npm run docs\`: change them there.
# The links to the runbooks begin with \`runbooks\` of the Prometheus' externalLabels.
`;

/** The recording rules and alerts as an object that the Prometheus Operator takes (YAML). */
export function wrapAlerts(): string {
  const files = readdirSync(RULES).toSorted();
  const groups = files.flatMap((name) => parse(readFileSync(new URL(name, RULES), 'utf8')).groups);
  const rule = {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: 'punctual', labels: { 'app.kubernetes.io/part-of': 'punctual' } },
    spec: { groups },
  };
  return `${COMMENT}${stringify(rule, { lineWidth: 0, aliasDuplicateObjects: false })}`;
}
