import {
  canonicalTimeZone,
  checkWait,
  computeDueAt,
  type DelayRule,
  type Fault,
  parseInstant,
  validateDelay,
} from '@punctual/domain';
import type { ApiContext } from '../context.ts';

/** When a timer is due: at `dueAt` (epoch ms), or never because its date is past and its rule says `skip`. */
export type DueChoice = { kind: 'due' | 'skip'; dueAt: number } | { kind: 'fault'; faults: Fault[] };

/** What is said about the due time. Pointers of faults are those of these fields. */
export interface DueRequest {
  delay?: DelayRule;
  dueAt?: string;
  timeZone?: string;
}

/**
 * The due time that a request asks for, for a timer that begins to wait at `anchorAt`. Neither `delay` nor `dueAt`:
 * the anchor. `dueAt` in the past stays as it is, and means at once.
 */
export function chooseDueTime(
  request: DueRequest,
  anchorAt: number,
  { maxWaitMs }: Pick<ApiContext, 'maxWaitMs'>,
): DueChoice {
  if (request.delay !== undefined) {
    if (request.dueAt !== undefined) return refuse('/dueAt', 'Give either delay or dueAt, not both.');
    return applyRule(request.delay, request.timeZone, anchorAt, maxWaitMs);
  }
  if (request.dueAt === undefined) return { kind: 'due', dueAt: anchorAt };
  const dueAt = parseInstant(request.dueAt);
  if (dueAt === undefined) {
    return refuse('/dueAt', 'It must be an RFC 3339 date-time with Z or an offset, such as 2027-01-01T00:00:00Z.');
  }
  if (dueAt < 0) return refuse('/dueAt', 'It must not be before 1970.');
  const fault = checkWait(undefined, { anchorAt, dueAt }, maxWaitMs);
  return fault ? refuse('/dueAt', fault.detail) : { kind: 'due', dueAt };
}

function applyRule(rule: DelayRule, timeZone: string | undefined, anchorAt: number, maxWaitMs: number): DueChoice {
  const faults = validateDelay(rule, { maxWaitMs });
  if (faults.length > 0) {
    return { kind: 'fault', faults: faults.map((fault) => ({ ...fault, pointer: `/delay${fault.pointer}` })) };
  }
  const due = computeDueAt(rule, timeZone === undefined ? { anchorAt } : { anchorAt, timeZone });
  if (due.kind === 'reject') return refuse('/delay', 'The date is past, and the rule says to refuse that.');
  // What is skipped ends now: that is the only time it has when its date does not exist at all.
  if (due.kind === 'skip') return { kind: 'skip', dueAt: due.missedAt ?? anchorAt };
  const fault = checkWait(rule, { anchorAt, dueAt: due.dueAt }, maxWaitMs);
  return fault ? refuse(`/delay${fault.pointer}`, fault.detail) : { kind: 'due', dueAt: due.dueAt };
}

/** The IANA spelling of a zone's name, or a fault. Undefined stays undefined. */
export function checkTimeZone(name: string | undefined): { timeZone: string | undefined } | { fault: Fault } {
  if (name === undefined) return { timeZone: undefined };
  const timeZone = canonicalTimeZone(name);
  if (timeZone !== undefined) return { timeZone };
  return { fault: { pointer: '/timeZone', detail: 'The time zone must be a known IANA name, such as Europe/Paris.' } };
}

function refuse(pointer: string, detail: string): DueChoice {
  return { kind: 'fault', faults: [{ pointer, detail }] };
}
