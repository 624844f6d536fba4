import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['packages/**/*.test.ts', 'services/**/*.test.ts', 'tests/**/*.test.ts', 'loadtest/**/*.test.ts'],
    // For tests that hang. Two processes that start side by side take five seconds when the processor is shared.
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
