import type { IConnackPacket } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import type { Principal } from '../../../src/core/index.ts';
import { authenticatorOf } from '../../support/doors.ts';
import { openMqttWorld, TestClient } from './mqtt-world.ts';

/** CONNECT of 3.1.1: clean session, keep alive 0, client id "a". */
const CONNECT_4 = '10 0d 00 04 4d515454 04 02 0000 0001 61';

function connectBytes(level: string, flags: string, rest: string, name = '00 04 4d515454'): string {
  const body = `${name}${level}${flags}${rest}`.replaceAll(' ', '');
  return `10${(body.length / 2).toString(16).padStart(2, '0')}${body}`;
}

describe('the first packet', () => {
  it('[MQTT-3.1.0-1] that is no CONNECT closes with its first byte', async () => {
    for (const first of ['30', 'c0', '00', '12', 'f0', '16']) {
      const client = (await openMqttWorld()).client();
      client.writeBytes(first);
      expect(client.ended?.reason).toBe('protocol-error');
      expect(await client.readBytes()).toHaveLength(0);
    }
  });

  it('must come in time', async () => {
    const world = await openMqttWorld();
    const client = world.client();
    client.writeBytes('10');
    world.clock.advance(9_000);
    expect(client.ended).toBeNull();
    world.clock.advance(2_000);
    expect(client.ended?.reason).toBe('handshake-timeout');
  });

  it('is refused for its length before anything is kept of it', async () => {
    const client = (await openMqttWorld()).client();
    client.writeBytes('10 ff ff ff 7f');
    expect(client.ended?.reason).toBe('limit-reached');
  });

  it('may come in single bytes, with the next packet behind it', async () => {
    const client = (await openMqttWorld()).client();
    for (const byte of Buffer.from(`${CONNECT_4.replaceAll(' ', '')}c000`, 'hex'))
      client.writeBytes(Buffer.from([byte]));
    expect((await client.readBytes()).toString('hex')).toBe('20020000d000');
  });

  it('is answered before what was sent behind it in the same chunk is looked at', async () => {
    const world = await openMqttWorld({
      authenticator: authenticatorOf(async () => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return { user: '', groups: [], clientId: '' };
      }),
    });
    const client = world.client();
    client.writeBytes(`${CONNECT_4} c000 82 06 0001 0001 78 00`);
    client.writeBytes('c000');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await client.readBytes()).toString('hex')).toBe('20020000d0009003000100d000');
    expect(client.transport.paused).toBe(false);
  });

  it('[MQTT-3.1.0-2] may not come twice', async () => {
    const client = await (await openMqttWorld()).connected({ version: 5 });
    client.writeBytes(CONNECT_4);
    expect((await client.readBytes()).subarray(0, 3).toString('hex')).toMatch(/^e0..82$/);
    expect(client.ended?.reason).toBe('protocol-error');
  });
});

describe('name and level', () => {
  it('[MQTT-3.1.2-1] [MQTT-3.1.2-2] belong together', async () => {
    const cases: [bytes: string, answer: string][] = [
      [connectBytes('04', '02', '0000 0001 61', '0006 4d5149736470'), '20020001'],
      [connectBytes('03', '02', '0000 0001 61'), '20020001'],
      [connectBytes('07', '02', '0000 00 0001 61'), '20'],
      [connectBytes('04', '02', '0000 0001 61', '0004 4d515445'), ''],
    ];
    for (const [bytes, answer] of cases) {
      const client = (await openMqttWorld()).client();
      client.writeBytes(bytes);
      const got = (await client.readBytes()).toString('hex');
      if (answer === '20') expect(got.slice(0, 2) + got.slice(6, 8)).toBe('2084');
      else expect(got).toBe(answer);
      expect(client.ended).not.toBeNull();
    }
  });

  it('of bridges are 3.1.1 with bit 7, and retain flags come as published', async () => {
    const world = await openMqttWorld();
    const client = world.client();
    client.writeBytes(connectBytes('84', '02', '0000 0001 62'));
    expect((await client.readBytes()).toString('hex')).toBe('20020000');
    await client.subscribe('t');
    const publisher = await world.connected({ clientId: 'p' });
    await publisher.publish('t', 'x', { retain: true });
    expect(await client.read()).toMatchObject([{ cmd: 'publish', retain: true }]);
  });
});

