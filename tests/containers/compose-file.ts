import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PATH = join(ROOT, 'docker-compose.yml');

/** The parts of a service that are looked at; what else may be there, the schema of compose files says. */
export interface ComposeService {
  image: string;
  build?: { context: string };
  command?: string[];
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  networks?: string[];
  profiles?: string[];
  restart?: string;
  user?: string;
  read_only?: boolean;
  tmpfs?: string[];
  cap_drop?: string[];
  security_opt?: string[];
  healthcheck?: { test?: string[]; disable?: boolean; interval?: string; timeout?: string };
  depends_on?: Record<string, { condition: string }>;
  deploy?: { replicas?: number };
  stop_grace_period?: string;
}

export interface ComposeFile {
  name: string;
  services: Record<string, ComposeService>;
  networks: Record<string, { ipam?: { config: { subnet: string }[] } }>;
  volumes: Record<string, unknown>;
}

export const composeText = readFileSync(PATH, 'utf8');

/** The file with anchors and merges resolved and every `${…}` replaced, as Docker does before it looks at it. */
export function readComposeFile(variables: Readonly<Record<string, string>>, text = composeText): ComposeFile {
  return replaceVariables(parse(text, { merge: true }), variables) as ComposeFile;
}

/** Every variable that the file asks for. */
export function listVariables(text = composeText): string[] {
  const withoutComments = text.replaceAll(/^\s*#.*$/gm, '');
  return [...new Set([...withoutComments.matchAll(/\$\{(\w+)/g)].map(([, name]) => name!))].toSorted();
}

function replaceVariables(value: unknown, variables: Readonly<Record<string, string>>): unknown {
  if (typeof value === 'string') return replaceInText(value, variables);
  if (Array.isArray(value)) return value.map((each) => replaceVariables(each, variables));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, replaceVariables(each, variables)]));
}

/** `${A:?what to do}`, `${A:-when unset or empty}` and `${A-when unset}`: the forms that the file uses. */
function replaceInText(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\{(\w+)(?:(:\?|:-|-)([^}]*))?\}|\$/g, (whole, name: string, form: string, rest: string) => {
    const value = variables[name];
    if (form === ':-') return value || rest;
    if (form === '-') return value ?? rest;
    if (form === ':?' && value) return value;
    throw new Error(`${whole} in docker-compose.yml: ${form === ':?' ? rest : 'no form that is known here'}`);
  });
}
