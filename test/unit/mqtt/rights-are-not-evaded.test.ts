/** What one name of an address is refused, no other name of it is granted. */

import type { IConnackPacket, IPublishPacket, Packet } from 'mqtt-packet';
import { expect, it } from 'vitest';
import { Acl } from '../../../src/auth/acl.ts';
import { type AclRuleDefinition, ruleFromDefinition } from '../../../src/auth/acl-rule.ts';
import { authenticatorOf } from '../../support/doors.ts';
import { type MqttWorld, openMqttWorld, type TestClient } from './mqtt-world.ts';

const byName = authenticatorOf((credentials, { clientId }) => ({
  user: credentials.kind === 'password' ? credentials.user : '',
  groups: [],
  clientId,
}));

const RULES: readonly AclRuleDefinition[] = [
  { effect: 'allow', user: 'admin', actions: ['all'], pattern: '#' },
  { effect: 'allow', user: 'admin', actions: ['all'], pattern: '$queue/#' },
  { effect: 'allow', actions: ['readwrite'], pattern: 'open/#' },
  { effect: 'allow', actions: ['readwrite'], pattern: 'own/%c/#' },
  { effect: 'allow', actions: ['readwrite'], pattern: '%u/#' },
  { effect: 'deny', user: 'eve', actions: ['read'], pattern: 'open/secret/#' },
];

async function openWorld(): Promise<MqttWorld> {
  const acl = new Acl('deny', 16);
  acl.replace('test', RULES.map(ruleFromDefinition));
  return openMqttWorld({ access: acl, authenticator: byName });
}

const as = (world: MqttWorld, username: string, clientId: string, more: object = {}): Promise<TestClient> =>
  world.connected({ version: 5, username, password: 'x', clientId, ...more });

const codesOf = (packets: readonly Packet[]): unknown[] =>
  packets.map((packet) => {
    const { reasonCode, granted } = packet as { reasonCode?: number; granted?: unknown };
    return granted ?? reasonCode;
  });

it('publishing by an alias, later, to a queue or by a will', async () => {
  const world = await openWorld();
  const admin = await as(world, 'admin', 'admin');
  await admin.subscribe('#', 1);
  const eve = await as(world, 'eve', 'eve');
  const publish = async (topic: string, more: object = {}): Promise<unknown> =>
    codesOf(await eve.publish(topic, 'x', { qos: 1, messageId: 1, ...more }))[0];
  expect(await publish('closed', { properties: { topicAlias: 1 } })).toBe(0x87);
  expect(await publish('', { properties: { topicAlias: 1 } })).toBe(0x87);
  expect(await publish('open/1', { properties: { topicAlias: 1 } })).toBe(0);
  expect(await publish('', { properties: { topicAlias: 1 } })).toBe(0);
  for (const topic of ['$delayed/0/closed', '$delayed/5/closed', '$queue/jobs', '$q/jobs/a', '$dlq/jobs']) {
    expect(await publish(topic), topic).toBe(0x87);
  }
  expect(await publish('$delayed/1/$q/jobs')).toBe(0x87);
  expect(await publish('$queue/jobs/$ack')).toBeGreaterThanOrEqual(0x80);
  expect(await publish('closed', { retain: true })).toBe(0x87);
  expect(world.core.retained.count).toBe(0);
  const will = { topic: 'closed', payload: Buffer.from('x'), qos: 1, retain: true };
  (await as(world, 'eve', 'eve2', { will })).drop();
  world.clock.advance(10_000);
  const topics = (await admin.read()).map((packet) => (packet as IPublishPacket).topic);
  expect(topics).toEqual(['open/1', 'open/1']);
  expect([...world.core.queues.list()]).toEqual([]);
});

it('reading by a shared, a queue, a stream or a wide filter, and what is retained', async () => {
  const world = await openWorld();
  const admin = await as(world, 'admin', 'admin');
  await admin.publish('open/secret/1', 'kept', { retain: true, qos: 1, messageId: 1 });
  await admin.publish('open/1', 'kept', { retain: true, qos: 1, messageId: 1 });
  const eve = await as(world, 'eve', 'eve');
  for (const filter of [
    '#',
    '+/+',
    'closed',
    '$share/g/#',
    '$share/g/closed',
    '$queue/jobs',
    '$q/jobs/#',
    '$dlq/jobs',
  ]) {
    const [suback] = codesOf(await eve.subscribe(filter, 1)) as number[][];
    expect(suback?.[0], filter).toBeGreaterThanOrEqual(0x80);
  }
  const answers = await eve.subscribe('open/#', 1);
  expect(answers.map(({ cmd }) => cmd)).toEqual(['suback', 'publish']);
  expect((answers[1] as IPublishPacket).topic).toBe('open/1');
  await admin.publish('open/secret/2', 'live', { qos: 1, messageId: 2 });
  expect(await eve.read()).toEqual([]);
});

it('names with wildcards, levels or roots in them', async () => {
  const world = await openWorld();
  const reached = async (user: string, clientId: string, topic: string): Promise<unknown> => {
    const client = world.client();
    const connack = await client.connect({ version: 5, username: user, password: 'x', clientId });
    expect((connack as IConnackPacket).reasonCode).toBe(0);
    const [code] = codesOf(await client.publish(topic, 'x', { qos: 1, messageId: 1 }));
    client.drop();
    return code;
  };
  expect(await reached('u', 'c', 'own/c/x')).toBe(0x10);
  expect(await reached('u', 'c/d', 'own/c/d/x')).toBe(0x87);
  expect(await reached('u', 'c', 'u/x')).toBe(0x10);
  expect(await reached('%c', 'closed', 'closed/x')).toBe(0x87);
  expect(await reached('$queue', 'c', '$queue/jobs')).toBe(0x87);
  for (const name of ['+', '#', 'a/#']) {
    const client = await as(world, name, `i${name}`);
    for (const filter of ['#', '+/x', 'own/+/x', 'own/#', 'a/#']) {
      const [suback] = codesOf(await client.subscribe(filter, 1)) as number[][];
      expect(suback?.[0], `${name} ${filter}`).toBeGreaterThanOrEqual(0x80);
    }
  }
});
