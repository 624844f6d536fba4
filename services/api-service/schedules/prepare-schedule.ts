import { MISSED_WINDOW_MS_DEFAULT, type ScheduleChange, type ScheduleRequest } from '@punctual/contracts';
import type { ScheduleRow, ScheduleSpec } from '@punctual/database';
import {
  type Action,
  type Fault,
  type MissedPolicy,
  parseInstant,
  type ScheduleRule,
  toStoredPriority,
  validateScheduleRule,
} from '@punctual/domain';
import type { ApiContext } from '../context.ts';
import { isTooLarge, PAYLOAD_TOO_LARGE } from '../timers/action-faults.ts';
import { checkTimeZone } from '../timers/due-time.ts';
import { prepareAction } from '../timers/stored-action.ts';

/** What an occurrence is, as the row holds it. JSON as text. */
export type ScheduleTarget = Pick<
  ScheduleRow,
  'workflow_id' | 'input' | 'action' | 'payload' | 'retry' | 'timeout_ms' | 'labels' | 'priority'
>;

const NO_TARGET: ScheduleTarget = {
  workflow_id: null,
  input: null,
  action: null,
  payload: null,
  retry: null,
  timeout_ms: null,
  labels: null,
  priority: null,
};

/** When a schedule is to occur, by a request and what it was before; or what is wrong with that. */
export function prepareSpec(
  request: ScheduleRequest | ScheduleChange,
  before: ScheduleSpec | undefined,
  { now, maxWaitMs }: { now: number; maxWaitMs: number },
): { spec: ScheduleSpec; faults: Fault[] } {
  const faults: Fault[] = [];
  const rule = (request.rule ?? before!.rule) as ScheduleRule;
  for (const fault of validateScheduleRule(rule)) faults.push({ ...fault, pointer: `/rule${fault.pointer}` });
  const zone = checkTimeZone(request.timeZone);
  if ('fault' in zone) faults.push(zone.fault);
  const ruleZone = checkTimeZone('timeZone' in rule ? rule.timeZone : undefined);
  if ('fault' in ruleZone) faults.push({ ...ruleZone.fault, pointer: `/rule${ruleZone.fault.pointer}` });
  const readBound = (name: 'startAt' | 'endAt'): number | null => {
    const text = request[name];
    if (text === undefined) return before?.[name] ?? null;
    if (text === null) return null;
    const at = parseInstant(text);
    if (at !== undefined && at >= 0) return at;
    faults.push({
      pointer: `/${name}`,
      detail: 'It must be an RFC 3339 date-time with Z or an offset, 1970 or later.',
    });
    return null;
  };
  const startAt = readBound('startAt');
  const endAt = readBound('endAt');
  if (startAt !== null && startAt - now > maxWaitMs) {
    faults.push({ pointer: '/startAt', detail: 'It must not be further away than the longest wait.' });
  }
  if (startAt !== null && endAt !== null && endAt <= startAt) {
    faults.push({ pointer: '/endAt', detail: 'It must be after startAt.' });
  }
  const { missedRuns } = request;
  if (missedRuns && missedRuns.policy !== 'all' && missedRuns.windowMs !== undefined) {
    faults.push({ pointer: '/missedRuns/windowMs', detail: 'Only the policy all has a window.' });
  }
  const spec: ScheduleSpec = {
    rule,
    timeZone: ('timeZone' in zone ? zone.timeZone : undefined) ?? before?.timeZone ?? 'UTC',
    startAt,
    endAt,
    jitterMs: request.jitterMs ?? before?.jitterMs ?? 0,
    overlap: request.overlap ?? before?.overlap ?? 'allow',
    missedRuns: missedRuns ? completeMissed(missedRuns) : (before?.missedRuns ?? { policy: 'last' }),
  };
  return { spec, faults };
}

function completeMissed({ policy, windowMs }: NonNullable<ScheduleRequest['missedRuns']>): MissedPolicy {
  return policy === 'all' ? { policy, windowMs: windowMs ?? MISSED_WINDOW_MS_DEFAULT } : { policy };
}

/** What an occurrence is to be, with secrets sealed; undefined when a change does not say. */
export function prepareTarget(
  context: ApiContext,
  tenantId: string,
  { run, timer }: ScheduleRequest | ScheduleChange,
  before: ScheduleRow | undefined,
): { target: ScheduleTarget | undefined; faults: Fault[] } {
  const refuse = (pointer: string, detail: string) => ({ target: undefined, faults: [{ pointer, detail }] });
  if (run && timer) return refuse('', 'Give either run or timer, not both.');
  if (run) {
    const input = run.input === undefined ? null : JSON.stringify(run.input);
    if (input !== null && isTooLarge(input)) return refuse('/run/input', PAYLOAD_TOO_LARGE);
    const target = { ...NO_TARGET, workflow_id: run.workflowId.toLowerCase(), input, labels: run.labels ?? null };
    return { target, faults: [] };
  }
  if (timer) {
    const stored = before?.action == null ? undefined : (JSON.parse(before.action) as Action);
    const { text: action, faults } = prepareAction(context, tenantId, timer.action as Action, stored);
    if (faults.length > 0) {
      return {
        target: undefined,
        faults: faults.map((fault) => ({ ...fault, pointer: `/timer/action${fault.pointer}` })),
      };
    }
    const payload = timer.payload === undefined ? null : JSON.stringify(timer.payload);
    if (payload !== null && isTooLarge(payload)) return refuse('/timer/payload', PAYLOAD_TOO_LARGE);
    const target = {
      ...NO_TARGET,
      action,
      payload,
      retry: timer.retry === undefined ? null : JSON.stringify(timer.retry),
      timeout_ms: timer.timeoutMs ?? null,
      priority: toStoredPriority(timer.priority),
      labels: timer.labels ?? null,
    };
    return { target, faults: [] };
  }
  return before ? { target: undefined, faults: [] } : refuse('', 'Give either run or timer.');
}
