/**
 * An AMQP 0-9-1 server in this process for real clients to connect to: adapter, core, clock and sockets as in the
 * gateway, on a storage in memory, so that these tests leave no files.
 */

import Value from 'typebox/value';
import { createAmqp091Adapter } from '../../../adapters/amqp091/index.ts';
import { type Amqp091Settings, amqp091Settings } from '../../../adapters/amqp091/settings.ts';
import { amqp091Codec } from '../../../mappings/amqp091.ts';
import { SystemClock } from '../../../src/clock.ts';
import type { Core, CoreOptions, Limits } from '../../../src/core/index.ts';
import type { Logger } from '../../../src/host.ts';
import { Network } from '../../../src/net/network.ts';
import { type NetworkSettings, networkSettings } from '../../../src/net/settings.ts';
import { openTestCore } from '../../support/core.ts';
import type { ManualClock } from '../../support/manual-clock.ts';

export interface Broker {
  readonly port: number;
  readonly url: string;
  readonly core: Core;
  readonly network: Network;
  /** What was logged as an error: nothing, in a test that passes. */
  readonly errors: readonly object[];
  close(): Promise<void>;
}

export async function startBroker(
  options: {
    readonly settings?: Partial<Amqp091Settings>;
    readonly limits?: Partial<Limits>;
    readonly core?: Partial<CoreOptions>;
    /** Passwords by name; without it everybody may come in. */
    readonly users?: Readonly<Record<string, string>>;
    /** Instead of the system's, for tests in which time passes. */
    readonly clock?: ManualClock;
  } = {},
): Promise<Broker> {
  const errors: object[] = [];
  const logger: Logger = { debug() {}, info() {}, warn() {}, error: (details) => errors.push(details) };
  const systemClock = new SystemClock((error) => errors.push({ error }));
  const clock = options.clock ?? systemClock;
  const { core } = await openTestCore({
    limits: options.limits ?? {},
    core: { clock, codecs: [amqp091Codec], ...options.core },
  });
  const { users } = options;
  const settings = Value.Default(amqp091Settings, { port: 0, ...options.settings }) as Amqp091Settings;
  const network = new Network(clock, Value.Default(networkSettings, {}) as NetworkSettings, logger);
  const adapter = createAmqp091Adapter(
    {
      core,
      clock,
      logger,
      authenticator: {
        authenticate(credentials) {
          if (credentials.kind !== 'password')
            return users === undefined ? { user: '', groups: [], clientId: '' } : null;
          const { user, password } = credentials;
          const known = users === undefined || users[user] === Buffer.from(password).toString();
          return known ? { user, groups: [], clientId: '' } : null;
        },
        mechanisms: [],
        begin: () => null,
        isCurrent: () => true,
        onChange: () => {},
      },
      clusterId: new Uint8Array(16),
      version: '0.0.0-test',
      listening: (name) => network.listening(name),
    },
    settings,
  );
  await adapter.start();
  for (const spec of adapter.listeners) await network.listen(spec, adapter);
  const { port } = network.listening('amqp091') as { readonly port: number };
  return {
    port,
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    core,
    network,
    errors,
    async close() {
      network.stopListening();
      for (const transport of network.connections.values()) transport.destroy('shutting-down');
      await adapter.stop();
      await core.close();
      systemClock.stop();
    },
  };
}
