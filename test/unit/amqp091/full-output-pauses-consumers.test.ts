import Value from 'typebox/value';
import { beforeEach, describe, expect, test } from 'vitest';
import { encodeMethod } from '../../../adapters/amqp091/codec/method-codec.ts';
import { createAmqp091Adapter } from '../../../adapters/amqp091/index.ts';
import { type Amqp091Settings, amqp091Settings } from '../../../adapters/amqp091/settings.ts';
import type { CloseReason, ConnectionHandler, Transport } from '../../../src/host.ts';
import { frame } from '../../conformance/amqp091/raw-client.ts';
import { messageTo, openTestCore, queueSpec, type TestCore } from '../../support/core.ts';

/** Counts deliveries and holds as many bytes as the test says. */
class FullTransport implements Transport {
  readonly id = 1;
  readonly listener = { name: 'amqp091', transport: 'tcp', highWaterBytes: 1000 } as const;
  readonly remoteAddress = '';
  readonly remotePort = 0;
  readonly localAddress = '';
  readonly localPort = 0;
  readonly buffer = Buffer.alloc(1 << 16);
  pendingBytes = 0;
  deliveries = 0;

  reserve(bytes: number): number {
    this.pendingBytes += bytes;
    this.deliveries++;
    return 0;
  }

  write(): void {}
  pause(): void {}
  resume(): void {}
  close(_reason: CloseReason): void {}
  destroy(): void {}
}

describe.each([true, false])('a consumer with noAck %s', (noAck) => {
  let test_: TestCore;
  let transport: FullTransport;
  let handler: ConnectionHandler;

  beforeEach(async () => {
    test_ = await openTestCore();
    const { core, clock } = test_;
    const silent = {
      debug() {},
      info() {},
      warn() {},
      error: (details: object) => expect.unreachable(String(details)),
    };
    const adapter = createAmqp091Adapter(
      {
        core,
        clock,
        logger: silent,
        authenticator: { authenticate: () => ({ user: 'guest', groups: [] }) },
        clusterId: new Uint8Array(16),
        version: '0',
        listening: () => undefined,
      },
      Value.Default(amqp091Settings, {}) as Amqp091Settings,
    );
    transport = new FullTransport();
    handler = adapter.connect(transport);
    const queue = await core.queues.declare(queueSpec({ name: 'q' }));
    const publisher = core.openPublisher({ principal: { user: '', groups: [] }, congested() {} });
    for (let i = 0; i < 100; i++) publisher.publish(messageTo('$queue/q', 'x'.repeat(100)), null, 0);
    expect(queue.readyCount).toBe(100);
    const bytes = Buffer.concat([
      Buffer.from('AMQP\x00\x00\x09\x01', 'latin1'),
      encodeMethod(0, 'connection.start-ok', {
        clientProperties: [],
        mechanism: 'ANONYMOUS',
        response: Buffer.alloc(0),
        locale: 'en_US',
      }),
      encodeMethod(0, 'connection.tune-ok', { channelMax: 0, frameMax: 0, heartbeat: 0 }),
      encodeMethod(0, 'connection.open', { virtualHost: '/', capabilities: '', insist: false }),
      encodeMethod(1, 'channel.open', { outOfBand: '' }),
      encodeMethod(1, 'basic.consume', {
        ticket: 0,
        queue: 'q',
        consumerTag: 'c',
        noLocal: false,
        noAck,
        exclusive: false,
        nowait: false,
        arguments: [],
      }),
    ]);
    handler.received(bytes);
    for (let i = 0; i < 10; i++) await Promise.resolve();
  });

  test('gets nothing more above the mark, and the rest when the output has drained', () => {
    const first = transport.deliveries;
    expect(first).toBeGreaterThan(1);
    expect(first).toBeLessThan(10);
    test_.clock.endTurn();
    expect(transport.deliveries).toBe(first);
    transport.pendingBytes = 0;
    handler.drained();
    expect(transport.deliveries).toBe(2 * first);
  });

  test('goes on by itself where the socket took enough before the turn was over', () => {
    const first = transport.deliveries;
    transport.pendingBytes = 0;
    test_.clock.endTurn();
    expect(transport.deliveries).toBeGreaterThan(first);
  });

  test('is not woken by settling while the output is full', () => {
    const first = transport.deliveries;
    if (!noAck) {
      handler.received(encodeMethod(1, 'basic.ack', { deliveryTag: first, multiple: true }));
      expect(transport.deliveries).toBe(first);
    }
    transport.pendingBytes = 0;
    handler.drained();
    expect(transport.deliveries).toBe(2 * first);
    handler.received(frame(8, 0, Buffer.alloc(0)));
  });
});
