/**
 * Mutated bytes of real sessions: against the decoders alone, where every answer must be a value or a typed error,
 * and against whole connections, which must end in a close of the protocol and never in an error of ours.
 * `ROSETTAMQ_FUZZ_COUNT` sets how many inputs.
 */

import Value from 'typebox/value';
import { describe, expect, test } from 'vitest';
import { FrameReader } from '../../../adapters/amqp091/codec/frame-reader.ts';
import { decodeArguments, encodeMethod } from '../../../adapters/amqp091/codec/method-codec.ts';
import {
  METHOD_NAMES,
  type MethodArguments,
  type MethodName,
} from '../../../adapters/amqp091/codec/methods.ts';
import { Amqp091Error } from '../../../adapters/amqp091/errors.ts';
import { createAmqp091Adapter } from '../../../adapters/amqp091/index.ts';
import { type Amqp091Settings, amqp091Settings } from '../../../adapters/amqp091/settings.ts';
import {
  ContentFacts,
  decodeContent,
  decodeTable,
  encodeContent,
  encodeTable,
  MalformedTableError,
  propertiesFromContent,
  scanContent,
} from '../../../mappings/amqp091.ts';
import type { Header } from '../../../src/core/index.ts';
import type { CloseReason, ConnectionHandler, Transport } from '../../../src/host.ts';
import { openTestCore } from '../../support/core.ts';
import { authenticatorOf } from '../../support/doors.ts';

const COUNT = Number(process.env.ROSETTAMQ_FUZZ_COUNT ?? 50_000);
const SEED = Number(process.env.ROSETTAMQ_FUZZ_SEED ?? 1);

/** xorshift32: the same inputs for the same seed. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  below(bound: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % bound;
  }
}

const INTERESTING = [0, 1, 2, 0x7f, 0x80, 0xce, 0xff];

function mutate(dice: Dice, source: Buffer): Buffer {
  const bytes = Buffer.from(source);
  for (let n = 1 + dice.below(4); n > 0 && bytes.length > 0; n--) {
    const at = dice.below(bytes.length);
    switch (dice.below(5)) {
      case 0:
        bytes[at] = dice.below(256);
        break;
      case 1:
        bytes[at] = (bytes[at] as number) ^ (1 << dice.below(8));
        break;
      case 2:
        bytes[at] = INTERESTING[dice.below(INTERESTING.length)] as number;
        break;
      case 3:
        bytes.copy(bytes, at, dice.below(bytes.length), bytes.length);
        break;
      default:
        if (at + 4 <= bytes.length)
          bytes.writeUInt32BE(dice.below(2) === 0 ? dice.below(64) : 0xffff_fff0, at);
    }
  }
  return dice.below(8) === 0 ? bytes.subarray(0, dice.below(bytes.length + 1)) : bytes;
}

const HEADERS: Header[] = [
  { name: 'text', value: { kind: 'string', value: 'value' } },
  { name: 'x-gw-key', value: { kind: 'bytes', value: Buffer.from([1, 2]) } },
  { name: 'n', value: { kind: 'i64', value: 5n } },
  { name: 'CC', value: { kind: 'list', value: [{ kind: 'string', value: 'a' }, { kind: 'null' }] } },
  { name: 'm', value: { kind: 'map', value: [{ name: 'd', value: { kind: 'f64', value: 1.5 } }] } },
];

const CONTENT = encodeContent({
  contentType: 'text/plain',
  headers: HEADERS,
  deliveryMode: 2,
  priority: 1,
  correlationId: 'c',
  replyTo: 'r',
  expiration: '1000',
  messageId: 'm',
  timestampSeconds: 1n,
  type: 't',
});

function contentFrames(channel: number, body: string): Buffer {
  const payload = Buffer.concat([Buffer.alloc(12), CONTENT]);
  payload.writeUInt16BE(60, 0);
  payload.writeUInt32BE(body.length, 8);
  return Buffer.concat([frame(2, channel, payload), frame(3, channel, Buffer.from(body))]);
}

function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.of(206)]);
}

const ARGUMENTS: Header[] = [
  { name: 'x-message-ttl', value: { kind: 'i32', value: 1000 } },
  { name: 'x-max-length', value: { kind: 'i32', value: 10 } },
];

function method<Name extends MethodName>(name: Name, values: MethodArguments<Name>): Buffer {
  return encodeMethod(1, name, values);
}

/** What a client says on an open channel. */
const SESSION: readonly Buffer[] = [
  method('queue.declare', {
    ticket: 0,
    queue: 'q',
    passive: false,
    durable: false,
    exclusive: false,
    autoDelete: false,
    nowait: false,
    arguments: ARGUMENTS,
  }),
  method('exchange.declare', {
    ticket: 0,
    exchange: 'x',
    type: 'headers',
    passive: false,
    durable: false,
    autoDelete: true,
    internal: false,
    nowait: false,
    arguments: [],
  }),
  method('queue.bind', {
    ticket: 0,
    queue: 'q',
    exchange: 'x',
    routingKey: 'a.#',
    nowait: false,
    arguments: HEADERS,
  }),
  method('exchange.bind', {
    ticket: 0,
    destination: 'y',
    source: 'x',
    routingKey: '*.b',
    nowait: false,
    arguments: [],
  }),
  method('confirm.select', { nowait: false }),
  Buffer.concat([
    method('basic.publish', {
      ticket: 0,
      exchange: 'x',
      routingKey: 'a.b',
      mandatory: true,
      immediate: false,
    }),
    contentFrames(1, 'hello'),
  ]),
  Buffer.concat([
    method('basic.publish', { ticket: 0, exchange: '', routingKey: 'q', mandatory: false, immediate: false }),
    contentFrames(1, 'world'),
  ]),
  method('basic.qos', { prefetchSize: 0, prefetchCount: 10, global: true }),
  method('basic.consume', {
    ticket: 0,
    queue: 'q',
    consumerTag: 'c',
    noLocal: false,
    noAck: false,
    exclusive: false,
    nowait: false,
    arguments: [{ name: 'x-priority', value: { kind: 'i8', value: 1 } }],
  }),
  method('basic.ack', { deliveryTag: 1, multiple: true }),
  method('basic.nack', { deliveryTag: 2, multiple: false, requeue: true }),
  method('basic.get', { ticket: 0, queue: 'q', noAck: true }),
  method('basic.recover', { requeue: true }),
  method('basic.cancel', { consumerTag: 'c', nowait: false }),
  method('queue.purge', { ticket: 0, queue: 'q', nowait: false }),
  method('queue.unbind', { ticket: 0, queue: 'q', exchange: 'x', routingKey: 'a.#', arguments: [] }),
  method('queue.delete', { ticket: 0, queue: 'q', ifUnused: false, ifEmpty: false, nowait: false }),
];

