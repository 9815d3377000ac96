/** What `npm test` runs: everything that needs nothing but Node.js and npm, in under two minutes. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/{unit,conformance,fuzz,crash,e2e}/**/*.test.ts', 'test/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    pool: 'forks',
    // Vitest leaves one of two cores idle; tests that wait leave the other one too.
    maxWorkers: 2,
  },
});
