/**
 * Names: every address has one name in each protocol, no two share one, and every name leads back. 100,000 names
 * are made of the pieces that tempt codecs to err: separators, escapes, digests, wildcards, reserved words.
 */

import { expect, test } from 'vitest';
import { addressFromAmqp091, amqp091FromAddress } from '../../../mappings/amqp091.ts';
import { protocolViews } from '../../../mappings/http.ts';
import { addressFromKafka, isDigestName, isTopicName, kafkaFromAddress } from '../../../mappings/kafka.ts';
import { addressFromTopic, patternFromFilter, topicFromAddress } from '../../../mappings/mqtt.ts';

const NAMES = 100_000;
const PIECES = [
  ...['a', 'b', 'Z', '9', '_', 'spBv1.0', 'G', 'NDATA', 'room1', 'orders', 'eu'],
  ...['/', '/', '/', '/', '.', '.', '..', '//', '-', '--'],
  ...[
    '-x',
    '-x2F',
    '-x2D',
    '-x41',
    '-x2',
    '-x2d',
    '-xC3-xA9',
    '-xFF',
    '-x2Dx41',
    'x2D',
    '-h',
    '-h0123456789abcdef01234567',
  ],
  ...['%', '%2F', '%252F', '%2B', '%23', '%25232B', '%2', '+', '#', '*'],
  ...['$queue', '$queue/', '$SYS', 'amq.topic', 'amq.gw.reply/', 'amq.gw.address', 'amq.topic/'],
  ...[' ', '\t', '\u0001', 'é', '€', '日本', '😀', '\u{10ffff}', '\ufeff', '̈'],
];

/** Small, fast and seeded, so that a failure comes again. */
function newRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function makeNames(count: number): string[] {
  const random = newRandom(7);
  const names = new Set<string>();
  for (let tries = 0; names.size < count && tries < 3 * count; tries++) {
    let name = '';
    for (let pieces = 1 + random(7); pieces > 0; pieces--) name += PIECES[random(PIECES.length)];
    const long = random(50);
    if (long === 0) name += 'n'.repeat(200 + random(80));
    if (long === 1) name = 'é'.repeat(100 + random(40)) + name;
    if (long === 2) name = 'm'.repeat(205 + random(20)) + name;
    names.add(name);
  }
  return [...names];
}

const names = makeNames(NAMES);

test('there are enough of them', () => {
  expect(names.length).toBe(NAMES);
});

test('an address has one name in each protocol, which leads back and is no other address’s', () => {
  const seen = {
    mqtt: new Map<string, string>(),
    amqp: new Map<string, string>(),
    kafka: new Map<string, string>(),
  };
  const failures: string[] = [];
  const note = (map: Map<string, string>, name: string, address: string, back: string, protocol: string) => {
    const other = map.get(name);
    if (other !== undefined) failures.push(`${protocol}: ${name} is ${other} and ${address}`);
    if (back !== address) failures.push(`${protocol}: ${address} came back from ${name} as ${back}`);
    map.set(name, address);
  };
  for (const address of names) {
    const topic = topicFromAddress(address);
    if (/[+#]/.test(topic)) failures.push(`mqtt: ${topic} is no topic name`);
    note(seen.mqtt, topic, address, addressFromTopic(topic), 'mqtt');
    const { exchange, key, long } = amqp091FromAddress(address, null);
    // A long address has a short marker for a key and travels in a header.
    if (!long) note(seen.amqp, `${exchange}\0${key}`, address, addressFromAmqp091(exchange, key), 'amqp091');
    const name = kafkaFromAddress(address);
    if (!isTopicName(name)) failures.push(`kafka: ${address} became ${name}, which is no topic name`);
    note(seen.kafka, name, address, isDigestName(name) ? address : addressFromKafka(name), 'kafka');
    if (failures.length > 20) break;
  }
  expect(failures).toEqual([]);
});

test('a name that a client of one protocol chose returns to it through every other', () => {
  const failures: string[] = [];
  const check = (from: string, name: string, address: string, again: string) => {
    if (again !== name) failures.push(`${from}: ${JSON.stringify(name)} (${address}) returned as ${again}`);
  };
  const through = (address: string): string => {
    const { exchange, key, long } = amqp091FromAddress(address, null);
    const afterAmqp = long ? address : addressFromAmqp091(exchange, key);
    const name = kafkaFromAddress(afterAmqp);
    const afterKafka = isDigestName(name) ? afterAmqp : addressFromKafka(name);
    return addressFromTopic(topicFromAddress(afterKafka));
  };
  for (const name of names) {
    if (!/[+#]/.test(name)) {
      const address = addressFromTopic(name);
      check('mqtt', name, address, topicFromAddress(through(address)));
    }
    const topic = name.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 249);
    if (isTopicName(topic) && !isDigestName(topic)) {
      const address = addressFromKafka(topic);
      check('kafka', topic, address, kafkaFromAddress(through(address)));
    }
    if (Buffer.byteLength(name) <= 255) {
      // The same address has several exchanges and keys in AMQP, so the address is what must return.
      const address = addressFromAmqp091('amq.topic', name);
      check('amqp091', address, address, through(address));
      const dot = name.indexOf('.');
      if (dot > 0) {
        const inner = addressFromAmqp091(name.slice(0, dot), name.slice(dot + 1));
        check('amqp091', inner, inner, through(inner));
      }
    }
    if (failures.length > 20) break;
  }
  expect(failures).toEqual([]);
});

test('a.b/c, a/b/c and a/b.c are three addresses everywhere', () => {
  const three = ['a.b/c', 'a/b/c', 'a/b.c'];
  for (const view of protocolViews) {
    const shown = three.map((address) => JSON.stringify(view.nameFromAddress(address).name));
    expect(new Set(shown).size, view.protocol).toBe(3);
  }
  expect(three.filter((address) => patternFromFilter('+/c')!.matches(address))).toEqual(['a.b/c']);
});

test('Sparkplug names need no configuration', () => {
  const address = 'spBv1.0/G/NDATA/n';
  expect(protocolViews.map((view) => view.nameFromAddress(address).name)).toEqual([
    { topic: 'spBv1.0/G/NDATA/n' },
    { exchange: 'spBv1.0', routingKey: 'G.NDATA.n' },
    { topic: 'spBv1-x2E0.G.NDATA.n' },
  ]);
  expect(addressFromAmqp091('amq.topic', 'spBv1/0.G.NDATA.n')).toBe(address);
});
