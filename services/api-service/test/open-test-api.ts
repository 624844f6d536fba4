import { createLogger, Health, VERSION } from '@punctual/runtime';
import {
  type AnswerChecker,
  type ApiDocument,
  areFaultsInjected,
  createAnswerChecker,
  createTestDatabase,
  sendPersistently,
  TEST_KEYS,
  type TestDatabase,
  withoutFaults,
} from '@punctual/testkit';
import type { InjectOptions, LightMyRequestResponse as Response } from 'fastify';
import { Registry } from 'prom-client';
import type { ApiServer } from '../api-server.ts';
import { buildApi } from '../app.ts';
import { readApiConfig } from '../config.ts';
import type { ApiContext } from '../context.ts';
import { createApiContext } from '../start.ts';

/** The admin key of the default tenant in tests. */
export const TEST_KEY = 'test-bootstrap-key-0001';

export interface TestAnswer {
  status: number;
  headers: Record<string, string | string[] | number | undefined>;
  /** The parsed body; undefined when there is none. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came.
  body: any;
}

export interface TestApi {
  app: ApiServer;
  context: ApiContext;
  testDatabase: TestDatabase;
  /** Lines that were logged, parsed; while faults are injected without the warnings, which tell of these. */
  logged: Record<string, unknown>[];
  /** The document that the api serves. Every answer in every test is held against it. */
  document: ApiDocument;
  checker: AnswerChecker;
  /**
   * Sends a request as the default tenant's admin; `body` is sent as JSON, text as it is. While faults are injected it is
   * sent until it is answered.
   */
  request(method: string, url: string, body?: unknown, headers?: Record<string, string>): Promise<TestAnswer>;
  /** What this api read from the database is this much older from now on (ms). */
  passTime(ms: number): void;
  close(): Promise<void>;
}

/**
 * The whole api, without a socket, on a database of its own, or beside another api on the database of that one, which
 * must be closed last. `settings` are as in the environment.
 */
export async function openTestApi(settings: Record<string, string> = {}, beside?: TestApi): Promise<TestApi> {
  const testDatabase = beside?.testDatabase ?? (await createTestDatabase());
  const config = readApiConfig({
    DATABASE_URL: testDatabase.url,
    BOOTSTRAP_API_KEY: TEST_KEY,
    EGRESS_ALLOW: '127.0.0.0/8',
    ENCRYPTION_KEYS: TEST_KEYS,
    ...settings,
  });
  const logged: Record<string, unknown>[] = [];
  const logger = createLogger({
    serviceName: 'api',
    serviceVersion: VERSION,
    level: 'warn',
    destination: {
      write(text) {
        const line = JSON.parse(text) as Record<string, unknown>;
        if (!areFaultsInjected || line['log.level'] !== 'warn') logged.push(line);
      },
    },
  });
  // Default metrics of Node are expensive to set up once a test; only the api's own are wanted.
  const registry = new Registry();
  let passedMs = 0;
  const context = await withoutFaults(() =>
    createApiContext({
      config,
      logger,
      database: testDatabase.service,
      registry,
      now: () => performance.now() + passedMs,
    }),
  );
  const health = new Health(VERSION);
  health.markStarted();
  const app = await buildApi({ context, health, registry });
  // As it is served: what JSON can not hold is not in it.
  const document = JSON.parse(JSON.stringify(app.swagger())) as ApiDocument;
  const checker = createAnswerChecker(document);
  checkAnswers(app, checker);
  return {
    app,
    context,
    testDatabase,
    logged,
    document,
    checker,
    async request(method, url, body, headers = {}) {
      const send = async (all: Record<string, string>): Promise<TestAnswer> => {
        const answer = await app.inject({
          method: method as 'GET',
          url,
          headers: {
            authorization: `Bearer ${TEST_KEY}`,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
            ...all,
          },
          ...(body === undefined
            ? {}
            : { payload: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body) }),
        });
        return {
          status: answer.statusCode,
          headers: answer.headers,
          body: answer.body === '' ? undefined : parseBody(answer.body),
        };
      };
      return sendPersistently(method, headers, send, ({ status, headers: told, body: said }) => ({
        status,
        retryAfter: told['retry-after'] as string | undefined,
        code: said?.code,
      }));
    },
    passTime(ms) {
      passedMs += ms;
    },
    async close() {
      await app.close();
      await Promise.all([context.timerBatcher.flush(), context.keyedTimerBatcher.flush()]);
      if (!beside) await testDatabase.drop();
    },
  };
}

/** From now on an answer that the document does not describe fails the test that asked for it. */
function checkAnswers(app: ApiServer, checker: AnswerChecker): void {
  const inject = app.inject.bind(app) as (options: InjectOptions) => Promise<Response>;
  app.inject = (async (options: InjectOptions) => {
    const answer = await inject(options);
    const { method = 'GET', url } = options;
    const { statusCode: status, headers, body } = answer;
    const [fault] = checker.findFaults({ method, path: String(url), status, headers, body });
    if (fault !== undefined) throw new Error(`${method} ${String(url)} was answered ${status}, and ${fault}`);
    return answer;
  }) as typeof app.inject;
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
