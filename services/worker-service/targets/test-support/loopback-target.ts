import { createEgressPolicy } from '@punctual/domain';
import { afterEach } from 'vitest';
import { type AttemptRequest, createHttpTarget, type HttpTarget, type HttpTargetOptions } from '../http-target.ts';
import { type RawEndpoint, type RawEndpointOptions, startRawEndpoint } from './raw-endpoint.ts';

/** What most tests do not care about. */
export function makeRequest(url: string, overrides: Partial<AttemptRequest> = {}): AttemptRequest {
  return {
    url,
    method: 'POST',
    body: '{"a":1}',
    timeoutMs: 5_000,
    timerId: '01920000-0000-7000-8000-000000000001',
    attempt: 1,
    dueAt: Date.UTC(2027, 0, 2, 3, 4, 5, 678),
    signingSecrets: [],
    right: {
      mayBegin: () => true,
      goodUntil: Number.POSITIVE_INFINITY,
      ask: () => Promise.reject(new Error('nobody should ask')),
    },
    ...overrides,
  };
}

/** Makes targets that may call loopback, and endpoints there, all closed after each test. */
export function useLoopback(): {
  createTarget(options?: Partial<HttpTargetOptions>): HttpTarget;
  startEndpoint(options?: RawEndpointOptions): Promise<RawEndpoint>;
} {
  const opened: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of opened.splice(0).reverse()) await close();
  });
  return {
    createTarget(options) {
      const target = createHttpTarget({
        egressPolicy: createEgressPolicy({ allow: ['127.0.0.0/8', '::1'], deny: [] }),
        userAgent: 'punctual/1.2.3',
        maxConnectionsPerOrigin: 4,
        resolveHost: () => Promise.reject(Object.assign(new Error('no names here'), { code: 'ENOTFOUND' })),
        ...options,
      });
      opened.push(() => target.destroy());
      return target;
    },
    async startEndpoint(options) {
      const endpoint = await startRawEndpoint(options);
      opened.push(() => endpoint.close());
      return endpoint;
    },
  };
}
