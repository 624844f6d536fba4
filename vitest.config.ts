import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['packages/**/*.test.ts', 'services/**/*.test.ts', 'tests/**/*.test.ts', 'loadtest/**/*.test.ts'],
    // Most tests wait for something most of their time: three files side by side take half as long on two cores as one
    // after the other, which is vitest's default there.
    maxWorkers: 3,
    // For tests that hang. Two processes that start side by side take five seconds when the processor is shared.
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
