import { ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { parseTraceParent } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { OpenSpan, SpanKindName, Tracing, TracingConfig } from './tracing.ts';

const KINDS: Readonly<Record<SpanKindName, SpanKind>> = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
};
/** Spans that wait to be sent; what comes while so many do is dropped. Some 2 KB each. */
const SPANS_WAITING_MAX = 4_096;
const SPANS_PER_EXPORT_MAX = 512;
/** Between two exports, and for one of them (ms). A stop waits for the last one. */
const EXPORT_INTERVAL_MS = 1_000;
const EXPORT_TIMEOUT_MS = 5_000;

/** Spans by OpenTelemetry, sent by OTLP over HTTP as protobuf, which every collector takes. A collector that is away costs its spans, and nothing else. */
export function createTracing(config: TracingConfig, service: { name: string; version: string }): Tracing {
  const named = resourceFromAttributes({ 'service.name': service.name, 'service.version': service.version });
  const provider = new TracerProvider({
    sampler: createSampler(config),
    // What the environment says of the service is stronger (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES).
    resource: named.merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: new OTLPTraceExporter({ timeoutMillis: EXPORT_TIMEOUT_MS }),
        maxQueueSize: SPANS_WAITING_MAX,
        maxExportBatchSize: SPANS_PER_EXPORT_MAX,
        scheduledDelayMillis: EXPORT_INTERVAL_MS,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      }),
    ],
  });
  const tracer = provider.getTracer('punctual', service.version);
  return {
    begin(name, { kind = 'internal', parent, attributes = {}, startedAt } = {}) {
      const remote = parent === undefined ? null : parseTraceParent(parent);
      const context = remote ? trace.setSpanContext(ROOT_CONTEXT, { ...remote, isRemote: true }) : ROOT_CONTEXT;
      const options = { kind: KINDS[kind], attributes, ...(startedAt !== undefined && { startTime: startedAt }) };
      const span = tracer.startSpan(name, options, context);
      return span.isRecording() ? open(span) : undefined;
    },
    stop: () => provider.shutdown().catch(() => {}),
  };
}

function open(span: Span): OpenSpan {
  const { traceId, spanId } = span.spanContext();
  let isEnded = false;
  return {
    traceparent: `00-${traceId}-${spanId}-01`,
    end({ attributes, error, endedAt } = {}) {
      if (isEnded) return;
      isEnded = true;
      if (attributes) span.setAttributes(attributes);
      if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
      span.end(endedAt);
    },
  };
}

function createSampler(config: TracingConfig): Sampler {
  const name: string = config.OTEL_TRACES_SAMPLER;
  const root = name.endsWith('always_on')
    ? new AlwaysOnSampler()
    : name.endsWith('always_off')
      ? new AlwaysOffSampler()
      : new TraceIdRatioBasedSampler(config.OTEL_TRACES_SAMPLER_ARG);
  return name.startsWith('parentbased_') ? new ParentBasedSampler({ root }) : root;
}
