/**
 * What `npm run test:interop` runs: real clients with real command lines against a started gateway. They need the
 * programs that `test/peers/install.sh` installs; a suite whose program is missing is skipped and says so. Two files at
 * a time and no more, because each starts a gateway and often a Java virtual machine, and then mostly waits.
 */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/interop/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 10_000 } },
    pool: 'forks',
    maxWorkers: 2,
  },
});
