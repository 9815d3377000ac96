/** What `npm test` runs: everything that needs nothing but Node.js and npm, in under two minutes. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/{unit,conformance,fuzz,crash,e2e}/**/*.test.ts', 'test/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    pool: 'forks',
    // Most tests wait for sockets and disks, so two cores take two files at a time, not one as is the default there.
    maxWorkers: 2,
  },
});
