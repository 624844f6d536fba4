import pg from 'pg';

/** A statement that is sent before another, for what it does to the transaction: its rows are dropped. */
export interface FirstStatement {
  /** With a name it is prepared once per connection. */
  name?: string;
  text: string;
  values: string[];
}

/** Statements that pg knows to be prepared, or being prepared, on a connection; their texts by name. */
type StatementTexts = Record<string, string | undefined>;

/** What is used of pg's connection: the messages of the extended protocol. Its types are of another shape. */
interface WireConnection {
  readonly stream: { cork(): void; uncork(): void };
  readonly parsedStatements: StatementTexts;
  readonly submittedNamedStatements: StatementTexts;
  parse(statement: { name: string | undefined; text: string }): void;
  bind(portal: { statement: string | undefined; values: string[] }): void;
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
 * A statement with others before it, in one round trip: all are sent before a single Sync, so that Postgres takes them for
 * one transaction. When one is refused, those after it are not run.
 *
 * To pg it is a query that brings its own messages, as those of pg-cursor and pg-query-stream are. The answers to the
 * first statements are dropped; everything after is left to a query of pg's own.
 */
export class PrecededQuery implements pg.Submittable {
  readonly #firsts: FirstStatement[];
  readonly #query: WireQuery;
  /** First statements that were run. */
  #done = 0;

  constructor(firsts: readonly FirstStatement[], config: pg.QueryConfig) {
    this.#firsts = [...firsts];
    // The simple protocol has no part in such a series of messages.
    const extended: pg.QueryConfig & { queryMode: string } = { ...config, queryMode: 'extended' };
    this.#query = new pg.Query(extended) as unknown as WireQuery;
  }

  /** Sends one more before all others, and prepares nothing: for connections that are another one in each transaction. */
  precedeUnprepared(first: FirstStatement): void {
    const firsts = [first, ...this.#firsts].map(({ text, values }) => ({ text, values }));
    this.#firsts.splice(0, Number.POSITIVE_INFINITY, ...firsts);
    this.#query.name = undefined;
  }

  // By name and text pg's client notes which statement the server has just parsed.
  get name(): string | undefined {
    return this.#current.name;
  }

  get text(): string {
    return this.#current.text;
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
    // pg's own query finds this out too late: the first statements would be on their way.
    const known = name === undefined ? undefined : findText(connection, name);
    if (known !== undefined && known !== text) return new Error(`two statements are named ${name}`);
    connection.stream.cork();
    try {
      for (const first of this.#firsts) sendFirst(connection, first);
      return this.#query.submit(connection);
    } finally {
      connection.stream.uncork();
    }
  }

  handleRowDescription(message: unknown): void {
    this.#query.handleRowDescription(message);
  }

  handleDataRow(message: unknown): void {
    if (this.#areFirstsDone) this.#query.handleDataRow(message);
  }

  handleCommandComplete(message: unknown, connection: WireConnection): void {
    if (this.#areFirstsDone) this.#query.handleCommandComplete(message, connection);
    else this.#done += 1;
  }

  handleError(error: Error, connection: WireConnection): void {
    // The server skipped what came after the message that it refused, so it has not parsed what was sent to be parsed.
    for (const { name } of [...this.#firsts, this.#query]) {
      if (name !== undefined) delete connection.submittedNamedStatements[name];
    }
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

  get #areFirstsDone(): boolean {
    return this.#done === this.#firsts.length;
  }

  get #current(): { name?: string | undefined; text: string } {
    return this.#firsts[this.#done] ?? this.#query;
  }
}

function sendFirst(connection: WireConnection, { name, text, values }: FirstStatement): void {
  if (name === undefined || findText(connection, name) === undefined) {
    connection.parse({ name, text });
    if (name !== undefined) connection.submittedNamedStatements[name] = text;
  }
  connection.bind({ statement: name, values });
  connection.execute({});
}

function findText(connection: WireConnection, name: string): string | undefined {
  return connection.parsedStatements[name] ?? connection.submittedNamedStatements[name];
}
