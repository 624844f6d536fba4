import { configDefaults, defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { areFaultsInjected } from './packages/testkit/faults/settings.ts';

/** Tests that compare how long things take, or have a dozen processes of their own: nothing of ours may run beside them. */
const ALONE = ['**/*.alone.test.ts'];
/** Of these, one that compares how long things take; what is injected takes time. */
const MEASURING = ['**/hostile-endpoints.alone.test.ts'];
/** Files that take a minute or two, however small they are; not those that suffer beside them. */
const LONG = /tests\/chaos\/|e2e\/standalone|timer-races/;

/** Without earlier results vitest begins with the largest files, and two long ones would be left for the end. */
class LongOnesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLate = ({ moduleId, project }: TestSpecification) => project.name !== 'together' || !LONG.test(moduleId);
    return sorted.toSorted((a, b) => Number(isLate(a)) - Number(isLate(b)));
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongOnesFirst },
    // For tests that hang. Two processes that start side by side take five seconds when the processor is shared.
    testTimeout: areFaultsInjected ? 240_000 : 60_000,
    hookTimeout: 120_000,
    setupFiles: areFaultsInjected ? ['./packages/testkit/faults/setup-tests.ts'] : [],
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: ['packages/**/*.test.ts', 'services/**/*.test.ts', 'tests/**/*.test.ts', 'loadtest/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...ALONE],
          // Most tests wait for something most of their time: three files side by side take half as long on two cores
          // as one after the other, which is vitest's default there.
          maxWorkers: 3,
        },
      },
      {
        extends: true,
        test: {
          name: 'alone',
          include: ALONE,
          exclude: [...configDefaults.exclude, ...(areFaultsInjected ? MEASURING : [])],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