/** The answer to the last method of a session that was not disturbed much. */
const DELETED = method('queue.delete-ok', { messageCount: 0 });

const HANDSHAKE = Buffer.concat([
  Buffer.from('AMQP\x00\x00\x09\x01', 'latin1'),
  encodeMethod(0, 'connection.start-ok', {
    clientProperties: [{ name: 'capabilities', value: { kind: 'map', value: [] } }],
    mechanism: 'PLAIN',
    response: Buffer.from('\0guest\0guest'),
    locale: 'en_US',
  }),
  encodeMethod(0, 'connection.tune-ok', { channelMax: 0, frameMax: 0, heartbeat: 0 }),
  encodeMethod(0, 'connection.open', { virtualHost: '/', capabilities: '', insist: false }),
  encodeMethod(1, 'channel.open', { outOfBand: '' }),
]);

describe('decoders', () => {
  test(`${COUNT} mutated inputs give a value or a typed error`, () => {
    const dice = new Dice(SEED);
    const table = encodeTable(HEADERS);
    const facts = new ContentFacts();
    let refused = 0;
    const reader = new FrameReader(
      {
        frame(type, _channel, bytes, start, end) {
          if (type !== 1 || end - start < 4) return;
          const name = METHOD_NAMES.get(bytes.readUInt32BE(start));
          if (name !== undefined) decodeArguments(name, bytes, start + 4, end);
        },
      },
      131_072,
    );
    for (let i = 0; i < COUNT; i++) {
      try {
        const kind = dice.below(3);
        if (kind === 0) {
          const bytes = mutate(dice, table);
          if (bytes.length >= 4) decodeTable(bytes, 4, bytes.length);
        } else if (kind === 1) {
          const bytes = mutate(dice, CONTENT);
          scanContent(bytes, 0, bytes.length, facts);
          propertiesFromContent(decodeContent(bytes));
        } else {
          const fresh = new FrameReader(
            {
              frame: (type, channel, bytes, start, end) => frameOf(reader, type, channel, bytes, start, end),
            },
            131_072,
          );
          fresh.push(mutate(dice, SESSION[dice.below(SESSION.length)] as Buffer));
        }
      } catch (error) {
        if (!(error instanceof Amqp091Error || error instanceof MalformedTableError)) throw error;
        refused++;
      }
    }
    // Mutations that hit nothing but text are fine; that none is noticed would not be.
    expect(refused).toBeGreaterThan(COUNT / 20);
  }, 600_000);
});

