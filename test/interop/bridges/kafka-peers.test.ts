/** Whom a link to Kafka takes for a gateway, and what becomes of messages that come back to where they are from. */
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { startTestGateway } from '../../support/gateway.ts';
import { describeWith, waitFor } from '../programs.ts';
import { KafkaBroker } from './kafka-broker.ts';
import { batchOf, Collector, message, openLink } from './kafka-links.ts';

it('a gateway is known by its id, in both directions', async () => {
  const there = await startTestGateway();
  onTestFinished(() => there.stop());
  const brokers = [`127.0.0.1:${there.ports.kafka}`];
  for (const direction of ['out', 'in'] as const) {
    const { link } = await openLink({ brokers, direction });
    expect(link.peer).toMatch(/^[0-9a-f]{32}$/);
    await link.close();
  }
});

describeWith(['kafka', 'java'], 'Apache Kafka', () => {
  let broker: KafkaBroker;
  beforeAll(async () => {
    broker = await KafkaBroker.start();
  });
  afterAll(() => broker?.stop());

  it('is no gateway, though its cluster id looks like that of one', async () => {
    for (const direction of ['out', 'in'] as const) {
      const { link } = await openLink({ brokers: [broker.address], direction });
      expect(link.peer).toBeNull();
      await link.close();
    }
  });

  it('gets what came from it under another name', async () => {
    await broker.createTopic('raw');
    await broker.createTopic('cooked');
    const here = await startTestGateway();
    onTestFinished(() => here.stop());
    const put = { dryRun: false };
    const { bridges } = here.gateway;
    await bridges.connections.put('kafka', { type: 'kafka', brokers: [broker.address] }, put);
    const options = { from: 'earliest' };
    await bridges.put(
      'in',
      { connection: 'kafka', direction: 'in', mappings: [{ match: 'raw' }], options },
      put,
    );
    const mappings = [{ match: 'raw', topic: 'cooked' }];
    await bridges.put('out', { connection: 'kafka', direction: 'out', mappings }, put);
    const { link: source } = await openLink({ brokers: [broker.address] });
    await source.send(batchOf([message('raw', '1'), message('raw', '2')]));
    await source.close();
    const { link } = await openLink({
      brokers: [broker.address],
      direction: 'in',
      name: 'observer',
      options: { from: 'earliest', fetchWaitMs: 50 },
    });
    onTestFinished(() => link.close());
    const collector = new Collector();
    await link.receive(['cooked'], collector);
    await waitFor('both to come', () => collector.messages.length === 2);
    expect(collector.bodies().sort()).toEqual(['1', '2']);
    expect(bridges.get('out')?.status.counters.dropped.loop).toBe(0);
  });
});
