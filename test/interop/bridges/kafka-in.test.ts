/** Messages that a bridge reads from a real Apache Kafka: what it is given, and when it may be forgotten there. */
import { Producer } from '@platformatic/kafka';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LinkError } from '../../../src/outside.ts';
import { describeMissing } from '../../peers/programs.ts';
import { KafkaBroker } from './kafka-broker.ts';
import { batchOf, Collector, type LinkTo, message, openLink, until } from './kafka-links.ts';

const missing = describeMissing('kafka', 'java');

describe.skipIf(missing !== null)(`a bridge from Kafka${missing === null ? '' : `: ${missing}`}`, () => {
  let broker: KafkaBroker;
  beforeAll(async () => {
    broker = await KafkaBroker.start();
  });
  afterAll(() => broker?.stop());

  const from = (name: string, options: object = {}): LinkTo => ({
    brokers: [broker.address],
    direction: 'in',
    name,
    options: { from: 'earliest', fetchWaitMs: 50, lookAgainMs: 500, ...options },
  });

  async function produce(topic: string, ...bodies: string[]): Promise<void> {
    const { link } = await openLink({ brokers: [broker.address] });
    const batch = bodies.map((body) => message(topic.replaceAll('.', '/'), body, { key: Buffer.from(body) }));
    expect(await link.send(batchOf(batch))).toEqual(bodies.map(() => null));
    await link.close();
  }

  it('gives address, key, headers and time as another gateway had them', async () => {
    await broker.createTopic('site.d1');
    const { link: out } = await openLink({ brokers: [broker.address] });
    const properties = {
      contentType: 'text/plain',
      headers: [
        { name: 'n', value: { kind: 'i32', value: 7 } },
        { name: 'n', value: { kind: 'string', value: 'again' } },
      ],
    } as const;
    const sent = message('site/d1', '21.5', {
      key: Buffer.from('d1'),
      properties,
      reliability: 2,
      retain: true,
    });
    await out.send(batchOf([sent]));
    await out.close();
    const { link } = await openLink(from('whole'));
    const collector = new Collector();
    await link.receive(['site.d1'], collector);
    await until('it comes', () => collector.messages.length === 1);
    const [got] = collector.messages;
    expect(got).toMatchObject({
      address: 'site/d1',
      reliability: 2,
      retain: true,
      timestampMs: 1_700_000_000_000,
    });
    expect(Buffer.from(got?.key ?? []).toString()).toBe('d1');
    expect(got?.properties).toMatchObject(properties);
    await link.close();
  });

  it('commits only what was stored, and reads the rest again', async () => {
    await broker.createTopic('work', 1);
    await produce('work', '0', '1', '2', '3', '4');
    const first = await openLink({ ...from('worker'), inFlightMax: 1 });
    const collector = new Collector();
    collector.judge = ({ body }) => (Buffer.from(body).toString() === '3' ? 'refused' : 'stored');
    await first.link.receive(['work'], collector);
    await until('three are stored', () => collector.messages.length === 3);
    await first.link.close();
    expect(collector.bodies()).toEqual(['0', '1', '2']);
    const second = await openLink(from('worker'));
    const rest = new Collector();
    await second.link.receive(['work'], rest);
    await until('the rest comes', () => rest.messages.length === 2);
    expect(rest.bodies()).toEqual(['3', '4']);
    await second.link.close();
  });

  it('waits while the bridge refuses, then goes on in order without a repeat', async () => {
    await broker.createTopic('slow', 1);
    await produce('slow', '0', '1', '2', '3');
    const { link } = await openLink({ ...from('slow'), inFlightMax: 2 });
    const collector = new Collector();
    let asked = 0;
    collector.judge = ({ body }) =>
      Buffer.from(body).toString() === '1' && ++asked < 4 ? 'refused' : 'stored';
    await link.receive(['slow'], collector);
    await until('all come', () => collector.messages.length === 4);
    expect(asked).toBe(4);
    expect(collector.bodies()).toEqual(['0', '1', '2', '3']);
    await link.close();
  });

  it('begins a new group at the end, and later goes on where it was', async () => {
    await broker.createTopic('news', 2);
    await produce('news', 'old');
    const first = await openLink(from('reader', { from: 'latest' }));
    await first.link.receive(['news'], new Collector());
    await first.link.close();
    await produce('news', 'missed', 'meanwhile');
    const second = await openLink(from('reader', { from: 'latest' }));
    const collector = new Collector();
    await second.link.receive(['news'], collector);
    await until('both come', () => collector.messages.length === 2);
    expect(collector.bodies().sort()).toEqual(['meanwhile', 'missed']);
    await second.link.close();
  });

  it('tells that a topic is missing, and finds those that appear for an expression', async () => {
    const { link } = await openLink(from('lonely'));
    const error = await link.receive(['not.there'], new Collector()).catch((reason: unknown) => reason);
    expect((error as LinkError).failure).toBe('no-target');
    const watcher = await openLink(from('watcher', { from: 'latest' }));
    const collector = new Collector();
    await watcher.link.receive(['/^appear\\.[^.]*$/'], collector);
    await broker.createTopic('appear.one');
    await produce('appear.one', 'a');
    await until('the first topic is found', () => collector.messages.length === 1);
    await broker.createTopic('appear.two');
    await produce('appear.two', 'b');
    await until('the second topic is found', () => collector.messages.length === 2);
    expect(collector.messages.map(({ address }) => address)).toEqual(['appear/one', 'appear/two']);
    expect(watcher.lost()).toBeNull();
    await watcher.link.close();
  });

  it('reads a topic that was deleted and made again before anybody looked for topics', async () => {
    await broker.createTopic('phoenix');
    await produce('phoenix', 'before');
    const { link, lost } = await openLink(from('phoenix', { lookAgainMs: 3_600_000 }));
    const collector = new Collector();
    await link.receive(['phoenix'], collector);
    await until('the first comes', () => collector.messages.length === 1);
    await broker.deleteTopic('phoenix');
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await broker.createTopic('phoenix');
    await produce('phoenix', 'after');
    await until('what is in the new one comes', () => collector.messages.length === 2, 20_000);
    expect(collector.bodies()).toEqual(['before', 'after']);
    expect(lost()).toBeNull();
    await link.close();
  });

  it('reads partitions that are added, from their beginning', async () => {
    await broker.createTopic('grow', 1);
    const { link } = await openLink(from('grower', { from: 'latest' }));
    const collector = new Collector();
    await link.receive(['grow'], collector);
    await broker.addPartitions('grow', 4);
    const bodies = Array.from({ length: 40 }, (_, index) => String(index));
    await produce('grow', ...bodies);
    await until('all come', () => collector.messages.length === 40);
    expect(collector.bodies().sort()).toEqual([...bodies].sort());
    await link.close();
  });

  it('shares partitions with another member of its group, and loses none when that goes', async () => {
    await broker.createTopic('shared', 4);
    const options = { groupId: 'both', sessionTimeoutMs: 6_000 };
    const [left, right] = [new Collector(), new Collector()];
    const one = await openLink(from('left', options));
    await one.link.receive(['shared'], left);
    const two = await openLink(from('right', options));
    await two.link.receive(['shared'], right);
    const all = (): string[] => [...left.bodies(), ...right.bodies()];
    let count = 0;
    await until('both get some', async () => {
      await produce('shared', ...Array.from({ length: 20 }, () => String(count++)));
      return right.messages.length > 0 && left.messages.length > 0;
    });
    await two.link.close();
    await produce('shared', 'last');
    await until('all are there', () => new Set(all()).size === count + 1);
    expect(one.lost()).toBeNull();
    await one.link.close();
  });

  it('leaves out what a transaction took back, several of one producer too', async () => {
    await broker.createTopic('undone', 1);
    const producer = new Producer({
      clientId: 'undoer',
      bootstrapBrokers: [broker.address],
      idempotent: true,
      transactionalId: 'undoer',
    });
    for (const [index, keep] of [false, true, false, true, false].entries()) {
      const transaction = await producer.beginTransaction();
      const value = Buffer.from(`${index}`);
      await transaction.send({ messages: [{ topic: 'undone', partition: 0, value }] });
      await (keep ? transaction.commit() : transaction.abort());
    }
    await producer.close();
    await produce('undone', 'end');
    const { link } = await openLink(from('undone'));
    const collector = new Collector();
    await link.receive(['undone'], collector);
    await until('the end comes', () => collector.bodies().includes('end'));
    expect(collector.bodies()).toEqual(['1', '3', 'end']);
    await link.close();
  });
});
