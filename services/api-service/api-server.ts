import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyTypeProvider,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { Static, TSchema } from 'typebox';
import type { Caller } from './access/caller.ts';

/** Gives handlers the types of what their TypeBox schemas let through. Answers are rendered by hand, hence not typed. */
export interface SchemaTypes extends FastifyTypeProvider {
  validator: this['schema'] extends TSchema ? Static<this['schema']> : unknown;
  serializer: unknown;
}

/** The server as route files see it. */
export type ApiServer = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  SchemaTypes
>;

/** What a key allows. Each scope includes the ones before it. */
export type Scope = 'read' | 'write' | 'admin';

declare module 'fastify' {
  interface FastifyRequest {
    /** The tenant of the key, set before any handler of `/v1` runs. */
    tenantId: string;
    scope: Scope;
    /** By whom the request is, for the audit log. */
    caller: Caller;
    /** Until when (process' monotonic ms) what is known of its key is good; not there while no key is asked for. */
    admittedUntil: number;
    /** How long it took until its body was read: what authentication waited for (ms). */
    authMs: number;
    /** Ends the time that there is for an answer. */
    answerTimer: NodeJS.Timeout | undefined;
  }
  interface FastifyContextConfig {
    /**
     * The least scope that may call the route. Without it: `read` for GET, `write` for all others. `operator`: what
     * concerns the installation and all tenants, so only an admin key of the default tenant will do.
     */
    scope?: Scope | 'operator';
    /** The handler heeds `If-Match`. For the OpenAPI document. */
    hasIfMatch?: boolean;
    /** Of a batch: how many requests its body, which the schema let through, counts as. Without it: one. */
    countItems?: (body: unknown) => number;
  }
}
