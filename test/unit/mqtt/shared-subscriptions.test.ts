/** `$share` through the MQTT adapter: names, what goes to whom, and QoS 2 that stays with the client it was sent to. */
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import { accessOf } from '../../support/doors.ts';
import { openMqttWorld } from './mqtt-world.ts';

function bodies(packets: readonly Packet[]): string[] {
  return packets.filter((p): p is IPublishPacket => p.cmd === 'publish').map((p) => String(p.payload));
}

async function unsubscribe(client: Awaited<ReturnType<typeof open>>, filter: string) {
  client.write({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: [filter] } as Packet);
  return (await client.read()).filter((packet) => packet.cmd === 'unsuback');
}

const open = async (version: 3 | 4 | 5 = 5, clientId = 'client') =>
  (await openMqttWorld()).connected({ version, clientId });

describe('$share', () => {
  it('[MQTT-4.8.2-1] [MQTT-4.8.2-2] has a name without wildcards, then a filter', async () => {
    const client = await open();
    for (const filter of [
      '$share',
      '$share/',
      '$share/g',
      '$share/g/',
      '$share//t',
      '$share/+/t',
      '$share/a#/t',
      '$share/g/$queue/q',
    ])
      expect(await client.subscribe(filter), filter).toMatchObject([{ granted: [0x8f] }]);
    expect(await client.subscribe('$share/g//t', 1)).toMatchObject([{ granted: [1] }]);
  });

  it('[MQTT-3.8.3-4] does not go with No Local', async () => {
    const client = await open();
    await client.subscribe('$share/g/t', 1, { nl: true });
    expect(client.ended?.reason).toBe('protocol-error');
  });

  it('asks for the rights of the filter inside', async () => {
    const access = accessOf(
      (_: unknown, action: string, target: string) => action !== 'subscribe' || target !== 'no',
    );
    const client = await (await openMqttWorld({ access })).connected({ version: 5 });
    expect(await client.subscribe('$share/g/no')).toMatchObject([{ granted: [0x87] }]);
    expect(await client.subscribe('$share/g/yes')).toMatchObject([{ granted: [0] }]);
  });

  it('divides messages among versions, each with its own QoS and subscription identifier', async () => {
    const world = await openMqttWorld();
    const a = await world.connected({ version: 5, clientId: 'a' });
    await a.subscribe('$share/g/#', 0, { properties: { subscriptionIdentifier: 7 } });
    const b = await world.connected({ version: 4, clientId: 'b' });
    await b.subscribe('$share/g/#', 2);
    const c = await world.connected({ version: 3, clientId: 'c' });
    await c.subscribe('$share/g/#', 1);
    const p = await world.connected({ version: 4, clientId: 'p' });
    for (let i = 0; i < 3; i++) await p.publish('t', `${i}`, { qos: 2, messageId: i + 1 });
    for (let i = 0; i < 3; i++) p.write({ cmd: 'pubrel', messageId: i + 1 } as Packet);
    await p.read();
    const [one, two, three] = [await a.read(), await b.read(), await c.read()];
    expect([one.length, two.length, three.length]).toEqual([1, 1, 1]);
    expect(one).toMatchObject([{ qos: 0, properties: { subscriptionIdentifier: 7 } }]);
    expect(two).toMatchObject([{ qos: 2 }]);
    expect(three).toMatchObject([{ qos: 1 }]);
    expect(new Set(bodies([...one, ...two, ...three])).size).toBe(3);
  });

  it('gets nothing of what topics remember, nor of topics that begin with $', async () => {
    const world = await openMqttWorld();
    const p = await world.connected({ version: 5, clientId: 'p' });
    await p.publish('t', 'remembered', { retain: true });
    const client = await world.connected({ version: 5, clientId: 'c' });
    expect(bodies(await client.subscribe('$share/g/#'))).toEqual([]);
    world.core.announce((await import('../../support/core.ts')).messageTo('$SYS/x', 'system'));
    expect(bodies(await client.read())).toEqual([]);
    await p.publish('t', 'live', { retain: true });
    expect(bodies(await client.read())).toEqual(['live']);
  });

  it('is one subscription for each group, beside the plain one, and ends by its full filter', async () => {
    const world = await openMqttWorld();
    const client = await world.connected({ version: 5, clientId: 'c' });
    for (const filter of ['$share/g/t', '$share/h/t', 't']) await client.subscribe(filter);
    const p = await world.connected({ version: 4, clientId: 'p' });
    await p.publish('t', 'm');
    expect(bodies(await client.read())).toEqual(['m', 'm', 'm']);
    expect(await unsubscribe(client, '$share/i/t')).toMatchObject([{ granted: [0x11] }]);
    expect(await unsubscribe(client, 't')).toMatchObject([{ granted: [0] }]);
    expect(await unsubscribe(client, '$share/g/t')).toMatchObject([{ granted: [0] }]);
    await p.publish('t', 'n');
    expect(bodies(await client.read())).toEqual(['n']);
  });

  it('[MQTT-4.8.2-5] completes QoS 2 with the client that it was sent to, and passes QoS 1 on', async () => {
    const world = await openMqttWorld();
    const session = { version: 5 as const, properties: { sessionExpiryInterval: 100 } };
    const a = await world.connected({ ...session, clientId: 'a' });
    await a.subscribe('$share/g/t', 2);
    const p = await world.connected({ version: 4, clientId: 'p' });
    await p.publish('t', 'one', { qos: 1, messageId: 1 });
    await p.publish('t', 'two', { qos: 2, messageId: 2 });
    const [, sent] = (await a.read()) as IPublishPacket[];
    const b = await world.connected({ ...session, clientId: 'b' });
    await b.subscribe('$share/g/t', 2);
    a.drop();
    expect(bodies(await b.read())).toEqual(['one']);
    const again = world.client();
    await again.connect({ ...session, clientId: 'a', clean: false });
    expect(await again.read()).toMatchObject([{ messageId: sent?.messageId, dup: true, qos: 2 }]);
  });

  it('[MQTT-4.8.2-6] discards what a member refuses', async () => {
    const world = await openMqttWorld();
    const a = await world.connected({ version: 5, clientId: 'a' });
    await a.subscribe('$share/g/t', 1);
    const p = await world.connected({ version: 4, clientId: 'p' });
    await p.publish('t', 'bad', { qos: 1, messageId: 1 });
    const [sent] = (await a.read()) as IPublishPacket[];
    const b = await world.connected({ version: 5, clientId: 'b' });
    await b.subscribe('$share/g/t', 1);
    a.write({ cmd: 'puback', messageId: sent?.messageId, reasonCode: 0x80 } as Packet);
    await a.read();
    a.drop();
    expect(bodies(await b.read())).toEqual([]);
  });

  it('keeps the receive maximum of a member and gives the rest to the next', async () => {
    const world = await openMqttWorld();
    const slow = await world.connected({ version: 5, clientId: 'slow', properties: { receiveMaximum: 1 } });
    await slow.subscribe('$share/g/t', 1);
    const quick = await world.connected({ version: 5, clientId: 'quick' });
    await quick.subscribe('$share/g/t', 1);
    const p = await world.connected({ version: 4, clientId: 'p' });
    for (let i = 0; i < 10; i++) await p.publish('t', `${i}`, { qos: 1, messageId: i + 1 });
    expect(bodies(await slow.read()).length).toBe(1);
    expect(bodies(await quick.read()).length).toBe(9);
  });
});
