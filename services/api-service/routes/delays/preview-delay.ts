import { DelayPreviewAnswer, DelayPreviewRequest } from '@punctual/contracts';
import {
  checkWait,
  type DelayRule,
  type Fault,
  formatInstant,
  LAST_INSTANT_MS,
  parseInstant,
  previewDelay,
  validateDelay,
} from '@punctual/domain';
import type { Static } from 'typebox';
import type { ApiServer } from '../../api-server.ts';
import { type ApiContext, readAnchorAt } from '../../context.ts';
import { refuseFaults } from '../../plugins/problems.ts';
import { checkTimeZone } from '../../timers/due-time.ts';

/** `POST /v1/delays/preview`: what a rule would do, by the code that later decides. */
export function registerPreviewDelay(app: ApiServer, context: ApiContext): void {
  app.post(
    '/v1/delays/preview',
    {
      // It stores nothing.
      config: { scope: 'read' },
      schema: {
        tags: ['delays'],
        summary: 'Show what a delay rule would do',
        body: DelayPreviewRequest,
        response: { 200: DelayPreviewAnswer },
      },
    },
    async (request) => preview(context, request.body),
  );
}

function preview(context: ApiContext, request: Static<typeof DelayPreviewRequest>) {
  const rule = request.delay as DelayRule | undefined;
  const zone = checkTimeZone(request.timeZone);
  const faults: Fault[] = validateDelay(rule, { maxWaitMs: context.maxWaitMs }).map((fault) => ({
    ...fault,
    pointer: `/delay${fault.pointer}`,
  }));
  if ('fault' in zone) faults.push(zone.fault);
  const fromAt = request.from === undefined ? readAnchorAt(context) : parseInstant(request.from);
  if (fromAt === undefined || fromAt < 0) {
    faults.push({ pointer: '/from', detail: 'It must be an RFC 3339 date-time, 1970 or later.' });
  }
  refuseFaults(faults);
  const timeZone = 'timeZone' in zone ? zone.timeZone : undefined;
  const shown = previewDelay(rule, { fromAt: fromAt!, ...(timeZone !== undefined && { timeZone }) });
  if (shown.dueAt !== null) {
    const fault = checkWait(rule, { anchorAt: fromAt!, dueAt: shown.dueAt }, context.maxWaitMs);
    refuseFaults(fault ? [{ ...fault, pointer: `/delay${fault.pointer}` }] : []);
  }
  return {
    ...shown,
    dueAt: shown.dueAt === null ? null : formatInstant(shown.dueAt),
    next: shown.next.filter((at) => at <= LAST_INSTANT_MS).map(formatInstant),
  };
}
