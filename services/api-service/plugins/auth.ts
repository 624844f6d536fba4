import { hash, timingSafeEqual } from 'node:crypto';
import { findApiKey } from '@punctual/database';
import { DEFAULT_TENANT_ID } from '@punctual/domain';
import type { FastifyRequest } from 'fastify';
import { BOOTSTRAP, type Caller, NOBODY } from '../access/caller.ts';
import { API_KEY } from '../access/secrets.ts';
import type { ApiServer, Scope } from '../api-server.ts';
import type { ApiContext } from '../context.ts';
import { createOverloaded, ProblemError } from '../problem.ts';
import { createInvalidRequest } from './problems.ts';

/** Whom a key lets in. */
interface Admission {
  tenantId: string;
  scope: Scope;
  caller: Caller;
}

/** The same, and until when it is good without asking again (process' monotonic ms). */
interface Grant extends Admission {
  until: number;
}

const RANKS: Record<Scope, number> = { read: 0, write: 1, admin: 2 };

/**
 * How long a key that was found is good without asking again (ms). A revoked key must be refused, and a limit of its
 * tenant that was changed must hold, within 5 s, of which the query itself may take some.
 */
const GRANT_TTL_MS = 4_000;
/** Keys not seen lately that wait to be looked up: as many as are in half a second. */
const STRANGERS_MAX = 500;
/** Keys remembered at once; the oldest leaves. Ten thousand keys in 4 s is far more than an install has. */
const GRANTS_CACHED_MAX = 10_000;
/** Longest key that is looked at: longer ones were never issued. */
const KEY_LENGTH_MAX = 255;

/**
 * Lets in who presents a key: sets `request.tenantId`, `request.scope` and `request.caller`, or answers 401 or 403. Asked
 * when a request begins, and again before it is handled if that was longer ago than the answer is good for.
 */
export function addAuth(app: ApiServer, context: Pick<ApiContext, 'config' | 'database' | 'limits' | 'now'>): void {
  app.decorateRequest('tenantId', '');
  app.decorateRequest('scope', 'read');
  app.decorateRequest('caller', null as never);
  if (context.config.AUTH === 'off') {
    app.addHook('onRequest', (request, _reply, done) => {
      if (!isFromHere(request)) {
        done(createInvalidRequest([{ pointer: '/headers/host', detail: FOREIGN_HOST }]));
        return;
      }
      context.limits.refreshDefaultTenant();
      request.tenantId = DEFAULT_TENANT_ID;
      request.scope = 'admin';
      request.caller = NOBODY;
      done();
    });
    return;
  }
  app.decorateRequest('admittedUntil', 0);
  const grants = new ApiKeyGrants(context);
  const judge = (request: FastifyRequest, done: (error?: Error) => void) => {
    const key = readBearer(request);
    if (key === undefined) {
      done(refuse('Send an API key: `Authorization: Bearer <key>`.'));
      return;
    }
    const granted = grants.find(key);
    if (granted instanceof Promise) granted.then((grant) => done(admit(request, grant)), done);
    else done(admit(request, granted));
  };
  app.addHook('onRequest', (request, _reply, done) => judge(request, done));
  // A body may take long to arrive, and its key may be revoked meanwhile.
  app.addHook('preHandler', (request, _reply, done) => {
    if (context.now() < request.admittedUntil) done();
    else judge(request, done);
  });
}

