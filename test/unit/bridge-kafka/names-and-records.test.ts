/** The parts of the Kafka driver that need no broker: names, sources, partitions, batches, what was sent, what is visible. */

import { createRequire } from 'node:module';
import type { RecordsBatch } from '@platformatic/kafka';
import fc from 'fast-check';
import Value from 'typebox/value';
import { describe, expect, it } from 'vitest';
import { messagesFromFetch } from '../../../adapters/bridge-kafka/fetched.ts';
import {
  assignRange,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from '../../../adapters/bridge-kafka/group-protocol.ts';
import { createKafkaBridgeDriver } from '../../../adapters/bridge-kafka/index.ts';
import {
  addressOfTopic,
  brokerFromText,
  checkSource,
  gatewayIdOfCluster,
  Sources,
  sourceFromPattern,
} from '../../../adapters/bridge-kafka/names.ts';
import { murmur2, partitionOfKey } from '../../../adapters/bridge-kafka/partitioner.ts';
import { chunksOf, halvesOf, type OutRecord, recordFrom } from '../../../adapters/bridge-kafka/records.ts';
import {
  forgettableOffset,
  isThere,
  markFrom,
  textOfRefused,
} from '../../../adapters/bridge-kafka/sent-mark.ts';
import { kafkaFromAddress } from '../../../mappings/kafka.ts';
import { Message } from '../../../src/core/index.ts';

describe('names', () => {
  it('reads brokers with and without a port', () => {
    expect(brokerFromText('kafka.example')).toEqual({ host: 'kafka.example', port: 9092 });
    expect(brokerFromText('10.0.0.1:19092')).toEqual({ host: '10.0.0.1', port: 19_092 });
    expect(brokerFromText('[::1]:9093')).toEqual({ host: '::1', port: 9093 });
    expect(() => brokerFromText('kafka:70000')).toThrow('1 to 65535');
  });

  it('knows a gateway like this by its cluster id', () => {
    const id = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
    expect(gatewayIdOfCluster(id.toString('base64url'))).toBe(id.toString('hex'));
    for (const other of ['redpanda.12345', '', null]) expect(gatewayIdOfCluster(other)).toBeNull();
  });

  it('makes a source of a pattern, which names the topics of its addresses and no others', () => {
    expect(sourceFromPattern('devices/d1/commands')).toBe('devices.d1.commands');
    const sources = new Sources([sourceFromPattern('spBv1.0/+/x-x41/#') as string]);
    for (const address of ['spBv1.0/a/x-x41', 'spBv1.0//x-x41/b/c', 'spBv1.0/a.b/x-x41/b']) {
      expect(sources.has(kafkaFromAddress(address), false), address).toBe(true);
    }
    for (const address of ['spBv1/0/a/x-x41', 'spBv1.0/a/b/x-x41', 'spBv1.0/a/x-x41b', 'x/spBv1.0/a/x-x41']) {
      expect(sources.has(kafkaFromAddress(address), false), address).toBe(false);
    }
    expect(new Sources([sourceFromPattern('#') as string]).has('__consumer_offsets', true)).toBe(false);
  });

  it('refuses what is no source', () => {
    for (const good of ['a.b-c_d', '/^a\\.b/']) expect(() => checkSource(good)).not.toThrow();
    for (const bad of ['', 'a/b', 'a b', '/(/', '..']) expect(() => checkSource(bad), bad).toThrow();
  });

  it('refuses expressions that could hold up everything else, and takes those that patterns are made to', () => {
    for (const bad of [
      '/^(a+)+$/',
      '/a.*b.*c/',
      '/^.*x.*y.*z$/',
      '/^[^.]*[^.]*[^.]*$/',
      '/^[^a]*a?[^a]*a?[^a]*a?$/',
      '/(?=a)/',
      '/a*?/',
      '/^(a|a)*$/',
    ]) {
      expect(() => checkSource(bad), bad).toThrow();
    }
    for (const good of [
      '/^a\\.[^.]*\\.b/',
      '/telemetry/',
      '/site-\\d+$/',
      '/^(a|b)\\.[\\w.-]+$/',
      '/.*/',
      '/^a.*b.*c$/',
    ]) {
      expect(() => checkSource(good), good).not.toThrow();
    }
    const patterns = [
      '#',
      '+',
      '+/+',
      '+/+/#',
      'a/+/b/+/c/+/d/+/#',
      `${'+/'.repeat(60)}#`,
      `${'+/'.repeat(60)}x`,
    ];
    for (const pattern of patterns)
      expect(() => checkSource(sourceFromPattern(pattern) as string), pattern).not.toThrow();
    const worst = new Sources([sourceFromPattern(`${'+/'.repeat(60)}x`) as string, '/^a.*b.*c$/', '/b.*c$/']);
    const begunMs = performance.now();
    for (const name of [`${'a.'.repeat(120)}y`, 'ab'.repeat(124), 'b'.repeat(249)]) worst.has(name, false);
    expect(performance.now() - begunMs).toBeLessThan(500);
  });

  it('believes a record about its address only where the topic is the digest of it', () => {
    const long = `a/${'é'.repeat(200)}`;
    expect(addressOfTopic(kafkaFromAddress(long), long)).toBe(long);
    expect(addressOfTopic(kafkaFromAddress(long), 'other')).not.toBe('other');
    expect(addressOfTopic('a.b', 'other')).toBe('a/b');
  });
});

describe('settings', () => {
  it('have defaults, and refuse what is out of bounds', () => {
    const { connectionSchema, optionsSchema } = createKafkaBridgeDriver();
    const connection = Value.Default(connectionSchema, { brokers: ['a:1'] });
    expect(Value.Check(connectionSchema, connection)).toBe(true);
    expect(Value.Check(optionsSchema.out, Value.Default(optionsSchema.out, {}))).toBe(true);
    expect(Value.Check(optionsSchema.in, Value.Default(optionsSchema.in, {}))).toBe(true);
    for (const wrong of [
      { brokers: [] },
      { brokers: ['http://a'] },
      { requestTimeoutMs: 1 },
      { sasl: { mechanism: 'x' } },
    ]) {
      expect(
        Value.Check(connectionSchema, { ...(connection as object), ...wrong }),
        JSON.stringify(wrong),
      ).toBe(false);
    }
  });
});

describe('partitions', () => {
  it("are those of another implementation of the Java client's hash", () => {
    const theirs = createRequire(import.meta.url)('kafkajs/src/producer/partitioners/default/murmur2.js') as (
      key: Buffer,
    ) => number;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (key) => murmur2(key) === theirs(Buffer.from(key))),
    );
    expect(partitionOfKey(Buffer.from('21'), 1)).toBe(0);
  });

  it('keep every record, once, in the order of its partition', () => {
    const record = fc.record({
      topic: fc.constantFrom('a', 'b'),
      key: fc.option(fc.constantFrom('x', 'y', 'z')),
      bytes: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(fc.array(record, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), (list, count) => {
        const records = list.map(({ topic, key, bytes }, index) => ({
          index,
          topic,
          routing: key === null ? null : Buffer.from(key),
          bytes,
        })) as unknown as OutRecord[];
        const lists = chunksOf(records, () => count, new Map(), 161);
        for (const chunks of lists) {
          const indexes = chunks.flatMap((chunk) => chunk.records.map(({ index }) => index));
          expect(indexes).toEqual([...indexes].sort((a, b) => a - b));
          for (const chunk of chunks) {
            const bytes = chunk.records.reduce((sum, each) => sum + each.bytes, 0);
            expect(chunk.records.length === 1 || bytes <= 100).toBe(true);
          }
        }
        const all = lists.flat().flatMap((chunk) => chunk.records.map(({ index }) => index));
        expect(all.sort((a, b) => a - b)).toEqual(records.map(({ index }) => index));
      }),
    );
  });

  it('are chosen by the address where there is no key, so that its order is kept', () => {
    const message = new Message({ address: 'd/1', body: Buffer.from('x') });
    expect(recordFrom(message, 0, 'address')).toMatchObject({ key: null, routing: Buffer.from('d/1') });
    expect(recordFrom(message, 0, 'spread')).toMatchObject({ key: null, routing: null });
    expect(recordFrom(new Message({ address: '', body: Buffer.from('x') }), 0, 'address')).toBeNull();
  });

  it('take a record whose publisher gave a time that Kafka cannot hold', () => {
    for (const timestampMs of [Number.NaN, Infinity, -5, 1e300]) {
      const properties = { headers: [], timestampMs };
      const message = new Message({ address: 'a', body: Buffer.from('x'), timestampMs: 1_000, properties });
      expect(recordFrom(message, 0, 'address')?.timestampMs, String(timestampMs)).toBe(1_000);
    }
  });

  it('are halved until one is left', () => {
    const records = [0, 1, 2].map((index) => ({ index })) as unknown as OutRecord[];
    const halves = halvesOf({ topic: 'a', partition: 0, records });
    expect(halves.map((half) => half.records.map(({ index }) => index))).toEqual([[0], [1, 2]]);
  });
});

