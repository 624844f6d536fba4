import { type Called, FAULT_KINDS } from './fault-plan.ts';
import type { FaultCounts } from './fault-record.ts';

const CALLED: readonly Called[] = ['database', 'redis'];
/** So many faults of a kind must be expected before there has to be one: by chance there is none once in 20,000 runs. */
const EXPECTED_MIN = 10;

/** What failed, as a table for people. */
export function showFaults({ calls, faults, processes }: FaultCounts): string {
  const lines = CALLED.map((called) => {
    const kinds = FAULT_KINDS.map((kind) => `${kind} ${faults.get(`${called} ${kind}`) ?? 0}`);
    return `${called}: ${calls[called]} calls, of which ${kinds.join(', ')}`;
  });
  return [`Faults in ${processes} processes:`, ...lines].join('\n');
}

/** Why these tests have shown nothing; undefined: every kind of fault happened, as often as it had to. */
export function judgeFaults({ calls, faults }: FaultCounts, rate: number): string | undefined {
  if (faults.size === 0) return 'Nothing failed: there were too few calls, or the injection of faults does not work.';
  const missing = CALLED.flatMap((called) => {
    const isExpected = (calls[called] * rate) / FAULT_KINDS.length >= EXPECTED_MIN;
    return isExpected ? FAULT_KINDS.map((kind) => `${called} ${kind}`).filter((name) => !faults.has(name)) : [];
  });
  return missing.length > 0 ? `These never failed although they should have: ${missing.join(', ')}.` : undefined;
}
