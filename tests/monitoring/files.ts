import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ROOT } from '../docs/markdown-files.ts';

const MONITORING = join(ROOT, 'monitoring');
const RULES = 'prometheus/rules';
const DASHBOARDS = 'grafana/dashboards';

export interface Rule {
  record?: string;
  alert?: string;
  expr: string;
  for?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  datasource?: { uid: string };
  targets?: { expr: string }[];
}

export interface Dashboard {
  uid: string;
  title: string;
  panels: Panel[];
  templating: { list?: { name: string; query: string }[] };
}

/** A YAML file below `monitoring/`. */
export function readYaml<Content>(path: string): Content {
  return parse(readFileSync(join(MONITORING, path), 'utf8')) as Content;
}

const rules = readRules();
const dashboards = readDashboards();

export function listRules(): readonly Rule[] {
  return rules;
}

export function listDashboards(): readonly Dashboard[] {
  return dashboards;
}

function readRules(): Rule[] {
  return readdirSync(join(MONITORING, RULES)).flatMap((file) =>
    readYaml<{ groups: { rules: Rule[] }[] }>(join(RULES, file)).groups.flatMap(({ rules }) => rules),
  );
}

function readDashboards(): Dashboard[] {
  return readdirSync(join(MONITORING, DASHBOARDS)).map(
    (file) => JSON.parse(readFileSync(join(MONITORING, DASHBOARDS, file), 'utf8')) as Dashboard,
  );
}

/** Every expression of rules and dashboards, and where it stands. */
export function listExpressions(): { where: string; expr: string }[] {
  const ofRules = listRules().map(({ record, alert, expr }) => ({ where: (record ?? alert)!, expr }));
  const ofDashboards = listDashboards().flatMap(({ title, panels }) =>
    panels.flatMap((panel) => (panel.targets ?? []).map(({ expr }) => ({ where: `${title}, ${panel.title}`, expr }))),
  );
  return [...ofRules, ...ofDashboards];
}
