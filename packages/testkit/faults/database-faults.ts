import pg from 'pg';
import type { Injector } from './injector.ts';

/** What is used of a client of pg, as far as its types do not say it. */
interface RawClient {
  connectionParameters: { application_name?: string };
  connection: { stream: import('node:net').Socket };
  /** Whether no statement is under way. */
  readyForQuery?: boolean;
}

/** Connections of the services have such names; those of tests have others, or none. */
const SERVICE_NAME = /^punctual-/;

/**
 * What Postgres says when it can not do a statement now: a deadlock, a time limit, a full disk, a server that became a
 * standby. Whoever gets one of these may try again.
 */
const REFUSALS = ['40P01', '57014', '53100', '25006'];

/** The end of everything that Postgres sends when a statement is done: ReadyForQuery and one byte of state. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5]);

/** Makes calls of the services' clients of Postgres fail as `injector` says. For the whole process, once and for all. */
export function injectDatabaseFaults(injector: Injector): void {
  const client = pg.Client.prototype as unknown as Record<'query' | 'connect', (...args: unknown[]) => unknown>;
  const { query, connect } = client;
  client.query = function (this: RawClient, ...args: unknown[]): unknown {
    const isOurs = SERVICE_NAME.test(this.connectionParameters.application_name ?? '');
    const chosen = isOurs ? injector.choose('database') : undefined;
    if (chosen === undefined) return query.apply(this, args);
    const { stream } = this.connection;
    // What answers come to a statement before this one is not known.
    const kind = chosen === 'cutAfter' && this.readyForQuery !== true ? 'cutBefore' : chosen;
    injector.note('database', kind, describeQuery(args[0]));
    switch (kind) {
      case 'cutBefore':
        stream.destroy();
        break;
      case 'refused':
        return query.apply(this, refuse(injector.plan.pick(REFUSALS), args));
      case 'cutAfter':
        swallowAnswer(stream);
        break;
      case 'late':
        stream.pause();
        setTimeout(() => stream.resume(), injector.plan.chooseDelayMs());
    }
    return query.apply(this, args);
  };
  client.connect = function (this: RawClient, ...args: unknown[]): unknown {
    const isOurs = SERVICE_NAME.test(this.connectionParameters.application_name ?? '');
    const isFailing = isOurs && injector.choose('database') !== undefined;
    const result = connect.apply(this, args);
    if (isFailing) {
      injector.note('database', 'cutBefore', 'connect');
      this.connection.stream.destroy();
    }
    return result;
  };
}

/** In place of a query: one that the server answers with this SQLSTATE. The callback, if there is one, stays. */
function refuse(state: string, args: readonly unknown[]): unknown[] {
  const text = `DO $$ BEGIN RAISE EXCEPTION 'a fault that was injected' USING ERRCODE = '${state}'; END $$`;
  const callback = args.find((argument) => typeof argument === 'function');
  return callback ? [text, callback] : [text];
}

/** Reads the answer in place of the client, and closes the connection when it is complete. */
function swallowAnswer(stream: import('node:net').Socket): void {
  stream.removeAllListeners('data');
  let end = Buffer.alloc(0);
  stream.on('data', (bytes: Buffer) => {
    end = Buffer.concat([end, bytes]).subarray(-(READY.length + 1));
    if (end.subarray(0, READY.length).equals(READY)) stream.destroy();
  });
}

function describeQuery(query: unknown): string {
  if (typeof query === 'string') return query.slice(0, 60);
  const { name, text } = query as { name?: string; text?: string };
  return name ?? text?.slice(0, 60) ?? '';
}
