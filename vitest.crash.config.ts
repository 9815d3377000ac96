/**
 * The crash tests at full length (`npm run test:crash`): the same files that `npm test` runs with three kills, here
 * with twenty or as many as `ROSETTAMQ_CRASH_KILLS` says, and those of bridges, which need outside brokers. These take
 * long to start again, so each is killed three times unless the variable says otherwise.
 */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/crash/**/*.test.ts'],
    // Not set here: other tests import this file.
    env: {
      ROSETTAMQ_CRASH_KILLS: process.env.ROSETTAMQ_CRASH_KILLS ?? '20',
      ROSETTAMQ_CRASH_BRIDGE_KILLS: process.env.ROSETTAMQ_CRASH_KILLS ?? '3',
    },
    testTimeout: 300_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 10_000 } },
    pool: 'forks',
    fileParallelism: false,
  },
});
