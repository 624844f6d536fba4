import { type Static, Type } from 'typebox';
import { SignalName } from './delay.ts';
import { CLOSED, Id, Json } from './primitives.ts';

export const SignalParams = Type.Object({ id: Id, name: SignalName }, CLOSED);

export const SignalRequest = Type.Union([
  Type.Null(),
  Type.Object({ payload: Type.Optional(Json) }, { ...CLOSED, description: 'What the tasks get that wait for it.' }),
]);
export type SignalRequest = Static<typeof SignalRequest>;

/** What became of a signal. */
export const SIGNAL_OUTCOMES = ['delivered', 'kept'] as const;

export const SignalAnswer = Type.Object({
  runId: Id,
  name: Type.String(),
  outcome: Type.Enum([...SIGNAL_OUTCOMES], {
    description: '`kept`: no task waits for it yet; those that do so next get it.',
  }),
  timers: Type.Integer({ description: 'How many tasks got it: more than one where several waited, as elements do.' }),
});
export type SignalAnswer = Static<typeof SignalAnswer>;
