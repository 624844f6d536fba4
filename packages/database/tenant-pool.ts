import { isId } from '@punctual/domain';
import type pg from 'pg';
import type { Database, Queryable, Transaction } from './connect.ts';
import { type FirstStatement, PrecededQuery } from './preceded-query.ts';

/** The role in which a tenant's statements run: row-level security applies to it. Migration 0003 makes it. */
export const TENANT_ROLE = 'punctual_tenant';

// The role first: whatever goes wrong after it, nothing more is done with the rights of the api's own user. Both end
// with the transaction, so the connection may be anybody's afterwards, and a pooler's, too.
const BIND_TENANT = {
  name: 'bind_tenant',
  text: `SELECT set_config('role', '${TENANT_ROLE}', true), set_config('punctual.tenant_id', $1, true)`,
};

/** What makes a transaction a tenant's. */
export const bindTenant = (tenantId: string): FirstStatement => ({ ...BIND_TENANT, values: [tenantId] });

/**
 * One tenant's way into a pool: each statement, or transaction (`inTransaction`), runs in the role and for the tenant
 * that row-level security knows, so that a statement which forgets its tenant finds that tenant's rows and no others. Costs
 * next to nothing to make; it holds no connection.
 */
export class TenantPool implements Queryable {
  readonly pool: pg.Pool;
  readonly tenantId: string;

  constructor(pool: pg.Pool, tenantId: string) {
    this.pool = pool;
    this.tenantId = tenantId;
  }

  // biome-ignore lint/suspicious/noExplicitAny: see Queryable.
  query<Row extends pg.QueryResultRow = any>(
    query: string | pg.QueryConfig,
    values?: unknown[],
  ): Promise<pg.QueryResult<Row>> {
    const submitted = this.pool.query(new PrecededQuery([bindTenant(this.tenantId)], toTenantStatement(query, values)));
    // What pg's types say holds for a client; a pool answers with a promise.
    return submitted as unknown as Promise<pg.QueryResult<Row>>;
  }
}

/** The statements of a transaction that `beginAsTenant` began. */
export class TenantTransaction implements Transaction {
  readonly #client: pg.PoolClient;

  constructor(client: pg.PoolClient) {
    this.#client = client;
  }

  // biome-ignore lint/suspicious/noExplicitAny: see Queryable.
  query<Row extends pg.QueryResultRow = any>(
    query: string | pg.QueryConfig,
    values?: unknown[],
  ): Promise<pg.QueryResult<Row>> {
    return this.#client.query<Row>(toTenantStatement(query, values));
  }
}

/**
 * Runs one of the system's own statements within a tenant's transaction, with the rights of the api's own user: what goes
 * with a tenant's change and is no row of that tenant. Neither the tenant's statements nor what a client sent may be among
 * them. In any other transaction it just runs them.
 */
export async function withOwnRights<T>(client: Transaction, work: (own: Transaction) => Promise<T>): Promise<T> {
  if (!(client instanceof TenantTransaction)) return work(client);
  await client.query({ name: 'leave_tenant', text: `SELECT set_config('role', 'none', true)` });
  const result = await work(client);
  await client.query({ name: 'rejoin_tenant', text: `SELECT set_config('role', '${TENANT_ROLE}', true)` });
  return result;
}

/** The database as one tenant may see it. */
export interface TenantDatabase {
  readonly tenantId: string;
  readonly hot: TenantPool;
  readonly ordinary: TenantPool;
}

/** The database for the statements of one tenant. */
export function asTenant(database: Pick<Database, 'hot' | 'ordinary'>, tenantId: string): TenantDatabase {
  return {
    tenantId,
    hot: new TenantPool(database.hot, tenantId),
    ordinary: new TenantPool(database.ordinary, tenantId),
  };
}

/**
 * Begins a transaction of one tenant in one round trip. Role and tenant end with it. Throws when the tenant is no id: the
 * text can not have parameters.
 */
export function beginAsTenant(tenantId: string): string {
  if (!isId(tenantId)) throw new TypeError('a tenant is named by its id');
  return `BEGIN; SELECT set_config('role', '${TENANT_ROLE}', true), set_config('punctual.tenant_id', '${tenantId}', true)`;
}

/** Before the texts of tenants' named statements; their names begin alike. */
const TENANT_TEXT = '/* as a tenant */ ';
const TENANT_NAME = 'tenant_';

const tenantStatements = new Map<string, { name: string; text: string; ownText: string }>();

/**
 * The statement under a name and a text of its own. A plan holds for one role: a statement that one connection ran now as
 * the api's user and now as a tenant would be planned anew each time. Poolers that prepare statements go by the text.
 */
function toTenantStatement(query: string | pg.QueryConfig, values?: unknown[]): pg.QueryConfig {
  if (typeof query === 'string') return { text: query, ...(values && { values }) };
  const { name, text } = query;
  if (name === undefined) return query;
  // As many as `nameStatement` has named.
  let statement = tenantStatements.get(name);
  if (!statement) {
    statement = { name: TENANT_NAME + name, text: TENANT_TEXT + text, ownText: text };
    tenantStatements.set(name, statement);
  }
  if (statement.ownText !== text) throw new Error(`two statements are named ${name}`);
  return { ...query, name: statement.name, text: statement.text };
}
