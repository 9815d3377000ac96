/** Section 4.7: topic names and filters. */

import { expect } from 'vitest';
import { clause, unique, useGateway } from '../clause.ts';
import { expectClosed, publishedIn } from '../expectations.ts';
import { packet, properties, publish, subscribe, Type, text, type Version } from '../packets.ts';

const server = useGateway();

/** A filter that cannot be: the connection closes, or SUBACK refuses it. */
async function refuseFilter(version: Version, filter: string): Promise<void> {
  const client = await server.connected(version);
  client.send(subscribe(version, 1, [[filter, 0]]));
  const first = await client.next().catch(() => null);
  if (first === null) return;
  expect([Type.SUBACK, Type.DISCONNECT]).toContain(first.type);
  expect(first.reason).toBeGreaterThanOrEqual(0x80);
}

async function countAt(version: Version, filter: string, topics: readonly string[]): Promise<string[]> {
  const client = await server.connected(version);
  expect((await client.subscribe([[filter, 0]])).reason).toBe(0);
  for (const topic of topics) client.send(publish(version, topic, 'x'));
  return publishedIn(await client.fence()).map((each) => each.slice(0, -2));
}

clause(
  '3.1.1 [MQTT-4.7.1-2] | 5.0 [MQTT-4.7.1-1]',
  'the many-level wildcard is a whole level and the last one',
  async (version) => {
    const base = unique();
    for (const filter of [`${base}#`, `${base}/#/x`, `${base}/a#`, '##', `${base}/##`]) {
      await refuseFilter(version, filter);
    }
    const topics = [base, `${base}/`, `${base}/a`, `${base}/a/b`, `${base}x`, `${base}x/a`];
    expect(await countAt(version, `${base}/#`, topics)).toEqual(topics.slice(0, 4));
    expect(await countAt(version, '#', topics)).toEqual(topics);
  },
);

clause(
  '3.1.1 [MQTT-4.7.1-3] | 5.0 [MQTT-4.7.1-2]',
  'the one-level wildcard is a whole level',
  async (version) => {
    const base = unique();
    for (const filter of [`${base}+`, `${base}/a+`, `${base}/+a/b`, '++'])
      await refuseFilter(version, filter);
    const topics = [`${base}/a/c`, `${base}//c`, `${base}/a`, `${base}/a/b/c`, `${base}/a/c/`];
    expect(await countAt(version, `${base}/+/c`, topics)).toEqual(topics.slice(0, 2));
    expect(await countAt(version, `+/+`, [`${base}/a`, `/${base}`, base, `${base}/a/b`])).toEqual([
      `${base}/a`,
      `/${base}`,
    ]);
  },
);

clause(
  '3.1.1 [MQTT-4.7.2-1] | 5.0 [MQTT-4.7.2-1]',
  'a wildcard at the beginning does not match a topic that begins with $',
  async (version) => {
    const base = unique();
    const topics = [`$${base}/a`, `${base}/a`];
    expect(await countAt(version, '#', topics)).toEqual([`${base}/a`]);
    expect(await countAt(version, '+/a', topics)).toEqual([`${base}/a`]);
    expect(await countAt(version, '+/+', topics)).toEqual([`${base}/a`]);
    expect(await countAt(version, `$${base}/#`, topics)).toEqual([`$${base}/a`]);
    const client = await server.connected(version);
    await client.publish(`$${base}/kept`, 'x', { retain: true });
    const replayed = publishedIn(await client.replayed([['#', 0]]));
    expect(replayed.filter((each) => each.startsWith('$'))).toEqual([]);
  },
);

clause(
  '3.1.1 [MQTT-4.7.3-1] | 5.0 [MQTT-4.7.3-1]',
  'empty topic names and filters are refused',
  async (version) => {
    const publisher = await server.connected(version);
    publisher.send(publish(version, '', 'x'));
    await expectClosed(publisher, 0x82, 0x90, 0x81);
    await refuseFilter(version, '');
    expect(await countAt(version, '/', ['/'])).toEqual(['/']);
  },
);

clause(
  '3.1.1 [MQTT-4.7.3-2] | 5.0 [MQTT-4.7.3-2]',
  'U+0000 in a filter or topic name is refused',
  async (version) => {
    const publisher = await server.connected(version);
    publisher.send(publish(version, 'a/\u0000', 'x'));
    await expectClosed(publisher, 0x81, 0x90);
    const subscriber = await server.connected(version);
    subscriber.send(subscribe(version, 1, [['a/\u0000', 0]]));
    await expectClosed(subscriber, 0x81, 0x8f);
  },
);

clause(
  '3.1.1 [MQTT-4.7.3-3] | 5.0 [MQTT-4.7.3-3]',
  'a topic name of 65,535 bytes is carried, and no more can be said',
  async (version) => {
    const topic = `${unique()}/`.padEnd(65_535, 'x');
    expect(await countAt(version, topic, [topic])).toEqual([topic]);
    // Two bytes of length: what follows the 65,535 bytes is no topic name any more.
    const client = await server.connected(version);
    await client.subscribe([[topic, 0]]);
    client.send(packet(0x30, text(topic), properties(version === 5 ? [] : null), Buffer.from('y')));
    expect((await client.expect(Type.PUBLISH)).payload).toBe('y');
  },
);

clause('3.1.1 [MQTT-4.7.3-4] | 5.0 [MQTT-4.7.3-4]', 'topics are compared as they are', async (version) => {
  const base = unique();
  const topics = [
    `${base}/ä`,
    `${base}/a\u0308`,
    `${base}/A`,
    `${base}/a`,
    `${base}//a`,
    `/${base}/a`,
    `${base}/a/`,
    `${base}/ a`,
    `${base}/%61`,
    `${base}/./a`,
    `${base}/\u200ba`,
    `${base}/\ufffd`,
  ];
  for (const topic of topics) expect(await countAt(version, topic, topics)).toEqual([topic]);
});