describe('flags of CONNECT', () => {
  const refused: [name: string, flags: string, rest: string][] = [
    ['[MQTT-3.1.2-3] reserved flag', '03', '0000 0001 61'],
    ['[MQTT-3.1.2-11] will QoS without will', '0a', '0000 0001 61'],
    ['[MQTT-3.1.2-13] will retain without will', '22', '0000 0001 61'],
    ['[MQTT-3.1.2-12] will QoS 3', '1e', '0000 0001 61 0001 77 0000'],
    ['3: [MQTT-3.1.2-22] password without user', '42', '0000 0001 61 0001 70'],
    ['[MQTT-3.1.4-1] bytes left over', '02', '0000 0001 61 00'],
    ['cut short', '82', '0000 0001 61'],
    ['[MQTT-1.5.4-2] U+0000 in the client identifier', '02', '0000 0001 00'],
    ['[MQTT-1.5.4-1] surrogate in the client identifier', '02', '0000 0003 eda080'],
  ];
  for (const [name, flags, rest] of refused) {
    it(name, async () => {
      const client = (await openMqttWorld()).client();
      client.writeBytes(connectBytes('04', flags, rest));
      expect(client.ended?.reason).toBe('protocol-error');
      expect(await client.readBytes()).toHaveLength(0);
    });
  }

  it('version 5 is told the reason and may send a password alone', async () => {
    const world = await openMqttWorld();
    const bad = world.client();
    bad.writeBytes(connectBytes('05', '03', '0000 00 0001 61'));
    expect((await bad.readBytes())[3]).toBe(0x81);
    const good = world.client();
    good.writeBytes(connectBytes('05', '42', '0000 00 0001 61 0001 70'));
    expect((await good.readBytes())[3]).toBe(0);
  });
});

describe('client identifiers', () => {
  it('3: [MQTT-3.1.3-7] [MQTT-3.1.3-8] empty only with a clean session', async () => {
    const world = await openMqttWorld();
    expect(await world.client().connect({ clientId: '', clean: true })).toMatchObject({ returnCode: 0 });
    const refused = world.client();
    refused.writeBytes(connectBytes('04', '00', '0000 0000'));
    expect((await refused.readBytes()).toString('hex')).toBe('20020002');
    const old = world.client();
    old.writeBytes(connectBytes('03', '02', '0000 0000', '0006 4d5149736470'));
    expect((await old.readBytes()).toString('hex')).toBe('20020002');
  });

  it('[MQTT-3.2.2-16] chosen by the server are told to version 5', async () => {
    const connack = (await (
      await openMqttWorld()
    )
      .client()
      .connect({ version: 5, clientId: '' })) as IConnackPacket;
    expect(connack.properties?.assignedClientIdentifier).toMatch(/^auto-/);
  });

  it('with control characters are refused', async () => {
    const client = (await openMqttWorld()).client();
    expect(await client.connect({ version: 5, clientId: 'a\u0007' })).toMatchObject({ reasonCode: 0x85 });
  });
});

describe('CONNACK', () => {
  it('tells version 5 what is allowed and what is not', async () => {
    const connack = (await (await openMqttWorld()).client().connect({ version: 5 })) as IConnackPacket;
    expect(connack).toMatchObject({
      reasonCode: 0,
      sessionPresent: false,
      properties: {
        receiveMaximum: 100,
        maximumPacketSize: 1_048_576,
        topicAliasMaximum: 100,
      },
    });
    // Absent is available.
    expect(connack.properties).not.toHaveProperty('sharedSubscriptionAvailable');
  });

  it('[MQTT-3.2.2-21] overrides a keep alive that is too long, and caps the session expiry', async () => {
    const world = await openMqttWorld({
      mqttLimits: { keepAliveSecondsMax: 30, sessionExpirySecondsMax: 60 },
    });
    const connack = (await world
      .client()
      .connect({ version: 5, keepalive: 0, properties: { sessionExpiryInterval: 100 } })) as IConnackPacket;
    expect(connack.properties).toMatchObject({ serverKeepAlive: 30, sessionExpiryInterval: 60 });
  });

  it('[MQTT-4.12.0-1] refuses authentication methods', async () => {
    const client = (await openMqttWorld()).client();
    const connack = await client.connect({
      version: 5,
      properties: { authenticationMethod: 'SCRAM-SHA-256' },
    });
    expect(connack).toMatchObject({ reasonCode: 0x8c });
    expect(client.ended?.reason).toBe('not-authorized');
  });

  it('says who is refused, in each version', async () => {
    const nobody = authenticatorOf((): Principal | null => null);
    const cases: [version: 4 | 5, username: string | undefined, code: number][] = [
      [4, 'u', 4],
      [4, undefined, 5],
      [5, 'u', 0x86],
      [5, undefined, 0x87],
    ];
    for (const [version, username, code] of cases) {
      const client = (await openMqttWorld({ authenticator: nobody })).client();
      const connack = (await client.connect({
        version,
        ...(username === undefined ? {} : { username, password: 'x' }),
      })) as IConnackPacket;
      expect(version === 5 ? connack.reasonCode : connack.returnCode).toBe(code);
      expect(client.ended?.reason).toBe('not-authorized');
    }
  });

  it('[MQTT-3.1.4-6] of a refusal is the last thing that happens', async () => {
    const world = await openMqttWorld({ authenticator: authenticatorOf(() => null) });
    const client = world.client();
    client.writeBytes(`${CONNECT_4} 30 05 0001 74 6869`);
    await client.read();
    expect(world.core.counters.published).toBe(0);
  });

  it('leaves out a reason string that the client has no room for', async () => {
    const client = (await openMqttWorld()).client();
    const connack = (await client.connect({
      version: 5,
      properties: { authenticationMethod: 'x', maximumPacketSize: 20 },
    })) as IConnackPacket;
    expect(connack.reasonCode).toBe(0x8c);
    expect(connack.properties?.reasonString).toBeUndefined();
  });
});