const LOOPBACK_NAME = /^(?:localhost|(?:[a-z0-9-]+\.)+localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;
const FOREIGN_HOST =
  'Without keys only what is addressed to localhost is answered, and no page of another origin. Set AUTH=on to use other names.';

/**
 * Whether a request was meant for this machine by somebody on it. Where nobody needs a key, a page that somebody here looks
 * at could otherwise have its own name lead to 127.0.0.1 (DNS rebinding) and read and write everything.
 */
function isFromHere({ headers }: FastifyRequest): boolean {
  if (headers.host !== undefined && !LOOPBACK_NAME.test(headers.host)) return false;
  const { origin } = headers;
  return origin === undefined || LOOPBACK_NAME.test(URL.parse(origin)?.host ?? '');
}

function readBearer(request: FastifyRequest): string | undefined {
  const header = request.headers.authorization;
  if (header === undefined || header.slice(0, 7).toLowerCase() !== 'bearer ') return undefined;
  const key = header.slice(7).trim();
  return key.length > 0 && key.length <= KEY_LENGTH_MAX ? key : undefined;
}

function admit(request: FastifyRequest, grant: Grant | undefined): ProblemError | undefined {
  if (!grant) return refuse('The API key is not known, or was revoked.', ', error="invalid_token"');
  const needed = request.routeOptions.config.scope ?? (request.method === 'GET' ? 'read' : 'write');
  if (needed === 'operator') {
    if (!isOperator(grant)) {
      return createOperatorOnly();
    }
  } else if (RANKS[grant.scope] < RANKS[needed]) {
    return new ProblemError(403, 'scope_too_small', `This needs a key with the scope "${needed}".`);
  }
  request.tenantId = grant.tenantId;
  request.scope = grant.scope;
  request.caller = grant.caller;
  request.admittedUntil = grant.until;
  return undefined;
}

/** The answer to whoever wants what is for operators only. */
export function createOperatorOnly(): ProblemError {
  return new ProblemError(403, 'operator_only', 'This needs an admin key of the default tenant.');
}

/** Whether a key may act on the whole installation. */
export function isOperator({ tenantId, scope }: { tenantId: string; scope: Scope }): boolean {
  return tenantId === DEFAULT_TENANT_ID && scope === 'admin';
}

function refuse(detail: string, parameters = ''): ProblemError {
  return new ProblemError(401, 'unauthorized', detail, {
    headers: { 'www-authenticate': `Bearer realm="punctual"${parameters}` },
  });
}

/**
 * Finds the tenant of a key by its hash: the key itself is stored nowhere. For the few seconds in which an answer is good
 * it is found by the key's text, because hashing each request's key would cost as much as parsing its body. How long that
 * takes tells a guesser nothing: texts are compared only when their hashes, of a seed that nobody knows, are equal.
 */
class ApiKeyGrants {
  readonly #context: Pick<ApiContext, 'database' | 'limits' | 'now'>;
  readonly #bootstrapHash: Buffer | undefined;
  readonly #known = new Map<string, Grant>();
  readonly #underWay = new Map<string, Promise<Grant | undefined>>();
  #strangers = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(context: Pick<ApiContext, 'config' | 'database' | 'limits' | 'now'>) {
    this.#context = context;
    const bootstrapKey = context.config.BOOTSTRAP_API_KEY;
    this.#bootstrapHash = bootstrapKey === undefined ? undefined : hash('sha256', bootstrapKey, 'buffer');
  }

  /** At once when the key is remembered. Rejects when the database can not be asked. */
  find(key: string): Grant | undefined | Promise<Grant | undefined> {
    const known = this.#known.get(key);
    if (known && known.until > this.#context.now()) return known;
    // Requests of one client that come together ask once.
    let asking = this.#underWay.get(key);
    if (!asking) {
      asking = this.#ask(key).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, asking);
    }
    return asking;
  }

  async #ask(key: string): Promise<Grant | undefined> {
    const askedAt = this.#context.now();
    const isKnown = this.#known.delete(key);
    const find = () => this.#findAdmission(key, hash('sha256', key, 'buffer'));
    const admission = await (isKnown ? find() : this.#inTurn(find));
    // Unknown keys are not remembered: a new key must work at once.
    if (!admission) return undefined;
    const grant = { ...admission, until: askedAt + GRANT_TTL_MS };
    this.#known.set(key, grant);
    if (this.#known.size > GRANTS_CACHED_MAX) this.#known.delete(this.#known.keys().next().value!);
    return grant;
  }

  /** Keys that were not seen lately are looked up one after the other, so that guesses hold up nobody who was let in before. */
  async #inTurn<T>(find: () => Promise<T>): Promise<T> {
    if (this.#strangers >= STRANGERS_MAX) {
      throw createOverloaded('Too many keys that were not seen lately are being looked up; send it again later.');
    }
    this.#strangers += 1;
    const found = this.#turn.then(find);
    this.#turn = found.catch(() => {});
    return found.finally(() => {
      this.#strangers -= 1;
    });
  }

  async #findAdmission(key: string, keyHash: Buffer): Promise<Admission | undefined> {
    const { database, limits } = this.#context;
    if (this.#bootstrapHash && timingSafeEqual(keyHash, this.#bootstrapHash)) {
      limits.refreshDefaultTenant();
      return { tenantId: DEFAULT_TENANT_ID, scope: 'admin', caller: BOOTSTRAP };
    }
    // Whoever guesses must not keep Postgres busy.
    if (!API_KEY.test(key)) return undefined;
    const row = await findApiKey(database.access, keyHash);
    // Postgres found it by an index, which is nothing to rely on for this: an index may be damaged, a query changed.
    if (!row || !timingSafeEqual(keyHash, row.key_hash)) return undefined;
    limits.learn(row.tenant_id, row);
    return { tenantId: row.tenant_id, scope: row.scope, caller: { actor: 'key', keyId: row.id } };
  }
}
