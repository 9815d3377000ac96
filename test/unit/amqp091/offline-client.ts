/** A connection of the adapter without a socket: its output is counted and is full when the test says so. */

import Value from 'typebox/value';
import { expect } from 'vitest';
import { FrameReader } from '../../../adapters/amqp091/codec/frame-reader.ts';
import { encodeMethod } from '../../../adapters/amqp091/codec/method-codec.ts';
import {
  METHOD_NAMES,
  type MethodArguments,
  type MethodName,
} from '../../../adapters/amqp091/codec/methods.ts';
import { createAmqp091Adapter } from '../../../adapters/amqp091/index.ts';
import { type Amqp091Settings, amqp091Settings } from '../../../adapters/amqp091/settings.ts';
import type { CloseReason, ConnectionHandler, Transport } from '../../../src/host.ts';
import type { TestCore } from '../../support/core.ts';
import { authenticatorOf } from '../../support/doors.ts';

export class OfflineTransport implements Transport {
  readonly id = 1;
  readonly listener = { name: 'amqp091', transport: 'tcp', highWaterBytes: 1000 } as const;
  readonly remoteAddress = '';
  readonly remotePort = 0;
  readonly localAddress = '';
  readonly certificate = null;
  readonly localPort = 0;
  buffer = Buffer.alloc(0);
  /** Set to 0 when the client has read everything. */
  pendingBytes = 0;
  paused = false;
  readonly #written: Buffer[] = [];

  reserve(bytes: number): number {
    this.pendingBytes += bytes;
    this.buffer = Buffer.alloc(bytes);
    this.#written.push(this.buffer);
    return 0;
  }

  write(bytes: Uint8Array): void {
    this.#written.push(Buffer.from(bytes));
  }

  pass(chunk: Buffer, start: number, end: number): void {
    this.write(chunk.subarray(start, end));
  }

  flushEarly(): void {}

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  close(_reason: CloseReason): void {}
  destroy(): void {}

  /** The methods written so far, and on which channel. */
  get methods(): string[] {
    const names: string[] = [];
    const reader = new FrameReader(
      {
        frame: (type, channel, bytes, start) => {
          if (type === 1) names.push(`${METHOD_NAMES.get(bytes.readUInt32BE(start))} ${channel}`);
        },
      },
      1 << 24,
    );
    reader.push(Buffer.concat(this.#written));
    return names;
  }

  count(name: string): number {
    return this.methods.filter((method) => method === name).length;
  }
}

export class OfflineClient {
  readonly transport = new OfflineTransport();
  readonly handler: ConnectionHandler;

  constructor({ core, clock }: TestCore) {
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
        authenticator: authenticatorOf(() => ({ user: 'guest', groups: [], clientId: '' })),
        clusterId: new Uint8Array(16),
        version: '0',
        listening: () => undefined,
      },
      Value.Default(amqp091Settings, {}) as Amqp091Settings,
    );
    this.handler = adapter.connect(this.transport);
  }

  send<Name extends MethodName>(channel: number, name: Name, values: MethodArguments<Name>): void {
    this.handler.received(encodeMethod(channel, name, values));
  }

  /** Through the handshake, with channels 1 and 2 open. */
  async open(): Promise<void> {
    this.handler.received(Buffer.from('AMQP\x00\x00\x09\x01', 'latin1'));
    this.send(0, 'connection.start-ok', {
      clientProperties: [],
      mechanism: 'ANONYMOUS',
      response: Buffer.alloc(0),
      locale: 'en_US',
    });
    this.send(0, 'connection.tune-ok', { channelMax: 0, frameMax: 0, heartbeat: 0 });
    this.send(0, 'connection.open', { virtualHost: '/', capabilities: '', insist: false });
    this.send(1, 'channel.open', { outOfBand: '' });
    this.send(2, 'channel.open', { outOfBand: '' });
    await settled();
  }

  consume(channel: number, queue: string, noAck: boolean): void {
    this.send(channel, 'basic.consume', {
      ticket: 0,
      queue,
      consumerTag: queue,
      noLocal: false,
      noAck,
      exclusive: false,
      nowait: false,
      arguments: [],
    });
  }

  /** The client has read everything. */
  drain(): void {
    this.transport.pendingBytes = 0;
    this.handler.drained();
  }
}

/** Everything that promises had to do is done. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
