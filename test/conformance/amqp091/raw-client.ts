/** A client that sends whatever bytes a test wants and shows the methods that come back. */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { FrameReader } from '../../../adapters/amqp091/codec/frame-reader.ts';
import { decodeArguments, encodeMethod } from '../../../adapters/amqp091/codec/method-codec.ts';
import {
  METHOD_NAMES,
  type MethodArguments,
  type MethodName,
} from '../../../adapters/amqp091/codec/methods.ts';
import type { Header } from '../../../src/core/index.ts';

export interface Received {
  readonly channel: number;
  /** A method's name, or `frame` and its type. */
  readonly name: string;
  readonly values: Readonly<Record<string, unknown>>;
}

export const PROTOCOL_HEADER = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1');

export class RawClient {
  readonly socket: Socket;
  readonly received: Received[] = [];
  readonly bytes: Buffer[] = [];
  closed = false;
  #waiting: (() => void)[] = [];

  constructor(port: number, readFrames = true) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const reader = new FrameReader(
      {
        frame: (type, channel, bytes, start, end) => {
          const name = type === 1 ? METHOD_NAMES.get(bytes.readUInt32BE(start)) : undefined;
          this.received.push(
            name === undefined
              ? { channel, name: `frame ${type}`, values: {} }
              : { channel, name, values: decodeArguments(name, bytes, start + 4, end) },
          );
        },
      },
      1 << 24,
    );
    this.socket.on('data', (chunk) => {
      this.bytes.push(chunk);
      if (readFrames) reader.push(chunk);
      this.#wake();
    });
    this.socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
    this.socket.on('error', () => {});
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  send<Name extends MethodName>(channel: number, name: Name, values: MethodArguments<Name>): void {
    this.write(encodeMethod(channel, name, values));
  }

  /** The next method of that name, from now on or already here; takes it and what came before away. */
  async next<Name extends MethodName>(name: Name): Promise<MethodArguments<Name>> {
    for (;;) {
      const at = this.received.findIndex((each) => each.name === name);
      if (at >= 0) return this.received.splice(0, at + 1)[at]?.values as MethodArguments<Name>;
      if (this.closed) {
        throw new Error(`closed while waiting for ${name}; got ${this.received.map((each) => each.name)}`);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async ended(): Promise<void> {
    if (!this.closed) await once(this.socket, 'close');
  }

  async start(): Promise<MethodArguments<'connection.start'>> {
    this.write(PROTOCOL_HEADER);
    return this.next('connection.start');
  }

  startOk(
    options: { readonly mechanism?: string; readonly response?: Buffer; readonly properties?: Header[] } = {},
  ): void {
    this.send(0, 'connection.start-ok', {
      clientProperties: options.properties ?? [],
      mechanism: options.mechanism ?? 'PLAIN',
      response: options.response ?? Buffer.from('\0guest\0guest'),
      locale: 'en_US',
    });
  }

  /** Through the whole handshake, with a channel open if `channel` is not 0. */
  async open(
    options: {
      readonly frameMax?: number;
      readonly heartbeat?: number;
      readonly channel?: number;
      readonly properties?: Header[];
    } = {},
  ): Promise<void> {
    await this.start();
    this.startOk(options);
    const tune = await this.next('connection.tune');
    this.send(0, 'connection.tune-ok', {
      channelMax: tune.channelMax,
      frameMax: options.frameMax ?? tune.frameMax,
      heartbeat: options.heartbeat ?? 0,
    });
    this.send(0, 'connection.open', { virtualHost: '/', capabilities: '', insist: false });
    await this.next('connection.open-ok');
    const channel = options.channel ?? 1;
    if (channel === 0) return;
    this.send(channel, 'channel.open', { outOfBand: '' });
    await this.next('channel.open-ok');
  }

  end(): void {
    this.socket.destroy();
  }
}

export function frame(type: number, channel: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.of(206)]);
}

/** A content header frame without properties. */
export function contentHeader(channel: number, bodyBytes: number, properties = Buffer.alloc(2)): Buffer {
  const payload = Buffer.alloc(12);
  payload.writeUInt16BE(60, 0);
  payload.writeBigUInt64BE(BigInt(bodyBytes), 4);
  return frame(2, channel, Buffer.concat([payload, properties]));
}
