/** Messages that a bridge sends to a real Apache Kafka: what arrives, what is refused, and how failures are told. */
import { execFileSync } from 'node:child_process';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Header } from '../../../src/core/index.ts';
import { LinkError } from '../../../src/outside.ts';
import { describeMissing, locatePeer } from '../../peers/programs.ts';
import { pickPort } from '../../support/ports.ts';
import { KafkaBroker, PASSWORD, USER } from './kafka-broker.ts';
import { batchOf, logged, message, openLink, until } from './kafka-links.ts';
import { readAll } from './kafka-records.ts';

const missing = describeMissing('kafka', 'java', 'kcat');

describe.skipIf(missing !== null)(`a bridge to Kafka${missing === null ? '' : `: ${missing}`}`, () => {
  let broker: KafkaBroker;
  beforeAll(async () => {
    broker = await KafkaBroker.start();
  });
  afterAll(() => broker?.stop());

  const failureOf = async (connecting: Promise<unknown>): Promise<LinkError> => {
    const error = await connecting.then(() => null).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(LinkError);
    return error as LinkError;
  };

  it('keeps body, key, time and headers, with repeats in their order', async () => {
    await broker.createTopic('devices.d1');
    const { link } = await openLink({ brokers: [broker.address] });
    const headers: Header[] = [
      { name: '9', value: { kind: 'string', value: 'first' } },
      { name: 'gw-path', value: { kind: 'string', value: 'aa,bb' } },
      { name: '1', value: { kind: 'string', value: 'second' } },
      { name: '9', value: { kind: 'string', value: 'third' } },
    ];
    const sent = message('devices/d1', '21.5', {
      key: Buffer.from('d1'),
      properties: { headers, contentType: 'text/plain' },
    });
    const tombstone = message('devices/d1', '', { key: Buffer.from('d1'), nullBody: true });
    expect(await link.send(batchOf([sent, tombstone]))).toEqual([null, null]);
    const [record, removal] = await readAll(broker.address, 'devices.d1');
    expect(record).toMatchObject({ key: 'd1', payload: '21.5', ts: 1_700_000_000_000 });
    expect(record?.headers).toEqual([
      'content-type',
      'text/plain',
      '9',
      'first',
      'gw-path',
      'aa,bb',
      '1',
      'second',
      '9',
      'third',
    ]);
    expect(removal).toMatchObject({ key: 'd1', payload: null });
    await link.close();
  });

  it('puts keys where the Java client would, and keeps the order of each', async () => {
    await broker.createTopic('telemetry', 6);
    const { link } = await openLink({ brokers: [broker.address] });
    for (let round = 0; round < 5; round++) {
      const batch = Array.from({ length: 600 }, (_, index) =>
        message('telemetry', String(round * 600 + index), { key: Buffer.from(`device-${index % 30}`) }),
      );
      expect((await link.send(batchOf(batch, round * 600))).every((answer) => answer === null)).toBe(true);
    }
    const records = await readAll(broker.address, 'telemetry');
    expect(records).toHaveLength(3_000);
    expect(new Set(records.map(({ partition }) => partition)).size).toBe(6);
    const byKey = new Map<string, number[]>();
    for (const { key, payload } of records) {
      byKey.set(`${key}`, [...(byKey.get(`${key}`) ?? []), Number(payload)]);
    }
    for (const bodies of byKey.values()) expect(bodies).toEqual([...bodies].sort((a, b) => a - b));
    // The same keys from librdkafka, whose murmur2 is Java's.
    await broker.createTopic('elsewhere', 6);
    const lines = [...byKey.keys()].map((key) => `${key}:x\n`).join('');
    const options = ['-P', '-b', broker.address, '-t', 'elsewhere', '-K:', '-X', 'topic.partitioner=murmur2'];
    execFileSync(locatePeer('kcat'), options, { input: lines });
    const partitionOf = new Map(records.map(({ key, partition }) => [key, partition]));
    for (const { key, partition } of await readAll(broker.address, 'elsewhere')) {
      expect(partition, `${key}`).toBe(partitionOf.get(key));
    }
    await link.close();
  });

  it.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'])('compresses with %s', async (compression) => {
    await broker.createTopic(`compressed.${compression}`);
    const { link } = await openLink({ brokers: [broker.address], options: { compression } });
    const bodies = Array.from({ length: 50 }, (_, index) => `${index} ${'x'.repeat(200)}`);
    await link.send(batchOf(bodies.map((body) => message(`compressed/${compression}`, body))));
    expect(
      (await readAll(broker.address, `compressed.${compression}`)).map(({ payload }) => payload),
    ).toEqual(bodies);
    await link.close();
  });

  it.each(['at-least-once', 'exactly-once'] as const)(
    'refuses only the record that is too large, %s, and keeps the order of the others',
    async (delivery) => {
      const topic = `small-${delivery}`;
      await broker.createTopic(topic, 1, { 'max.message.bytes': '20000' });
      const { link } = await openLink({ brokers: [broker.address], delivery, name: topic });
      const bodies = Array.from(
        { length: 41 },
        (_, index) => `${index} ${'x'.repeat(index === 17 ? 30_000 : 900)}`,
      );
      const answers = await link.send(
        batchOf(
          bodies.map((body) => message(topic, body)),
          5,
        ),
      );
      expect(answers.filter((answer) => answer !== null)).toHaveLength(1);
      expect(answers[17]).toMatchObject({ permanent: true, reason: expect.stringContaining('TOO_LARGE') });
      // The next batch goes on as if nothing had been.
      expect(await link.send(batchOf([message(topic, 'next')], 50))).toEqual([null]);
      const expected = [...bodies.filter((_, index) => index !== 17), 'next'];
      expect((await readAll(broker.address, topic)).map(({ payload }) => payload)).toEqual(expected);
      await link.close();
    },
  );

  it('lets what is for a missing topic wait until it is there, and sends the rest', async () => {
    await broker.createTopic('there');
    const { link, lost } = await openLink({ brokers: [broker.address] });
    const late = batchOf([message('later', 'waits')]);
    const answers = await link.send([...batchOf([message('there', 'goes')], 7), ...late]);
    expect(answers).toEqual([null, { reason: 'topic later is not there', permanent: false }]);
    await broker.createTopic('later');
    await until('the topic is seen', async () => (await link.send(late))[0] === null);
    expect((await readAll(broker.address, 'later')).map(({ payload }) => payload)).toEqual(['waits']);
    expect(lost()).toBeNull();
    await link.close();
  });

  it('exactly once, ends in front of what has to wait, and says so', async () => {
    await broker.createTopic('ready');
    const { link } = await openLink({ brokers: [broker.address], delivery: 'exactly-once', name: 'ahead' });
    const batch = batchOf([message('ready', '0'), message('not-ready', '1'), message('ready', '2')], 30);
    const answers = await link.send(batch);
    expect(answers.map((answer) => answer?.permanent ?? null)).toEqual([null, false, false]);
    await link.close();
    const again = await openLink({ brokers: [broker.address], delivery: 'exactly-once', name: 'ahead' });
    expect(again.link.sentOffset).toBe(30);
    await broker.createTopic('not-ready');
    await until('all is sent', async () => (await again.link.send(batch)).every((answer) => answer === null));
    expect((await readAll(broker.address, 'ready')).map(({ payload }) => payload)).toEqual(['0', '2']);
    expect((await readAll(broker.address, 'not-ready')).map(({ payload }) => payload)).toEqual(['1']);
    await again.link.close();
  });

  it('exactly once, tells again after a crash what was refused for good', async () => {
    await broker.createTopic('picky', 1, { 'max.message.bytes': '20000' });
    const to = { brokers: [broker.address], delivery: 'exactly-once', name: 'picky' } as const;
    const batch = batchOf(
      ['0', 'x'.repeat(30_000), '2'].map((body) => message('picky', body)),
      60,
    );
    const first = await openLink(to);
    expect((await first.link.send(batch)).map((answer) => answer?.permanent ?? null)).toEqual([
      null,
      true,
      null,
    ]);
    await first.link.close();
    const second = await openLink(to);
    // Not 62: the bridge has to hear of 61.
    expect(second.link.sentOffset).toBe(60);
    expect((await second.link.send(batch)).map((answer) => answer?.permanent ?? null)).toEqual([
      null,
      true,
      null,
    ]);
    expect((await readAll(broker.address, 'picky')).map(({ payload }) => payload)).toEqual(['0', '2']);
    await second.link.close();
  });

  it('exactly once, shuts out an older link of the same name', async () => {
    await broker.createTopic('fenced');
    const to = { brokers: [broker.address], delivery: 'exactly-once', name: 'fenced' } as const;
    const older = await openLink(to);
    expect(await older.link.send(batchOf([message('fenced', 'older')]))).toEqual([null]);
    const newer = await openLink(to);
    expect((await failureOf(older.link.send(batchOf([message('fenced', 'too late')], 1)))).failure).toBe(
      'closed',
    );
    expect(await newer.link.send(batchOf([message('fenced', 'newer')], 1))).toEqual([null]);
    expect((await readAll(broker.address, 'fenced')).map(({ payload }) => payload)).toEqual([
      'older',
      'newer',
    ]);
    await newer.link.close();
  });

  it('creates a missing topic where it may', async () => {
    const options = { createTopics: true, partitions: 3 };
    const { link } = await openLink({ brokers: [broker.address], options });
    expect(await link.send(batchOf([message('made/here', 'x')]))).toEqual([null]);
    const admin = broker.admin();
    const { topics } = await admin.metadata({ topics: ['made.here'] });
    await admin.close();
    expect(topics.get('made.here')?.partitionsCount).toBe(3);
    await link.close();
  });

  it('at most once, also where nobody has to have it', async () => {
    await broker.createTopic('fire');
    const to = { brokers: [broker.address], delivery: 'at-most-once', options: { acks: 'none' } } as const;
    const { link } = await openLink(to);
    expect(await link.send(batchOf([message('fire', 'x')]))).toEqual([null]);
    await until('it is there', async () => (await readAll(broker.address, 'fire')).length === 1);
    await link.close();
    expect((await failureOf(openLink({ ...to, delivery: 'at-least-once' }))).message).toContain(
      'at-most-once only',
    );
  });

  it.each(['plain', 'scram-sha-256', 'scram-sha-512'])(
    'proves who it is with %s, and tells a wrong password',
    async (mechanism) => {
      const brokers = [`127.0.0.1:${broker.saslPort}`];
      const sasl = { mechanism, username: USER, password: PASSWORD };
      const { link } = await openLink({ brokers, connection: { sasl } });
      await link.close();
      const wrong = openLink({ brokers, connection: { sasl: { ...sasl, password: 'wrong horse' } } });
      const error = await failureOf(wrong);
      expect(error.failure).toBe('authentication');
      expect(`${error.message} ${error.stack} ${logged.join()}`).not.toMatch(/wrong horse|correct horse/);
    },
  );

  it('tells that nobody is there, and that there is no TLS', async () => {
    const nobody = `127.0.0.1:${await pickPort()}`;
    expect((await failureOf(openLink({ brokers: [nobody] }))).failure).toBe('unreachable');
    const tls = openLink({ brokers: [broker.address], connection: { tls: { enabled: true } } });
    expect((await failureOf(tls)).failure).toBe('tls');
    // The first that can be reached is enough.
    const { link } = await openLink({ brokers: [nobody, broker.address] });
    await link.close();
  });

  it('speaks TLS to a broker whose certificate it can verify', async () => {
    const brokers = [`127.0.0.1:${broker.tlsPort}`];
    const tls = { enabled: true, ca: broker.authority.certificate };
    await broker.createTopic('sealed');
    const { link } = await openLink({ brokers, connection: { tls } });
    expect(await link.send(batchOf([message('sealed', 'x')]))).toEqual([null]);
    await link.close();
    expect((await failureOf(openLink({ brokers, connection: { tls: { enabled: true } } }))).failure).toBe(
      'tls',
    );
    // TLS where none is spoken by this side.
    expect((await failureOf(openLink({ brokers }))).failure).toBe('tls');
  });

  it('gives up on who accepts and never answers, in time and when told to', async () => {
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => void sockets.add(socket));
    const port = await new Promise<number>((resolve) =>
      silent.listen(0, '127.0.0.1', () => resolve((silent.address() as AddressInfo).port)),
    );
    const brokers = [`127.0.0.1:${port}`];
    expect((await failureOf(openLink({ brokers, connection: { connectTimeoutMs: 200 } }))).failure).toBe(
      'timeout',
    );
    const aborted = new AbortController();
    const opening = failureOf(openLink({ brokers, signal: aborted.signal }));
    await until('it is connected', () => sockets.size > 1);
    aborted.abort();
    await opening;
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
});
