/** Waiting for a signal: an event that somebody tells a run by its name, with a time-out that is a delay rule. */
import type { Fault } from '../fault.ts';
import { type DelayRule, LAST_INSTANT_MS } from './delay-rule.ts';
import { type Anchor, computeDueAt, type DueTime } from './due-time.ts';

/** What becomes of a task whose signal did not come in time: it ends dead without being tried, or is tried all the same. */
export const ON_TIMEOUT_CHOICES = ['fail', 'run'] as const;
export type OnTimeout = (typeof ON_TIMEOUT_CHOICES)[number];

/** Names of signals stand in paths of URLs, in which `.` and `..` mean something else. */
export const SIGNAL_NAME_LENGTH_MAX = 64;
export const SIGNAL_NAME_PATTERN = /^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/;

/** Without `timeout` it waits for as long as its run lives. */
export type SignalDelay = { type: 'signal'; name: string; timeout?: DelayRule; onTimeout?: OnTimeout };

/** How a task of a workflow waits. */
export type TaskDelay = DelayRule | SignalDelay;

/** What a task waits for: the instant of `due`, and where `waitsFor` is a name, the signal that may come before it. */
export interface Wait {
  due: DueTime;
  waitsFor: string | null;
}

/**
 * How a task waits that begins at the anchor. One that waits for a signal without a time-out is due at the last instant that
 * can be written. Throws as `computeDueAt` does.
 */
export function computeWait(delay: TaskDelay | undefined, anchor: Anchor): Wait {
  if (delay?.type !== 'signal') return { due: computeDueAt(delay, anchor), waitsFor: null };
  if (delay.timeout !== undefined) return { due: computeDueAt(delay.timeout, anchor), waitsFor: delay.name };
  const due: DueTime = { kind: 'due', dueAt: LAST_INSTANT_MS, timeZone: anchor.timeZone ?? 'UTC', notes: [] };
  return { due, waitsFor: delay.name };
}

/** What happens to a task of this delay when its time-out passes. */
export function readOnTimeout(delay: TaskDelay | undefined): OnTimeout {
  return delay?.type === 'signal' ? (delay.onTimeout ?? 'fail') : 'run';
}

/** What is wrong with waiting for a signal, but for its time-out, which is a rule like any other. */
export function validateSignalDelay({ name, timeout, onTimeout }: SignalDelay): Fault[] {
  const faults: Fault[] = [];
  if (typeof name !== 'string' || name.length > SIGNAL_NAME_LENGTH_MAX || !SIGNAL_NAME_PATTERN.test(name)) {
    faults.push({
      pointer: '/name',
      detail: `A signal's name has 1 to ${SIGNAL_NAME_LENGTH_MAX} letters, digits, dashes, underscores and, but for the first, dots.`,
    });
  }
  if (onTimeout !== undefined && timeout === undefined) {
    faults.push({ pointer: '/onTimeout', detail: 'It says something only beside a timeout.' });
  }
  return faults;
}
