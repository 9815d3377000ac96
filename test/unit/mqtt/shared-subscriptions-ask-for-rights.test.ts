/** A message of a shared subscription goes to a member that may read it; one that may not takes nothing from the others. */
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import { accessOf, authenticatorOf } from '../../support/doors.ts';
import { openMqttWorld } from './mqtt-world.ts';

const messagesIn = (packets: readonly Packet[]): IPublishPacket[] =>
  packets.filter((packet) => packet.cmd === 'publish') as IPublishPacket[];
const bodiesIn = (packets: readonly Packet[]): string[] =>
  messagesIn(packets).map(({ payload }) => payload.toString());

for (const qos of [0, 1] as const) {
  it(`QoS ${qos}`, async () => {
    const world = await openMqttWorld({
      access: accessOf(
        (principal, action, target) =>
          action !== 'read' || target !== 't/secret' || principal.user === 'trusted',
      ),
      authenticator: authenticatorOf((credentials) => ({
        user: 'user' in credentials ? String(credentials.user) : '',
        groups: [],
        clientId: '',
      })),
    });
    const properties = { receiveMaximum: 2 };
    const join = async (username: string) => {
      const client = await world.connected({
        version: 5,
        clientId: username,
        username,
        password: 'x',
        properties,
      });
      await client.subscribe('$share/g/t/#', qos);
      return client;
    };
    const [trusted, other] = [await join('trusted'), await join('other')];
    const sender = await world.connected({ version: 5, clientId: 'sender' });
    for (let i = 0; i < 6; i++) await sender.publish('t/secret', String(i), { qos, messageId: 1 });
    const seen: string[] = [];
    for (let round = 0; round < 6; round++) {
      const messages = messagesIn(await trusted.read());
      seen.push(...messages.map(({ payload }) => payload.toString()));
      for (const { messageId } of messages)
        if (qos === 1) trusted.write({ cmd: 'puback', messageId } as Packet);
    }
    expect(seen).toEqual(['0', '1', '2', '3', '4', '5']);
    await sender.publish('t/plain', 'a', { qos, messageId: 1 });
    await sender.publish('t/plain', 'b', { qos, messageId: 1 });
    expect([...bodiesIn(await trusted.read()), ...bodiesIn(await other.read())].sort()).toEqual(['a', 'b']);
  });
}
