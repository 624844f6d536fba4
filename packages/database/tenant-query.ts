import pg from 'pg';

/** The role in which a tenant's statements run: row-level security applies to it. Migration 0003 makes it. */
export const TENANT_ROLE = 'punctual_tenant';

// The role first: whatever goes wrong after it, nothing more is done with the rights of the api's own user. Both end
// with the transaction, so the connection may be anybody's afterwards, and a pooler's, too.
const BIND_TENANT = {
  name: 'bind_tenant',
  text: `SELECT set_config('role', '${TENANT_ROLE}', true), set_config('punctual.tenant_id', $1, true)`,
};

/** Statements that pg knows to be prepared, or being prepared, on a connection; their texts by name. */
type StatementTexts = Record<string, string | undefined>;

/** What is used of pg's connection: the messages of the extended protocol. Its types are of another shape. */
interface WireConnection {
  readonly stream: { cork(): void; uncork(): void };
  readonly parsedStatements: StatementTexts;
  readonly submittedNamedStatements: StatementTexts;
  parse(statement: { name: string; text: string }): void;
  bind(portal: { statement: string; values: string[] }): void;
  execute(portal: object): void;
}

/** What pg's client does with the query whose turn it is. */
interface WireQuery {
  name: string | undefined;
  text: string;
  callback: unknown;
  readonly _result: unknown;
  submit(connection: WireConnection): Error | null;
  handleRowDescription(message: unknown): void;
  handleDataRow(message: unknown): void;
  handlePortalSuspended(connection: WireConnection): void;
  handleEmptyQuery(connection: WireConnection): void;
  handleCommandComplete(message: unknown, connection: WireConnection): void;
  handleReadyForQuery(connection: WireConnection): void;
  handleError(error: Error, connection: WireConnection): void;
  handleCopyInResponse(connection: WireConnection): void;
  handleCopyData(message: unknown, connection: WireConnection): void;
}

/**
 * One statement of one tenant, in one round trip: it sends what makes the transaction the tenant's and then the
 * statement before a single Sync, so that Postgres takes both for one transaction. When the first is refused, the second
 * is not run.
 *
 * To pg it is a query that brings its own messages, as those of pg-cursor and pg-query-stream are. The answers to the
 * first statement are dropped; everything after is left to a query of pg's own.
 */
export class TenantQuery implements pg.Submittable {
  readonly #tenantId: string;
  readonly #query: WireQuery;
  #isBound = false;

  constructor(tenantId: string, config: pg.QueryConfig) {
    this.#tenantId = tenantId;
    // The simple protocol has no part in such a series of messages.
    const extended: pg.QueryConfig & { queryMode: string } = { ...config, queryMode: 'extended' };
    this.#query = new pg.Query(extended) as unknown as WireQuery;
  }

  // By name and text pg's client notes which statement the server has just parsed.
  get name(): string | undefined {
    return this.#isBound ? this.#query.name : BIND_TENANT.name;
  }

  get text(): string {
    return this.#isBound ? this.#query.text : BIND_TENANT.text;
  }

  get callback(): unknown {
    return this.#query.callback;
  }

  // pg's client puts its time-out around it.
  set callback(callback: unknown) {
    this.#query.callback = callback;
  }

  // pg's client puts the pool's type parsers into it.
  get _result(): unknown {
    return this.#query._result;
  }

  /** Returns an error, with nothing sent, when the name stands for another text on this connection. */
  submit(wire: unknown): Error | null {
    const connection = wire as WireConnection;
    const { name, text } = this.#query;
    // pg's own query finds this out too late: the first statement would be on its way.
    const known = name === undefined ? undefined : findText(connection, name);
    if (known !== undefined && known !== text) return new Error(`two statements are named ${name}`);
    connection.stream.cork();
    try {
      if (findText(connection, BIND_TENANT.name) === undefined) {
        connection.parse(BIND_TENANT);
        connection.submittedNamedStatements[BIND_TENANT.name] = BIND_TENANT.text;
      }
      connection.bind({ statement: BIND_TENANT.name, values: [this.#tenantId] });
      connection.execute({});
      return this.#query.submit(connection);
    } finally {
      connection.stream.uncork();
    }
  }

  handleRowDescription(message: unknown): void {
    this.#query.handleRowDescription(message);
  }

  handleDataRow(message: unknown): void {
    if (this.#isBound) this.#query.handleDataRow(message);
  }

  handleCommandComplete(message: unknown, connection: WireConnection): void {
    if (this.#isBound) this.#query.handleCommandComplete(message, connection);
    else this.#isBound = true;
  }

  handleError(error: Error, connection: WireConnection): void {
    // The server skipped what came after the message that it refused, so it has not parsed what was sent to be parsed.
    delete connection.submittedNamedStatements[BIND_TENANT.name];
    if (this.#query.name !== undefined) delete connection.submittedNamedStatements[this.#query.name];
    this.#query.handleError(error, connection);
  }

  handleReadyForQuery(connection: WireConnection): void {
    this.#query.handleReadyForQuery(connection);
  }

  handlePortalSuspended(connection: WireConnection): void {
    this.#query.handlePortalSuspended(connection);
  }

  handleEmptyQuery(connection: WireConnection): void {
    this.#query.handleEmptyQuery(connection);
  }

  handleCopyInResponse(connection: WireConnection): void {
    this.#query.handleCopyInResponse(connection);
  }

  handleCopyData(message: unknown, connection: WireConnection): void {
    this.#query.handleCopyData(message, connection);
  }
}

function findText(connection: WireConnection, name: string): string | undefined {
  return connection.parsedStatements[name] ?? connection.submittedNamedStatements[name];
}
