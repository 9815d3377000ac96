import type { IConnackPacket, IDisconnectPacket, IPublishPacket, Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import { openMqttWorld } from './mqtt-world.ts';

it('[MQTT-3.1.2-28] gives response information only where it is set and asked for', async () => {
  const world = await openMqttWorld({ settings: { responseInformation: 'replies/%c/' } });
  const asked = async (clientId: string, requestResponseInformation: boolean): Promise<unknown> => {
    const properties = { requestResponseInformation };
    const connack = await world.client().connect({ version: 5, clientId, properties });
    return (connack as IConnackPacket).properties?.responseInformation;
  };
  expect(await asked('c1', true)).toBe('replies/c1/');
  expect(await asked('c1', false)).toBeUndefined();
  expect(await asked('c#', true)).toBeUndefined();
  const off = await openMqttWorld();
  const properties = { requestResponseInformation: true };
  const connack = (await off.client().connect({ version: 5, properties })) as IConnackPacket;
  expect(connack.properties?.responseInformation).toBeUndefined();
});

it('sends every client to another server for good where it is told to', async () => {
  const settings = { serverReference: 'other:1883', redirect: 'always' } as const;
  const world = await openMqttWorld({ settings });
  const client = world.client();
  const connack = (await client.connect({ version: 5 })) as IConnackPacket;
  expect(connack).toMatchObject({ reasonCode: 0x9d, sessionPresent: false });
  expect(connack.properties?.serverReference).toBe('other:1883');
  expect(client.ended?.reason).toBe('administrative');
  expect(await world.client().connect({ version: 4 })).toMatchObject({ returnCode: 3 });
});

it('sends clients to another server for a while when the gateway stops, those that are there too', async () => {
  let isDraining = false;
  const world = await openMqttWorld({
    settings: { serverReference: 'other:1883' },
    isDraining: () => isDraining,
  });
  const client = await world.connected({ version: 5, clientId: 'a' });
  const older = await world.connected({ version: 4, clientId: 'b' });
  isDraining = true;
  const connack = (await world.client().connect({ version: 5, clientId: 'c' })) as IConnackPacket;
  expect(connack).toMatchObject({ reasonCode: 0x9c });
  client.handler.disconnect('shutting-down');
  older.handler.disconnect('shutting-down');
  const [farewell] = (await client.read()) as IDisconnectPacket[];
  expect(farewell).toMatchObject({ cmd: 'disconnect', reasonCode: 0x9c });
  expect(farewell?.properties?.serverReference).toBe('other:1883');
  expect(await older.read()).toEqual([]);
  expect(older.ended?.reason).toBe('shutting-down');
});

it('says only that it stops where there is no other server', async () => {
  const world = await openMqttWorld({ isDraining: () => true });
  const client = await world.connected({ version: 5 });
  client.handler.disconnect('shutting-down');
  expect(await client.read()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8b }]);
});

it('refuses payloads that are not the text that they are said to be, where it is told to look', async () => {
  const text = { properties: { payloadFormatIndicator: true } };
  const invalid = Buffer.from([0xff, 0xfe]) as unknown as string;
  const world = await openMqttWorld({ settings: { checkPayloadFormat: true } });
  const client = await world.connected({ version: 5, clientId: 'a' });
  await client.subscribe('t');
  const publish = (payload: string, options: Record<string, unknown>): Promise<Packet[]> =>
    client.publish('t', payload, { qos: 1, messageId: 5, ...options });
  expect(await publish(invalid, text)).toMatchObject([{ cmd: 'puback', reasonCode: 0x99 }]);
  expect(await publish(invalid, { ...text, qos: 2 })).toMatchObject([{ cmd: 'pubrec', reasonCode: 0x99 }]);
  expect(await publish(invalid, { ...text, qos: 0 })).toEqual([]);
  expect(await publish('fine', text)).toHaveLength(2);
  expect(await publish(invalid, {})).toHaveLength(2);
  const will = { topic: 'w', payload: Buffer.from([0xff]), qos: 0, retain: false, ...text };
  expect(await world.client().connect({ version: 5, clientId: 'b', will })).toMatchObject({
    reasonCode: 0x99,
  });
  const careless = await openMqttWorld();
  const other = await careless.connected({ version: 5 });
  expect(await other.publish('t', invalid, { qos: 1, messageId: 5, ...text })).toMatchObject([
    { cmd: 'puback', reasonCode: 0x10 },
  ]);
});

it('does not read a client that publishes faster than it may, and loses nothing of it', async () => {
  const world = await openMqttWorld({ mqttLimits: { messagesPerSecondMax: 10 } });
  const watcher = await world.connected({ clientId: 'w' });
  await watcher.subscribe('t');
  const client = await world.connected({ clientId: 'p', keepalive: 1 });
  client.writeBytes(Buffer.concat(Array.from({ length: 35 }, () => Buffer.from('300400017431', 'hex'))));
  expect(await watcher.read()).toHaveLength(11);
  expect(client.transport.paused).toBe(true);
  let came = 11;
  for (let seconds = 0; seconds < 3; seconds++) {
    world.clock.advance(1_000);
    came += (await watcher.read()).length;
  }
  expect(came).toBe(35);
  expect(client.ended).toBeNull();

  expect(client.transport.paused).toBe(false);
});

it('bounds bytes a second, and says 0x96 where the operator wants the client gone', async () => {
  const settings = { overRate: 'disconnect' } as const;
  const world = await openMqttWorld({ settings, mqttLimits: { bytesPerSecondMax: 100 } });
  const client = await world.connected({ version: 5 });
  await client.publish('t', 'x'.repeat(90));
  expect(client.ended).toBeNull();
  world.clock.advance(1_000);
  await client.publish('t', 'x'.repeat(90));
  expect(await client.publish('t', 'x'.repeat(90))).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x96 }]);
  expect(client.ended?.reason).toBe('limit-reached');
});

it('refuses for a while a client that connects again and again, and no other', async () => {
  const world = await openMqttWorld({ mqttLimits: { connectsPerMinuteMax: 3, connectRefusedSeconds: 30 } });
  const connect = async (clientId: string): Promise<number | undefined> => {
    const client = world.client();
    const connack = (await client.connect({ version: 5, clientId })) as IConnackPacket;
    client.drop();
    return connack.reasonCode;
  };
  for (let times = 0; times < 4; times++) expect(await connect('flapping')).toBe(0);
  expect(await connect('flapping')).toBe(0x9f);
  expect(await connect('other')).toBe(0);
  world.clock.advance(60_000);
  expect(await connect('flapping')).toBe(0);
});

it('delivers the bytes of a text payload as they are', async () => {
  const world = await openMqttWorld({ settings: { checkPayloadFormat: true } });
  const client = await world.connected({ version: 5 });
  await client.subscribe('t');
  const [publish] = (await client.publish('t', 'grüße', {
    properties: { payloadFormatIndicator: true },
  })) as IPublishPacket[];
  expect(String(publish?.payload)).toBe('grüße');
  expect(publish?.properties?.payloadFormatIndicator).toBe(true);
});
