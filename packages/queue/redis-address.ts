/** Where Redis is: one server, one that Sentinels name, or a Cluster. Ports default to Redis' own. */
export type RedisAddress = {
  username?: string;
  password?: string;
  isTls: boolean;
} & (
  | { kind: 'server'; host: string; port: number; db: number }
  | { kind: 'sentinel'; sentinels: RedisNode[]; name: string; sentinelPassword?: string; db: number }
  | { kind: 'cluster'; nodes: RedisNode[] }
);

export interface RedisNode {
  host: string;
  port: number;
}

/** What somebody wrote as REDIS_URL does not do; the message says what would. */
export class RedisUrlError extends Error {
  readonly code = 'redis_url_invalid';
}

const PORTS = { server: 6379, sentinel: 26_379, cluster: 6379 } as const;
/** Three or five are usual; more than this is a mistake. */
const NODES_MAX = 100;
const FORMS =
  'REDIS_URL must be redis://[USER:PASSWORD@]HOST[:PORT][/DB], redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/NAME[/DB] or ' +
  'redis+cluster://[USER:PASSWORD@]HOST[:PORT],…; rediss instead of redis for TLS.';
const URL_PARTS = /^redis(s?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^/?]+)(?:\/([^?]*))?(?:\?(.*))?$/;
const NODE = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/i;
const PORT_MAX = 65_535;
const DB = /^\d{1,5}$/;

/** Reads a REDIS_URL. Throws RedisUrlError, without the password in its message. */
export function parseRedisUrl(url: string): RedisAddress {
  const parts = URL_PARTS.exec(url);
  if (parts === null) throw new RedisUrlError(FORMS);
  const [, tls, form = 'server', login, hosts, path = '', query = ''] = parts;
  const kind = form as RedisAddress['kind'];
  const nodes = hosts!.split(',').map((text) => parseNode(text, PORTS[kind]));
  if (nodes.length > NODES_MAX) throw new RedisUrlError(`REDIS_URL names more than ${NODES_MAX} hosts.`);
  const access = { ...parseLogin(login), isTls: tls === 's' };
  const steps = path.split('/').filter((step) => step !== '');
  const parameters = new URLSearchParams(query);
  if (kind === 'cluster') {
    if (steps.length > 0)
      throw new RedisUrlError('REDIS_URL of a cluster ends with its hosts: a cluster has one database.');
    return { ...access, kind, nodes };
  }
  if (kind === 'sentinel') {
    const [name, db, ...rest] = steps;
    if (name === undefined || rest.length > 0) throw new RedisUrlError(FORMS);
    const sentinelPassword = parameters.get('sentinelPassword');
    return {
      ...access,
      kind,
      sentinels: nodes,
      name: decode(name),
      db: parseDb(db),
      ...(sentinelPassword !== null && { sentinelPassword }),
    };
  }
  const [node, ...others] = nodes;
  if (others.length > 0 || steps.length > 1) throw new RedisUrlError(FORMS);
  return { ...access, kind, ...node!, db: parseDb(steps[0]) };
}

function parseNode(text: string, portDefault: number): RedisNode {
  const parts = NODE.exec(text);
  const port = Number(parts?.[2] ?? portDefault);
  if (parts === null || port < 1 || port > PORT_MAX) throw new RedisUrlError(FORMS);
  return { host: parts[1]!.replace(/^\[(.*)\]$/, '$1'), port };
}

function parseLogin(login: string | undefined): { username?: string; password?: string } {
  if (login === undefined || login === '') return {};
  const colon = login.indexOf(':');
  const username = decode(colon < 0 ? login : login.slice(0, colon));
  const password = colon < 0 ? '' : decode(login.slice(colon + 1));
  return { ...(username !== '' && { username }), ...(password !== '' && { password }) };
}

function parseDb(text: string | undefined): number {
  if (text === undefined) return 0;
  if (!DB.test(text)) throw new RedisUrlError(FORMS);
  return Number(text);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RedisUrlError('REDIS_URL has a percent sign that stands for nothing; write it as %25.');
  }
}
