import type { FailpointPlan } from './tweaks.ts';

/** What failpoints call: ends this process at once when the plan's has been passed often enough. */
export function crashAt(plan: FailpointPlan): (name: string) => void {
  let left = plan.passes;
  return (name) => {
    if (name !== plan.name) return;
    left -= 1;
    if (left <= 0) process.kill(process.pid, 'SIGKILL');
  };
}
