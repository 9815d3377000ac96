import type { IAuthPacket, IConnackPacket, IDisconnectPacket, IPublishPacket, Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import type { Authenticator, SaslStep } from '../../../src/host.ts';
import { authenticatorOf } from '../../support/doors.ts';
import { type MqttWorld, openMqttWorld, type TestClient } from './mqtt-world.ts';

const METHOD = 'SAY-IT-TWICE';

/** Asks for the same word again; `slow` answers in a later turn, `broken` throws. */
function authenticator(): Authenticator {
  return {
    ...authenticatorOf(() => null),
    mechanisms: [METHOD],
    begin(mechanism, { clientId }) {
      if (mechanism !== METHOD) return null;
      let first: string | null = null;
      return {
        step(message) {
          const word = Buffer.from(message).toString();
          if (word === 'broken') throw new Error('no answer');
          let step: SaslStep = { outcome: 'refused' };
          if (first === null) step = { outcome: 'continue', message: Buffer.from(`again:${word}`) };
          else if (first === word) {
            const principal = { user: word, groups: [], clientId };
            step = { outcome: 'accepted', message: Buffer.from('done'), principal };
          }
          first = word;
          return word === 'slow' ? new Promise((resolve) => setImmediate(resolve, step)) : step;
        },
      };
    },
  };
}

const open = (): Promise<MqttWorld> => openMqttWorld({ authenticator: authenticator() });

function begin(client: TestClient, data: string | null, method = METHOD, will = false): Promise<Packet> {
  return client.connect({
    version: 5,
    clientId: 'c',
    properties: {
      authenticationMethod: method,
      ...(data === null ? {} : { authenticationData: Buffer.from(data) }),
    },
    ...(will ? { will: { topic: 'will', payload: Buffer.from('gone'), qos: 0, retain: false } } : {}),
  });
}

function say(client: TestClient, word: string, reasonCode = 0x18, method = METHOD): void {
  client.write({
    cmd: 'auth',
    reasonCode,
    properties: { authenticationMethod: method, authenticationData: Buffer.from(word) },
  } as Packet);
}

async function authenticated(world: MqttWorld, word = 'ada'): Promise<TestClient> {
  const client = world.client();
  await begin(client, word);
  say(client, word);
  await client.read();
  return client;
}

for (const word of ['ada', 'slow']) {
  it(`[MQTT-4.12.0-2] [MQTT-4.12.0-5] challenges, then accepts with the method and the last data (${word})`, async () => {
    const world = await open();
    const client = world.client();
    const challenge = (await begin(client, word)) as IAuthPacket;
    expect(challenge).toMatchObject({ cmd: 'auth', reasonCode: 0x18 });
    expect(challenge.properties?.authenticationMethod).toBe(METHOD);
    expect(String(challenge.properties?.authenticationData)).toBe(`again:${word}`);
    say(client, word);
    const [connack] = (await client.read()) as IConnackPacket[];
    expect(connack).toMatchObject({ cmd: 'connack', reasonCode: 0 });
    expect(connack?.properties).toMatchObject({ authenticationMethod: METHOD });
    expect(String(connack?.properties?.authenticationData)).toBe('done');
    expect(client.handler.identity?.user).toBe(word);
  });
}

it('asks a client that sent no data with CONNECT, and takes what follows CONNACK in the same chunk', async () => {
  const world = await open();
  const client = world.client();
  const first = (await begin(client, null)) as IAuthPacket;
  expect(first.reasonCode).toBe(0x18);
  expect(first.properties?.authenticationData).toBeUndefined();
  say(client, 'ada');
  await client.read();
  client.transport.pause();
  say(client, 'ada');
  client.writeBytes('c0 00');
  const packets = await client.read();
  expect(packets.map(({ cmd }) => cmd)).toEqual(['connack', 'pingresp']);
  expect(client.transport.paused).toBe(false);
});

it('[MQTT-4.12.0-1] refuses a method that it does not know, [MQTT-4.12.0-4] and who fails', async () => {
  const world = await open();
  const unknown = world.client();
  expect(await begin(unknown, 'ada', 'OTHER')).toMatchObject({ cmd: 'connack', reasonCode: 0x8c });
  expect(unknown.ended?.reason).toBe('not-authorized');
  const wrong = world.client();
  await begin(wrong, 'ada');
  say(wrong, 'eve');
  expect(await wrong.read()).toMatchObject([{ cmd: 'connack', reasonCode: 0x87 }]);
  expect(wrong.ended?.reason).toBe('not-authorized');
  const broken = world.client();
  expect(await begin(broken, 'broken')).toMatchObject({ cmd: 'connack', reasonCode: 0x88 });
});

it('[MQTT-3.1.2-30] ends a client that sends anything but AUTH and DISCONNECT before it is authenticated', async () => {
  for (const bytes of ['c0 00', '30 03 00 01 61', '10 02 00 00', 'f0 02 19 00', 'f0 00', 'f0 02 18 00']) {
    const world = await open();
    const client = world.client();
    await begin(client, 'ada');
    client.writeBytes(bytes);
    expect(await client.read(), bytes).toMatchObject([{ cmd: 'connack', reasonCode: 0x82 }]);
    expect(client.ended?.reason, bytes).toBe('protocol-error');
  }
  const world = await open();
  const watcher = await authenticated(world, 'bob');
  await watcher.subscribe('will');
  const leaving = world.client();
  await begin(leaving, 'ada', METHOD, true);
  leaving.writeBytes('e0 00');
  expect(leaving.ended?.reason).toBe('client-closed');
  expect(await leaving.read()).toEqual([]);
  expect(await watcher.read()).toEqual([]);
});

it('ends a client that never answers the challenge', async () => {
  const world = await open();
  const client = world.client();
  await begin(client, 'ada');
  world.clock.advance(10_000);
  expect(client.ended?.reason).toBe('handshake-timeout');
});

it('[MQTT-4.12.1-1] proves itself anew while messages pass', async () => {
  const world = await open();
  const client = await authenticated(world);
  await client.subscribe('a');
  say(client, 'ada', 0x19);
  const [challenge] = (await client.publish('a', 'meanwhile')) as [IAuthPacket, IPublishPacket];
  expect(challenge).toMatchObject({ cmd: 'publish', topic: 'a' });
  const before = client.handler.identity;
  say(client, 'ada');
  expect(await client.read()).toMatchObject([{ cmd: 'auth', reasonCode: 0 }]);
  expect(client.handler.identity).not.toBe(before);
  world.clock.advance(3_600_000);
  expect(client.ended).toBeNull();
});

it('[MQTT-4.12.1-2] ends a client that fails to prove itself anew, or takes too long, or is another user', async () => {
  const ways: [name: string, reasonCode: number, act: (client: TestClient, world: MqttWorld) => unknown][] = [
    ['wrong', 0x87, (client) => say(client, 'eve')],
    ['slow', 0x87, (_, world) => world.clock.advance(10_000)],
    ['twice', 0x82, (client) => say(client, 'ada', 0x19)],
    ['other method', 0x82, (client) => say(client, 'ada', 0x18, 'OTHER')],
  ];
  for (const [name, reasonCode, act] of ways) {
    const world = await open();
    const client = await authenticated(world);
    say(client, 'ada', 0x19);
    await client.read();
    act(client, world);
    expect(((await client.read()) as IDisconnectPacket[]).at(-1), name).toMatchObject({
      cmd: 'disconnect',
      reasonCode,
    });
  }
  const world = await open();
  const client = await authenticated(world);
  say(client, 'eve', 0x19);
  await client.read();
  say(client, 'eve');
  expect(await client.read()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }]);
});

it('[MQTT-4.12.0-6] takes no AUTH that continues nothing, nor one without a method', async () => {
  const world = await open();
  const client = await authenticated(world);
  say(client, 'ada');
  expect(await client.read()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
});