it('[MQTT-3.1.2-24] a client without room for CONNACK is refused with the shortest one', async () => {
  const client = (await openMqttWorld()).client();
  expect(await client.connect({ version: 5, properties: { maximumPacketSize: 10 } })).toMatchObject({
    reasonCode: 0x95,
    length: 3,
  });
  expect(client.ended?.reason).toBe('limit-reached');
});

describe('who this gateway is', () => {
  it('is told to bridges of others, which say so, and to nobody else', async () => {
    const world = await openMqttWorld();
    const bridge = { userProperties: { 'gw-bridge': 'ff'.repeat(16), site: 'north' } };
    expect(await world.client().connect({ version: 5, properties: bridge })).toMatchObject({
      properties: { userProperties: { 'gw-id': '00'.repeat(16) } },
    });
    const other = await world
      .client()
      .connect({ version: 5, properties: { userProperties: { site: 'north' } } });
    expect((other as { properties: object }).properties).not.toHaveProperty('userProperties');
  });
});

describe('taking over', () => {
  it('[MQTT-3.1.4-3] ends the older connection first, with 0x8E', async () => {
    const world = await openMqttWorld();
    const older = await world.connected({
      version: 5,
      clientId: 'c',
      properties: { sessionExpiryInterval: 60 },
    });
    await older.subscribe('t', 1);
    const newer = world.client();
    const connack = await newer.connect({
      version: 5,
      clientId: 'c',
      clean: false,
      properties: { sessionExpiryInterval: 60 },
    });
    expect(connack).toMatchObject({ sessionPresent: true });
    expect(older.ended?.reason).toBe('displaced');
    expect(await older.read()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }]);
    await newer.publish('t', 'x', { qos: 1, messageId: 1 });
    expect(world.core.sessions.get('c')?.attached).toBe(true);
  });

  it('leaves one of many that come at once', async () => {
    const world = await openMqttWorld();
    const clients = Array.from({ length: 5 }, () => new TestClient(world.adapter, world.clock));
    for (const client of clients) client.writeBytes(CONNECT_4);
    for (let i = 0; i < 5; i++) await world.clock.turn();
    expect(clients.filter((client) => client.ended === null)).toHaveLength(1);
    expect(clients[4]?.ended).toBeNull();
    expect((await (clients[4] as TestClient).readBytes()).toString('hex')).toBe('20020000');
  });

  it('of a session that ended with its connection finds nothing', async () => {
    const world = await openMqttWorld();
    const older = await world.connected({ version: 5, clientId: 'c' });
    await older.subscribe('t', 1);
    const connack = await world.client().connect({ version: 5, clientId: 'c', clean: false });
    expect(connack).toMatchObject({ sessionPresent: false });
  });
});

describe('keep alive', () => {
  it('[MQTT-3.1.2-22] closes after one and a half times without any packet', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5, keepalive: 10 });
    world.clock.advance(14_000);
    client.writeBytes('c000');
    world.clock.advance(14_000);
    expect(client.ended).toBeNull();
    await client.read();
    world.clock.advance(2_000);
    expect(client.ended?.reason).toBe('keep-alive-timeout');
    expect(await client.read()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8d }]);
  });

  it('of 0 never closes', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ keepalive: 0 });
    world.clock.advance(100_000_000);
    expect(client.ended).toBeNull();
  });
});
