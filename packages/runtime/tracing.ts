import Type, { type Static, type TObject } from 'typebox';

/** Settings of traces, with the names that OpenTelemetry gave them. Its library reads the others (docs/monitoring.md). */
export const TRACING_SETTINGS = {
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(
    Type.String({
      description:
        'Where traces are sent, by OTLP over HTTP: `http://collector:4318`. With neither this nor OTEL_EXPORTER_OTLP_TRACES_ENDPOINT nothing is traced.',
    }),
  ),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Type.Optional(
    Type.String({ description: 'The same as a whole URL: `http://collector:4318/v1/traces`.' }),
  ),
  OTEL_TRACES_SAMPLER: Type.Union(
    (
      [
        'always_on',
        'always_off',
        'traceidratio',
        'parentbased_always_on',
        'parentbased_always_off',
        'parentbased_traceidratio',
      ] as const
    ).map((name) => Type.Literal(name)),
    {
      default: 'parentbased_traceidratio',
      description:
        'Which requests are traced. `parentbased_…`: what the client decided for its own trace counts; the rest of the name is for requests without one.',
    },
  ),
  OTEL_TRACES_SAMPLER_ARG: Type.Number({
    minimum: 0,
    maximum: 1,
    default: 0.01,
    description: 'Share of the traces that `traceidratio` takes.',
  }),
};

const Settings: TObject<typeof TRACING_SETTINGS> = Type.Object(TRACING_SETTINGS);
export type TracingConfig = Static<typeof Settings>;

/** As W3C's trace context numbers them: what begins with `00` is this, and what follows it in later versions is left out. */
const TRACEPARENT = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}(?=$|-)/;
/** A header of a client's that is longer is not looked at. */
const TRACEPARENT_LENGTH_MAX = 256;

export type SpanKindName = 'server' | 'client' | 'producer' | 'consumer' | 'internal';
export type SpanAttributes = Record<string, string | number | boolean | undefined>;

/** A span that is sampled and has not ended. */
export interface OpenSpan {
  /** W3C: names the span to whoever continues the trace. */
  readonly traceparent: string;
  /** Twice is harmless. `error`: what went wrong, for a person. */
  end(end?: { attributes?: SpanAttributes; error?: string; endedAt?: number }): void;
}

export interface Tracing {
  /**
   * Begins a span; undefined when it is not sampled. `parent`: a `traceparent`, of whatever origin; one that is malformed counts as
   * absent. Instants in epoch ms.
   */
  begin(
    name: string,
    options?: { kind?: SpanKindName; parent?: string | undefined; attributes?: SpanAttributes; startedAt?: number },
  ): OpenSpan | undefined;
  /** Sends what has ended, and nothing any more after it. Never rejects; bounded by the exporter's time-out. */
  stop(): Promise<void>;
}

/** The `traceparent` of a header, without what later versions may add; undefined when it is none. */
export function readTraceparent(header: unknown): string | undefined {
  if (typeof header !== 'string' || header.length > TRACEPARENT_LENGTH_MAX) return undefined;
  const [found] = TRACEPARENT.exec(header) ?? [];
  // The version without a number may have nothing behind it.
  return found === undefined || (found.startsWith('00') && found.length < header.length) ? undefined : found;
}

/** For log lines, by the names of the Elastic Common Schema: leads from a line to its trace. Empty without a span. */
export function describeTrace(traceparent: string | undefined): Record<string, string> {
  if (traceparent === undefined) return {};
  const [, traceId = '', spanId = ''] = traceparent.split('-');
  return { 'trace.id': traceId, 'span.id': spanId };
}

/** Undefined unless the settings say where traces go: then nothing of the library is even loaded. */
export async function openTracing(
  config: TracingConfig,
  service: { name: string; version: string },
): Promise<Tracing | undefined> {
  if (!config.OTEL_EXPORTER_OTLP_ENDPOINT && !config.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) return undefined;
  const { createTracing } = await import('./otlp-tracing.ts');
  return createTracing(config, service);
}