describe('what was sent', () => {
  it('is the largest offset, without what was refused', () => {
    expect(markFrom([])).toBeNull();
    const mark = markFrom([
      { offset: 7n, text: textOfRefused([5]) },
      { offset: 9n, text: textOfRefused([5, 8]) },
      { offset: -1n, text: null },
    ]);
    expect(mark).toEqual({ offset: 9, refused: [5, 8] });
    expect(forgettableOffset(mark as NonNullable<typeof mark>)).toBe(4);
    expect([4, 5, 7, 8, 9, 10].map((offset) => isThere(mark, offset))).toEqual([
      true,
      false,
      true,
      false,
      true,
      false,
    ]);
    expect(forgettableOffset({ offset: 3, refused: [0] })).toBeNull();
  });

  it('fits into what brokers take, the newest first', () => {
    const many = Array.from({ length: 5_000 }, (_, index) => index);
    const text = textOfRefused(many);
    expect(text.length).toBeLessThan(4_096);
    expect(markFrom([{ offset: 5_000n, text }])?.refused.at(-1)).toBe(4_999);
  });
});

describe('groups', () => {
  it('read what they write, and refuse what ends too early', () => {
    expect(decodeSubscription(encodeSubscription(['a', 'é']))).toEqual(['a', 'é']);
    const assignment = new Map([
      ['a', [0, 2]],
      ['b', []],
    ]);
    expect(decodeAssignment(encodeAssignment(assignment))).toEqual(assignment);
    const bytes = encodeAssignment(assignment);
    for (let length = 1; length < bytes.length - 4; length++) {
      expect(() => decodeAssignment(bytes.subarray(0, length)), String(length)).toThrow(RangeError);
    }
  });

  it('share each topic among those who want it', () => {
    const members = [
      { id: 'm2', topics: ['a'] },
      { id: 'm1', topics: ['a', 'b'] },
    ];
    const shares = assignRange(members, (topic) => (topic === 'a' ? 3 : 1));
    expect(shares.get('m1')).toEqual(
      new Map([
        ['a', [0, 1]],
        ['b', [0]],
      ]),
    );
    expect(shares.get('m2')).toEqual(new Map([['a', [2]]]));
  });
});

