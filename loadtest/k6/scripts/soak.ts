// The mix at a moderate rate for as long as is asked for. What it adds is in the proof: the last timers must not be later
// than the first.
import { holdRate } from './load.ts';
import { doOneOfTheMix } from './mix.ts';

export { writeSummary as handleSummary } from './load.ts';

export const options = holdRate();

export default function soak(): void {
  doOneOfTheMix();
}
