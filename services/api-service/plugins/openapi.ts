import swagger from '@fastify/swagger';
import {
  Action,
  ApiKey,
  Attempt,
  BulkChange,
  BulkOperation,
  DateDelay,
  DeadLetter,
  Delay,
  DurationDelay,
  Gate,
  HttpAction,
  Labels,
  Ledger,
  NoopAction,
  Problem,
  PullAction,
  QueueInfo,
  Retry,
  Run,
  RunSummary,
  RunTask,
  SchedulerInstance,
  Tenant,
  Timer,
  TimerFilter,
  UntilDelay,
  WeekdayDelay,
  WorkerInstance,
  Workflow,
  WorkflowTask,
  WorkflowVersion,
  WorkflowWithOperation,
} from '@punctual/contracts';
import { VERSION } from '@punctual/runtime';
import type { ApiServer } from '../api-server.ts';
import { completeDocument } from '../openapi/complete-document.ts';
import { describeRoute } from '../openapi/describe-route.ts';

/** What clients generated from the document get as types of their own. */
const NAMED_SCHEMAS = {
  Action,
  ApiKey,
  Attempt,
  BulkChange,
  BulkOperation,
  DateDelay,
  DeadLetter,
  Delay,
  DurationDelay,
  Gate,
  HttpAction,
  Labels,
  Ledger,
  NoopAction,
  Problem,
  PullAction,
  QueueInfo,
  Retry,
  Run,
  RunSummary,
  RunTask,
  SchedulerInstance,
  Tenant,
  Timer,
  TimerFilter,
  UntilDelay,
  WeekdayDelay,
  WorkerInstance,
  Workflow,
  WorkflowTask,
  WorkflowVersion,
  WorkflowWithOperation,
};

const DESCRIPTION = `Holds timers and calls an HTTP endpoint when each is due.

What a request is refused with is \`application/problem+json\` (RFC 9457); its \`code\` is stable. Fields and query parameters that are not named here are refused (400). A key of a larger scope may do what a smaller one may: \`read\`, \`write\`, \`admin\`; \`operator\` is an \`admin\` key of the default tenant.

Before a request has found its operation it may be answered 400 \`malformed_http\` or \`invalid_request\`, 404 \`not_found\`, 405 \`method_not_allowed\` with \`Allow\`, 408 \`request_timeout\`, 417 \`expectation_failed\` and 431 \`headers_too_large\`.`;

/** Collects the schemas of the routes registered after it and serves them as OpenAPI at `/v1/openapi.json`. */
export async function addOpenApi(app: ApiServer): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Punctual', version: VERSION, description: DESCRIPTION },
      components: {
        securitySchemes: { apiKey: { type: 'http', scheme: 'bearer' } },
        schemas: NAMED_SCHEMAS as never,
      },
      security: [{ apiKey: [] }],
    },
    transform: describeRoute as never,
    transformObject: (({ openapiObject }: { openapiObject: Record<string, unknown> }) =>
      completeDocument(openapiObject)) as never,
  });
  // The routes do not change once the server is ready, so neither does the document.
  let document: string | undefined;
  app.get('/v1/openapi.json', async (_request, reply) => {
    document ??= JSON.stringify(app.swagger());
    return reply.header('content-type', 'application/json; charset=utf-8').send(document);
  });
}
