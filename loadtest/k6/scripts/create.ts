// One create after another at a fixed rate, whatever became of those before.
import { holdRate } from './load.ts';
import { createTimer } from './timers.ts';

export { writeSummary as handleSummary } from './load.ts';

export const options = holdRate();

export default function create(): void {
  createTimer();
}
