// Creates, changes, cancels and reads at a fixed rate, close to the due times, so that they race with the starts.
import { holdRate } from './load.ts';
import { doOneOfTheMix } from './mix.ts';

export { writeSummary as handleSummary } from './load.ts';

export const options = holdRate({
  // A run in which none of these happened has shown nothing about them.
  timers_changed: ['count>0'],
  timers_cancelled: ['count>0'],
  timers_read: ['count>0'],
  timers_refused_too_late: ['count>0'],
});

export default function mixed(): void {
  doOneOfTheMix();
}
