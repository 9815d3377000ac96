import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import amqp from 'amqplib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Storage } from '../../../src/core/storage.ts';
import { openStorage } from '../../../src/storage/index.ts';
import { type Broker, startBroker } from './broker.ts';

let folder: string;
let broker: Broker;
let storage: Storage;

async function stop(): Promise<void> {
  await broker.close();
  await storage.close();
}

async function start(): Promise<void> {
  storage = await openStorage({ folder, durability: 'fsync' });
  broker = await startBroker({ core: { storage } });
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'amqp091-'));
  await start();
});
afterEach(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('after a restart', () => {
  test('durable queues, exchanges, bindings and confirmed persistent messages are there, nothing else', async () => {
    const before = await amqp.connect(broker.url);
    const channel = await before.createConfirmChannel();
    await channel.assertExchange('events', 'direct', { durable: true });
    await channel.assertExchange('passing', 'direct', { durable: false });
    await channel.assertQueue('kept', { durable: true, arguments: { 'x-max-length': 100 } });
    await channel.assertQueue('passing', { durable: false });
    await channel.bindQueue('kept', 'events', 'a.b');
    const headers = { n: 1, list: ['x', true], bytes: Buffer.from([0, 255]) };
    channel.publish('events', 'a.b', Buffer.from('1'), {
      persistent: true,
      headers,
      messageId: 'm1',
      type: 't',
    });
    channel.publish('events', 'a.b', Buffer.from('2'), { persistent: true });
    channel.publish('events', 'a.b', Buffer.from('transient'), { persistent: false });
    await channel.waitForConfirms();
    const taken = await channel.get('kept');
    expect(taken === false ? '' : taken.content.toString()).toBe('1');
    await before.close();
    await stop();

    await start();
    const after = await amqp.connect(broker.url);
    const again = await after.createConfirmChannel();
    await again.assertExchange('events', 'direct', { durable: true });
    await again.assertQueue('kept', { durable: true, arguments: { 'x-max-length': 100 } });
    expect(broker.core.queues.get('passing')).toBeUndefined();
    expect(broker.core.exchanges.get('passing')).toBeUndefined();
    again.publish('events', 'a.b', Buffer.from('3'), { persistent: true });
    await again.waitForConfirms();
    const bodies: string[] = [];
    for (
      let message = await again.get('kept', { noAck: true });
      message !== false;
      message = await again.get('kept', { noAck: true })
    ) {
      bodies.push(message.content.toString());
      expect(message.fields).toMatchObject({ exchange: 'events', routingKey: 'a.b' });
      if (bodies.length === 1) {
        expect(message.properties).toMatchObject({ headers, messageId: 'm1', type: 't', deliveryMode: 2 });
        expect(message.fields.redelivered).toBe(true);
      }
    }
    expect(bodies).toEqual(['1', '2', '3']);
    await after.close();
  });
});