describe('what is visible of an answer', () => {
  const [TRANSACTIONAL, CONTROL] = [0x10, 0x20];
  const batch = (
    firstOffset: bigint,
    producerId: bigint,
    attributes: number,
    ...keys: Buffer[]
  ): RecordsBatch => ({
    firstOffset,
    length: 0,
    partitionLeaderEpoch: 0,
    magic: 2,
    crc: 0,
    attributes,
    lastOffsetDelta: keys.length - 1,
    firstTimestamp: 1_000n,
    maxTimestamp: 1_000n,
    producerId,
    producerEpoch: 0,
    firstSequence: 0,
    records: keys.map((key, offsetDelta) => ({
      length: 0,
      attributes: 0,
      timestampDelta: 5n,
      offsetDelta,
      key,
      value: key,
      headers: [],
    })),
  });
  const [abort, commit] = [Buffer.from([0, 0, 0, 0]), Buffer.from([0, 0, 0, 1])];
  const data = (text: string): Buffer[] => [...text].map((letter) => Buffer.from(letter));

  it('leaves out what came before, marks, and transactions that were taken back', () => {
    const records = [
      batch(0n, 1n, TRANSACTIONAL, ...data('ab')),
      batch(2n, 2n, TRANSACTIONAL, ...data('c')),
      batch(3n, 1n, TRANSACTIONAL | CONTROL, abort),
      batch(4n, 1n, TRANSACTIONAL, ...data('d')),
      batch(5n, 1n, TRANSACTIONAL | CONTROL, commit),
      batch(6n, 2n, TRANSACTIONAL | CONTROL, commit),
      batch(7n, 1n, TRANSACTIONAL, ...data('e')),
      batch(8n, -1n, 0, ...data('fg')),
    ];
    const abortedTransactions = [
      { producerId: 1n, firstOffset: 7n },
      { producerId: 1n, firstOffset: 0n },
    ];
    const bodies = (from: bigint): string =>
      messagesFromFetch('t', { records, abortedTransactions }, from)
        .messages.map(({ message }) => Buffer.from(message.body).toString())
        .join('');
    expect(bodies(0n)).toBe('cdfg');
    expect(bodies(9n)).toBe('g');
    expect(messagesFromFetch('t', { records, abortedTransactions }, 0n).next).toBe(10n);
    expect(messagesFromFetch('t', { records: [], abortedTransactions: null }, 4n)).toEqual({
      messages: [],
      next: 4n,
    });
  });
});
