import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A span as a collector got it. */
export interface ReceivedSpan {
  traceId: string;
  spanId: string;
  /** Empty for the first of a trace. */
  parentSpanId: string;
  name: string;
  service: string;
  hasFailed: boolean;
  attributes: Record<string, string | number | boolean>;
}

/** Takes traces by OTLP over HTTP, as protobuf. */
export interface Collector {
  url: string;
  spans: ReceivedSpan[];
  close(): Promise<void>;
}

const TRACES_PATH = '/v1/traces';
const STATUS_ERROR = 2;

export async function startCollector(): Promise<Collector> {
  const spans: ReceivedSpan[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.url === TRACES_PATH) spans.push(...readSpans(Buffer.concat(chunks)));
      response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

type Field = number | bigint | Buffer;
/** Values of a message, by the numbers that OTLP's definition gives the fields. */
type Message = Map<number, Field[]>;

/** Reads one message of protobuf's wire format. Throws on a kind of field that OTLP has none of. */
function readMessage(bytes: Buffer): Message {
  const message: Message = new Map();
  let at = 0;
  const readVarint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at]!;
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const readField = (kind: number): Field => {
    if (kind === 0) return readVarint();
    const length = kind === 1 ? 8 : kind === 5 ? 4 : kind === 2 ? Number(readVarint()) : Number.NaN;
    if (Number.isNaN(length)) throw new Error(`a field of the kind ${kind}`);
    const field = bytes.subarray(at, at + length);
    at += length;
    return field;
  };
  while (at < bytes.length) {
    const tag = Number(readVarint());
    const number = tag >> 3;
    message.set(number, [...(message.get(number) ?? []), readField(tag & 7)]);
  }
  return message;
}

const list = (message: Message, number: number) =>
  (message.get(number) ?? []).map((field) => readMessage(field as Buffer));
const bytes = (message: Message, number: number) => (message.get(number)?.[0] as Buffer | undefined) ?? Buffer.alloc(0);

function readSpans(body: Buffer): ReceivedSpan[] {
  return list(readMessage(body), 1).flatMap((ofResource) => {
    const service = String(readAttributes(list(list(ofResource, 1)[0]!, 1))['service.name']);
    return list(ofResource, 2).flatMap((ofScope) =>
      list(ofScope, 2).map((span) => ({
        traceId: bytes(span, 1).toString('hex'),
        spanId: bytes(span, 2).toString('hex'),
        parentSpanId: bytes(span, 4).toString('hex'),
        name: bytes(span, 5).toString('utf8'),
        service,
        hasFailed: list(span, 15).some((status) => Number(status.get(3)?.[0] ?? 0) === STATUS_ERROR),
        attributes: readAttributes(list(span, 9)),
      })),
    );
  });
}

function readAttributes(attributes: readonly Message[]): ReceivedSpan['attributes'] {
  return Object.fromEntries(
    attributes.map((attribute) => {
      const value = list(attribute, 2)[0]!;
      const text = value.get(1)?.[0] as Buffer | undefined;
      const number = value.get(3)?.[0];
      const isTrue = value.get(2)?.[0];
      const read = text?.toString('utf8') ?? (number === undefined ? isTrue === 1n : Number(number));
      return [bytes(attribute, 1).toString('utf8'), read];
    }),
  );
}
