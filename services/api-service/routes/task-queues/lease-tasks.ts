import { LeaseAnswer, LeaseRequest, TaskQueueParams } from '@punctual/contracts';
import { asTenant, type StartedTimer, type Transaction } from '@punctual/database';
import type { FastifyReply } from 'fastify';
import type { ApiServer } from '../../api-server.ts';
import type { ApiContext } from '../../context.ts';
import { refuse } from '../../openapi/refusals.ts';
import { allowWait } from '../../plugins/answer-deadline.ts';
import { type Answer, runIdempotently, sendAnswer } from '../../plugins/idempotency.ts';
import { giveBackTasks } from '../../pull/give-back-tasks.ts';
import { renderTasks } from '../../pull/render-tasks.ts';
import { resumeTasks } from '../../pull/resume-tasks.ts';

/** `POST /v1/task-queues/{queue}/leases`: tasks that are due, or, after a wait, the first that come. */
export function registerLeaseTasks(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/task-queues/:queue/leases',
    {
      schema: {
        tags: ['pull workers'],
        summary: 'Lease tasks from a queue',
        description:
          'Tasks in order of their due times. Each is started by the lease: from then on it can not be changed or cancelled, and when its lease ends without `complete`, `fail` or `heartbeat`, it is offered again.',
        params: TaskQueueParams,
        body: LeaseRequest,
        response: { 200: LeaseAnswer, ...refuse({ 429: ['too_many_waiting'] }) },
      },
    },
    async (request, reply) => {
      const { tenantId, body } = request;
      const { queue } = request.params;
      context.pullSightings.see(tenantId, queue, body.workerId);
      const waitMs = (body.waitSeconds ?? 0) * 1000;
      if (waitMs > 0) allowWait(request, reply, context, waitMs);
      const wish = { workerId: body.workerId, leaseMs: body.leaseSeconds * 1000, tasksMax: body.maxTasks };
      const { ordinary } = asTenant(context.database, tenantId);
      let handedOut: StartedTimer[] = [];
      // A lease commits by itself, so that everybody's go the same way. With a key its answer is kept by a transaction of the other
      // pool: those that lease never wait for those that keep answers.
      const work = async (keeper?: Transaction): Promise<Answer> => {
        const tasks = body.resume ? await resumeTasks(context, tenantId, queue, wish) : [];
        if (tasks.length === 0) {
          const isWaiting = keeper === undefined;
          const signal = watchClient(reply);
          const leased = { ...wish, waitMs: isWaiting ? waitMs : 0, signal };
          tasks.push(...(await context.taskQueues.lease(tenantId, queue, leased)));
        }
        const rendered = await renderTasks(context, tenantId, tasks);
        handedOut = rendered.handedOut;
        return { status: 200, body: `{"tasks":[${rendered.texts.join(',')}]}` };
      };
      let leased: Answer;
      try {
        leased = await runIdempotently(context, request, work, { pool: ordinary });
        if (reply.sent) throw new Error('there was no time to answer');
      } catch (error) {
        // Nobody hears of them.
        giveBackTasks(context, tenantId, handedOut, 0);
        throw error;
      }
      return sendAnswer(reply, leased);
    },
  );
}

/** Aborted when the client goes away before it has its answer. */
function watchClient(reply: FastifyReply): AbortSignal {
  const abort = new AbortController();
  if (reply.raw.destroyed) abort.abort();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) abort.abort();
  });
  return abort.signal;
}
