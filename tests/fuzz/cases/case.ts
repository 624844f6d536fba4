/** Who sends a request. `nobody…` have no right key; the others' keys have the scopes of their names. */
export const NOBODIES = [
  'nobody',
  'nobody with an empty key',
  'nobody with a guess',
  'nobody with a revoked key',
  'nobody with half a key',
  'nobody with a longer key',
  'nobody with a key in other case',
  'nobody with a key by another scheme',
  'nobody with a key in another header',
  'nobody with a key in the query',
] as const;
export const TENANT_ACTORS = ['reader', 'writer', 'admin'] as const;
export type Actor = (typeof NOBODIES)[number] | (typeof TENANT_ACTORS)[number] | 'operator';

/** What a request carries. Bytes stand as base64, so that a case can be printed and read back. */
export type CaseBody = { text: string } | { base64: string };

/**
 * One request, as data. Ids stand as names (`@own.timer.0@`, `@other.run.1@`): they differ from run to run, and a seed
 * must mean the same requests each time.
 */
export interface FuzzCase {
  actor: Actor;
  method: string;
  /** Path and query, as they go into the request line. */
  target: string;
  headers: readonly (readonly [name: string, value: string])[];
  body: CaseBody | undefined;
  framing: Framing;
}

/**
 * How the body is announced: by its length; in chunks; or in a way that no sound client would, after which the connection
 * is worth nothing.
 */
export const FRAMINGS = ['length', 'chunks', 'both', 'two lengths', 'negative length', 'no host', 'not HTTP'] as const;
export type Framing = (typeof FRAMINGS)[number];

/** Whether the request is HTTP as it should be, so that an answer can be expected to be one of the api's. */
export function isSoundHttp({ framing }: Pick<FuzzCase, 'framing'>): boolean {
  return framing === 'length' || framing === 'chunks';
}

/** Kinds of things that ids stand for, and how many of each a tenant has. */
export const POOL_SIZES = { timer: 12, deadLetter: 6, workflow: 4, run: 5, key: 6, tenant: 1, cursor: 4 } as const;
export type PoolName = keyof typeof POOL_SIZES;

const PLACEHOLDER = /@(own|other)\.(\w+)\.(\d+)@/g;

/** The name of an id of one's own, or of a stranger's. */
export function nameId(whose: 'own' | 'other', pool: PoolName, index: number): string {
  return `@${whose}.${pool}.${index}@`;
}

/** Puts ids in place of their names. */
export function resolveIds(
  text: string,
  find: (whose: 'own' | 'other', pool: PoolName, index: number) => string,
): string {
  return text.replaceAll(PLACEHOLDER, (_, whose, pool, index) =>
    find(whose as 'own' | 'other', pool as PoolName, Number(index)),
  );
}
