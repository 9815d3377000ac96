import { beforeEach, describe, expect, test } from 'vitest';
import { messageTo, openTestCore, queueSpec, type TestCore } from '../../support/core.ts';
import { OfflineClient, settled } from './offline-client.ts';

describe.each([true, false])('a consumer with noAck %s', (noAck) => {
  let test_: TestCore;
  let client: OfflineClient;

  const deliveries = () => client.transport.count('basic.deliver 1');

  beforeEach(async () => {
    test_ = await openTestCore();
    client = new OfflineClient(test_);
    await client.open();
    const queue = await test_.core.queues.declare(queueSpec({ name: 'q' }));
    const publisher = test_.core.openPublisher({
      principal: { user: '', groups: [], clientId: '' },
      congested() {},
    });
    for (let i = 0; i < 100; i++) publisher.publish(messageTo('$queue/q', 'x'.repeat(100)), null, 0);
    expect(queue.readyCount).toBe(100);
    client.consume(1, 'q', noAck);
    await settled();
  });

  test('gets nothing more above the mark, and the rest when the output has drained', () => {
    const first = deliveries();
    expect(first).toBeGreaterThan(1);
    expect(first).toBeLessThan(10);
    test_.clock.endTurn();
    expect(deliveries()).toBe(first);
    client.drain();
    expect(deliveries()).toBe(2 * first);
  });

  test('goes on by itself where the socket took enough before the turn was over', () => {
    const first = deliveries();
    client.transport.pendingBytes = 0;
    test_.clock.endTurn();
    expect(deliveries()).toBeGreaterThan(first);
  });

  test('is not woken by settling while the output is full', () => {
    const first = deliveries();
    if (!noAck) {
      client.send(1, 'basic.ack', { deliveryTag: first, multiple: true });
      expect(deliveries()).toBe(first);
    }
    client.drain();
    expect(deliveries()).toBe(2 * first);
  });
});
