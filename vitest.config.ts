/**
 * What `npm test` runs: everything that needs nothing but Node.js and npm, in under two minutes. Most files share a
 * process with others, because loading the same modules again for each would take half of the time; those that replace a
 * module or measure their process have one of their own.
 */
import { defineConfig } from 'vitest/config';

/** Needs outside brokers: `npm run test:crash`. */
const WITH_BROKERS = 'test/crash/bridges-survive-kills.test.ts';
const ALONE = [
  'test/unit/auth/users-let-in-or-refused.test.ts',
  'test/unit/mqtt/hostile-clients-are-bounded.test.ts',
  'test/unit/storage/row-window-gives-back-room.test.ts',
];

export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 20_000,
    expect: { poll: { timeout: 10_000 } },
    globalSetup: 'test/support/run-folder.ts',
    pool: 'forks',
    // Many tests wait, for processes that start or for time that passes: two workers leave a third of two cores idle.
    maxWorkers: 3,
    projects: [
      {
        extends: true,
        test: {
          name: 'together',
          include: ['test/{unit,conformance,fuzz,crash,e2e}/**/*.test.ts', 'test/*.test.ts'],
          exclude: [...ALONE, WITH_BROKERS],
          isolate: false,
        },
      },
      { extends: true, test: { name: 'alone', include: ALONE } },
    ],
  },
});