/** Hands a frame on through a second reader, as a whole and in two parts. */
function frameOf(
  reader: FrameReader,
  type: number,
  channel: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  reader.push(frame(type, channel, bytes.subarray(start, end)));
}

class FakeTransport implements Transport {
  readonly id = 1;
  readonly listener = { name: 'amqp091', transport: 'tcp', highWaterBytes: 1_000_000 } as const;
  readonly remoteAddress = '';
  readonly remotePort = 0;
  readonly localAddress = '';
  readonly certificate = null;
  readonly localPort = 0;
  readonly buffer = Buffer.alloc(1 << 20);
  readonly pendingBytes = 0;
  handler: ConnectionHandler | null = null;
  reason: CloseReason | null = null;
  lastWritten = Buffer.alloc(0);

  reserve(bytes: number): number {
    if (bytes > this.buffer.length) throw new Error(`${bytes} bytes reserved at once`);
    return 0;
  }

  write(bytes: Uint8Array): void {
    this.lastWritten = Buffer.from(bytes);
  }

  pass(chunk: Buffer, start: number, end: number): void {
    this.write(chunk.subarray(start, end));
  }

  flushEarly(): void {}

  pause(): void {}
  resume(): void {}

  close(reason: CloseReason): void {
    if (this.reason !== null) return;
    this.reason = reason;
    this.handler?.closed(reason);
  }

  destroy(reason: CloseReason): void {
    this.close(reason);
  }
}

describe('connections', () => {
  const sessions = Math.ceil(COUNT / 50);
  test(`${sessions} sessions with mutated methods never fail inside`, async () => {
    const { core, clock } = await openTestCore();
    const failures: object[] = [];
    const adapter = createAmqp091Adapter(
      {
        core,
        clock,
        logger: { debug() {}, info() {}, warn() {}, error: (details) => failures.push(details) },
        authenticator: authenticatorOf(() => ({ user: 'guest', groups: [], clientId: '' })),
        clusterId: new Uint8Array(16),
        version: '0',
        listening: () => undefined,
      },
      Value.Default(amqp091Settings, {}) as Amqp091Settings,
    );
    await adapter.start();
    const dice = new Dice(SEED);
    const ends = new Map<string, number>();
    let finished = 0;
    for (let i = 0; i < sessions; i++) {
      const transport = new FakeTransport();
      const handler = adapter.connect(transport);
      transport.handler = handler;
      const target = dice.below(SESSION.length + 1);
      const bytes = Buffer.concat([
        target === 0 ? mutate(dice, HANDSHAKE) : HANDSHAKE,
        ...SESSION.map((each, at) => (at === target - 1 ? mutate(dice, each) : each)),
      ]);
      for (let at = 0; at < bytes.length; ) {
        const next = at + 1 + dice.below(400);
        if (transport.reason === null) handler.received(bytes.subarray(at, next));
        at = next;
      }
      for (let turn = 0; turn < 40; turn++) {
        await Promise.resolve();
        clock.endTurn();
      }
      if (transport.lastWritten.equals(DELETED)) finished++;
      ends.set(transport.reason ?? 'open', (ends.get(transport.reason ?? 'open') ?? 0) + 1);
      handler.closed('connection-lost');
    }
    expect(failures).toEqual([]);
    expect(ends.get('open')).toBeGreaterThan(0);
    // Else the inputs would not reach the handlers.
    expect(finished).toBeGreaterThan(sessions / 20);
  }, 600_000);
});
