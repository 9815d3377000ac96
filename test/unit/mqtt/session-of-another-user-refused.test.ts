/** A client identifier is no proof: sessions are resumed, taken over and discarded only by the user that began them. */

import { expect, it } from 'vitest';
import { authenticatorOf } from '../../support/doors.ts';
import { MemoryStorage } from '../../support/memory-storage.ts';
import { type ConnectOptions, openMqttWorld } from './mqtt-world.ts';

const byName = authenticatorOf((credentials, { clientId }) => ({
  user: credentials.kind === 'password' ? credentials.user : '',
  groups: [],
  clientId,
}));

function as(username: string, options: ConnectOptions = {}): ConnectOptions {
  const properties = { sessionExpiryInterval: 100 };
  return { version: 5, clientId: 'shared', clean: false, username, password: 'x', properties, ...options };
}

it.each([true, false])('while its owner is connected (clean start: %s)', async (clean) => {
  const world = await openMqttWorld({ authenticator: byName });
  const ann = await world.connected(as('ann'));
  const bob = world.client();
  expect(await bob.connect(as('bob', { clean }))).toMatchObject({ reasonCode: 0x87 });
  expect(bob.ended).toMatchObject({ reason: 'not-authorized', detail: 'the session is of another user' });
  expect(ann.ended).toBe(null);
  expect(await world.client().connect(as('ann'))).toMatchObject({ reasonCode: 0, sessionPresent: true });
  expect(ann.ended?.reason).toBe('displaced');
});

it('while its owner is away, also after a restart, and before version 5', async () => {
  const storage = new MemoryStorage();
  const first = await openMqttWorld({ storage, authenticator: byName });
  const ann = await first.connected(as('ann'));
  await ann.subscribe('kept', 1);
  ann.drop();
  await first.adapter.stop();
  await first.core.close();
  const world = await openMqttWorld({ storage, authenticator: byName });
  expect(await world.client().connect(as('bob'))).toMatchObject({ reasonCode: 0x87 });
  const old = as('bob', { version: 4, clean: true });
  delete (old as { properties?: unknown }).properties;
  expect(await world.client().connect(old)).toMatchObject({ returnCode: 5 });
  const back = world.client();
  expect(await back.connect(as('ann'))).toMatchObject({ sessionPresent: true });
  expect(world.core.sessions.get('shared')?.subscriptions.size).toBe(1);
});

it('but anybody resumes it while names are believed without proof', async () => {
  const world = await openMqttWorld({ authenticator: { ...byName, trusting: true } });
  (await world.connected(as('ann'))).drop();
  expect(await world.client().connect(as('bob'))).toMatchObject({ reasonCode: 0, sessionPresent: true });
});
