/** Authentication over a storage in memory and a clock of the test's own, with cheap hashes. */
import { type OpenAuthentication, openAuthentication } from '../../../src/auth/index.ts';
import { type AuthSettings, authSettings } from '../../../src/auth/settings.ts';
import type { Principal } from '../../../src/core/index.ts';
import type { ConnectionOrigin } from '../../../src/host.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';
import { LogLines, originWith, passwordOf, settingsOf } from '../auth-proofs/proof-world.ts';

export interface AuthWorld extends OpenAuthentication {
  readonly clock: ManualClock;
  readonly log: LogLines;
  readonly storage: MemoryStorage;
  /** Null: refused. */
  login(user: string, password: string, origin?: Partial<ConnectionOrigin>): Promise<Principal | null>;
}

export async function openAuthWorld(
  changes: Partial<AuthSettings> = {},
  storage: MemoryStorage = new MemoryStorage(),
): Promise<AuthWorld> {
  const settings = settingsOf<AuthSettings>(authSettings, changes);
  const clock = new ManualClock();
  const log = new LogLines();
  const passwords = { ...settings.passwords, scryptCostLog2: 10 };
  const open = await openAuthentication({ ...settings, passwords }, storage, clock, log);
  return {
    ...open,
    clock,
    log,
    storage,
    login: async (user, password, origin = {}) =>
      open.authenticator.authenticate(passwordOf(user, password), originWith(origin)),
  };
}
