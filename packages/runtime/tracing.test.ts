import { describe, expect, it } from 'vitest';
import { describeTrace, openTracing, readTraceparent, type TracingConfig } from './tracing.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const SERVICE = { name: 'punctual-test', version: '1' };
const config = (sampler: string, share = 0.01) =>
  ({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    OTEL_TRACES_SAMPLER: sampler,
    OTEL_TRACES_SAMPLER_ARG: share,
  }) as TracingConfig;

describe('a traceparent', () => {
  it.each([
    [`00-${TRACE}-${SPAN}-01`, `00-${TRACE}-${SPAN}-01`],
    [`00-${TRACE}-${SPAN}-00`, `00-${TRACE}-${SPAN}-00`],
    [`cc-${TRACE}-${SPAN}-01-what-comes-later`, `cc-${TRACE}-${SPAN}-01`],
  ])('%s is read', (header, expected) => expect(readTraceparent(header)).toBe(expected));

  it.each([
    undefined,
    '',
    [`00-${TRACE}-${SPAN}-01`],
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE}-${SPAN}-01-more`,
    `00-${TRACE}-${SPAN}-01x`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    ` 00-${TRACE}-${SPAN}-01`,
    `cc-${TRACE}-${SPAN}-01-${'x'.repeat(300)}`,
  ])('%s is none', (header) => expect(readTraceparent(header)).toBeUndefined());

  it('leads from a log line to its trace', () => {
    expect(describeTrace(`00-${TRACE}-${SPAN}-01`)).toEqual({ 'trace.id': TRACE, 'span.id': SPAN });
    expect(describeTrace(undefined)).toEqual({});
  });
});

describe('traces', () => {
  it('are off unless the settings say where they go', async () => {
    const off = { ...config('always_on'), OTEL_EXPORTER_OTLP_ENDPOINT: undefined } as TracingConfig;
    expect(await openTracing(off, SERVICE)).toBeUndefined();
  });

  it.each([
    ['always_on', '00', true],
    ['always_off', '01', false],
    ['parentbased_always_on', '00', false],
    ['parentbased_always_off', '01', true],
    ['parentbased_always_on', undefined, true],
    ['parentbased_always_off', undefined, false],
  ])('by %s, with a client that says %s, are taken: %s', async (sampler, flags, isTaken) => {
    const tracing = await openTracing(config(sampler), SERVICE);
    const parent = flags && `00-${TRACE}-${SPAN}-${flags}`;
    expect(tracing!.begin('one', { parent }) !== undefined).toBe(isTaken);
    await tracing!.stop();
  });

  it('are taken in the share that was asked for', async () => {
    const tracing = await openTracing(config('parentbased_traceidratio', 0.25), SERVICE);
    const taken = Array.from({ length: 4_000 }, () => tracing!.begin('one')).filter((span) => span !== undefined);
    // Six standard deviations of a binomial draw.
    expect(Math.abs(taken.length - 1_000)).toBeLessThan(165);
    await tracing!.stop();
  });

  it('go on from their parent, each span under an id of its own', async () => {
    const tracing = await openTracing(config('always_on'), SERVICE);
    const parent = `00-${TRACE}-${SPAN}-01`;
    const spans = [1, 2].map(() => tracing!.begin('one', { parent })!.traceparent);
    for (const traceparent of spans) expect(traceparent).toMatch(new RegExp(`^00-${TRACE}-[\\da-f]{16}-01$`));
    expect(new Set([...spans, parent]).size).toBe(3);
    await tracing!.stop();
  });
});
