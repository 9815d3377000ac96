/** How much of what brokers of AMQP send is held until it is stored, and how a broker is held back meanwhile. */
import { createRequire } from 'node:module';
import { createServer, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import rhea, { type EventContext } from 'rhea';
import { expect, it, onTestFinished, vi } from 'vitest';
import { createAmqp10BridgeDriver } from '../../../adapters/bridge-amqp10/index.ts';
import { createAmqp091BridgeDriver } from '../../../adapters/bridge-amqp091/index.ts';
import { SystemClock } from '../../../src/clock.ts';
import type { Message } from '../../../src/core/index.ts';
import type { BridgeDriver, BridgeLink, TakeAnswer } from '../../../src/outside.ts';
import { defaultsOf } from '../mqtt/schema-defaults.ts';
import { startScriptedBroker } from './scripted-amqp091.ts';

const KIBIBYTE = 1024;
const HEARTBEAT_UNIT_MS = 20;

/** A sink that answers when a test says so. */
class SlowSink {
  readonly bodies: number[] = [];
  /** Most bytes that it had at once. */
  mostBytes = 0;
  bytes = 0;
  #open: (() => void)[] = [];

  readonly take = async (messages: readonly Message[]): Promise<readonly TakeAnswer[]> => {
    const sizes = messages.map(({ body }) => body.length);
    const sum = sizes.reduce((left, right) => left + right, 0);
    this.bodies.push(...sizes);
    this.bytes += sum;
    this.mostBytes = Math.max(this.mostBytes, this.bytes);
    await new Promise<void>((resolve) => this.#open.push(resolve));
    this.bytes -= sum;
    return messages.map(() => 'stored');
  };

  /** Answers for what it has. */
  answer(): void {
    for (const resolve of this.#open.splice(0)) resolve();
  }
}

const systemClock = new SystemClock((error) => {
  throw error;
});

interface Opened {
  readonly link: BridgeLink;
  readonly lost: Error[];
}

async function receive(
  driver: BridgeDriver,
  connection: object,
  options: object,
  sink: SlowSink,
  sources: readonly string[] = ['queue'],
): Promise<Opened> {
  const lost: Error[] = [];
  const link = await driver.open({
    name: 'test',
    connection: { ...(defaultsOf(driver.connectionSchema) as object), host: '127.0.0.1', ...connection },
    options: { ...(defaultsOf(driver.optionsSchema.in) as object), ...options },
    direction: 'in',
    delivery: 'at-least-once',
    gatewayId: '00112233445566778899aabbccddeeff',
    inFlightMax: 1000,
    clock: systemClock,
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    signal: new AbortController().signal,
    lost: (error) => lost.push(error),
  });
  onTestFinished(() => link.close());
  await link.receive(sources, sink);
  return { link, lost };
}

const until = (check: () => void): Promise<void> => vi.waitFor(check, { interval: 2, timeout: 10_000 });

/** Heartbeats are agreed on in whole seconds; those of the client library are made shorter here. */
function hurryHeartbeats(): void {
  const require = createRequire(import.meta.url);
  const path = join(dirname(require.resolve('amqplib')), 'lib', 'heartbeat.js');
  const heartbeat = require(path) as { UNITS_TO_MS: number };
  const before = heartbeat.UNITS_TO_MS;
  heartbeat.UNITS_TO_MS = HEARTBEAT_UNIT_MS;
  onTestFinished(() => {
    heartbeat.UNITS_TO_MS = before;
  });
}

it('AMQP 0-9-1: reads no more than it may hold, however long that takes, and then the rest', async () => {
  hurryHeartbeats();
  const broker = await startScriptedBroker(24, 128 * KIBIBYTE);
  const sink = new SlowSink();
  const options = { inFlightBytesMax: 512 * KIBIBYTE };
  const connection = { port: broker.port, heartbeatSeconds: 1 };
  const { lost } = await receive(createAmqp091BridgeDriver(), connection, options, sink);
  await until(() => expect(sink.bodies).toHaveLength(4));
  // Longer than either side keeps silent: what the broker says is not read meanwhile.
  const before = broker.heartbeats;
  await until(() => expect(broker.heartbeats).toBeGreaterThan(before + 8));
  expect(sink.bodies).toHaveLength(4);
  expect(lost).toEqual([]);
  await until(() => {
    sink.answer();
    expect(broker.acknowledged).toBe(24);
  });
  expect(sink.mostBytes).toBe(512 * KIBIBYTE);
  expect(lost).toEqual([]);
});

it('AMQP 0-9-1: takes a message that is larger than all that it may hold', async () => {
  const broker = await startScriptedBroker(3, 600 * KIBIBYTE);
  const sink = new SlowSink();
  await receive(
    createAmqp091BridgeDriver(),
    { port: broker.port },
    { inFlightBytesMax: 64 * KIBIBYTE },
    sink,
  );
  await until(() => {
    sink.answer();
    expect(broker.acknowledged).toBe(3);
  });
  expect(sink.mostBytes).toBe(600 * KIBIBYTE);
});

it('AMQP 0-9-1: asks for all of its queues before it holds the broker back', async () => {
  const broker = await startScriptedBroker(12, 128 * KIBIBYTE);
  const sink = new SlowSink();
  const options = { inFlightBytesMax: 256 * KIBIBYTE };
  // Nothing is answered meanwhile.
  const { lost } = await receive(createAmqp091BridgeDriver(), { port: broker.port }, options, sink, [
    'one',
    'two',
    'three',
  ]);
  expect(broker.heard.filter((name) => name === 'BasicConsume')).toHaveLength(3);
  await until(() => {
    sink.answer();
    expect(broker.acknowledged).toBe(12);
  });
  expect(lost).toEqual([]);
});

it('AMQP 0-9-1: is closed in order while the broker is held back', async () => {
  const broker = await startScriptedBroker(24, 256 * KIBIBYTE);
  const sink = new SlowSink();
  const options = { inFlightBytesMax: 512 * KIBIBYTE };
  const { link } = await receive(createAmqp091BridgeDriver(), { port: broker.port }, options, sink);
  await until(() => expect(sink.bodies).toHaveLength(2));
  const closed = link.close();
  await until(() => expect(broker.heard).toContain('BasicCancel'));
  sink.answer();
  await closed;
  expect(broker.heard.slice(-3)).toEqual(['BasicCancel', 'ChannelClose', 'ConnectionClose']);
  expect(broker.acknowledged).toBe(2);
});

interface Amqp10Broker {
  readonly port: number;
  accepted: number;
  /** It has more to send, and credit for it. */
  readonly isHeldBack: boolean;
  /** Flow frames that it was sent, or what looks like one. */
  readonly flows: number;
}

/** How a flow frame begins, behind its header. */
const FLOW = Buffer.of(0x00, 0x53, 0x13);

interface SenderInsides {
  readonly credit: number;
  readonly session: { readonly outgoing: { transfer_window(): number } };
}

/** A broker of AMQP 1.0 that has as many messages of one size for each who asks, and numbers them from `firstId` on. */
async function startAmqp10(count: number, bodyBytes: number, firstId = 0): Promise<Amqp10Broker> {
  const container = rhea.create_container();
  const sockets = new Set<Socket>();
  let flows = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('data', (bytes: Buffer) => {
      for (let at = bytes.indexOf(FLOW); at >= 0; at = bytes.indexOf(FLOW, at + 1)) flows++;
    });
    container.create_connection({} as never).accept(socket as never);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  let last: SenderInsides | null = null;
  const broker = {
    port: (server.address() as { port: number }).port,
    accepted: 0,
    get flows() {
      return flows;
    },
    get isHeldBack() {
      return last !== null && last.credit > 0 && last.session.outgoing.transfer_window() <= 0;
    },
  };
  container.on('sender_open', ({ sender }: EventContext) => sender!.set_source(sender!.source));
  container.on('session_open', ({ session }: EventContext) => {
    if (firstId > 0) numberFrom(session as unknown as NumberedSession, firstId);
  });
  const begun = new WeakSet<object>();
  container.on('sendable', ({ sender }: EventContext) => {
    if (begun.has(sender!)) return;
    begun.add(sender!);
    last = sender as unknown as SenderInsides;
    const body = Buffer.alloc(bodyBytes, 'x').toString();
    for (let sent = 0; sent < count; sent++) sender!.send({ body } as never);
  });
  container.on('accepted', () => {
    broker.accepted++;
  });
  for (const quiet of ['disconnected', 'connection_close', 'error']) container.on(quiet, () => {});
  return broker;
}

interface NumberedSession {
  readonly local: { readonly begin: { next_outgoing_id: number } };
  readonly outgoing: object;
}

/** Numbers have 32 bits; the library as a broker would let them grow. */
function numberFrom({ local, outgoing }: NumberedSession, firstId: number): void {
  let id = firstId;
  local.begin.next_outgoing_id = id;
  Object.defineProperty(outgoing, 'next_transfer_id', {
    get: () => id,
    set: (next: number) => {
      id = next >>> 0;
    },
  });
}

const anonymous = { mechanism: 'ANONYMOUS' };

it('AMQP 1.0: the broker may send no more than is held', async () => {
  const broker = await startAmqp10(24, 50 * KIBIBYTE);
  const sink = new SlowSink();
  const options = { inFlightBytesMax: 512 * KIBIBYTE };
  await receive(createAmqp10BridgeDriver(), { ...anonymous, port: broker.port }, options, sink);
  await until(() => expect(broker.isHeldBack).toBe(true));
  await until(() => expect(sink.bytes).toBeGreaterThanOrEqual(512 * KIBIBYTE));
  await until(() => {
    sink.answer();
    expect(broker.accepted).toBe(24);
  });
  expect(sink.mostBytes).toBeLessThanOrEqual((512 + 50) * KIBIBYTE);
});

it('AMQP 1.0: takes messages that are larger than all that it may hold, from several sources', async () => {
  const broker = await startAmqp10(2, 150 * KIBIBYTE);
  const sink = new SlowSink();
  const options = { inFlightBytesMax: 64 * KIBIBYTE };
  const connection = { ...anonymous, port: broker.port, frameBytesMax: 4096 };
  await receive(createAmqp10BridgeDriver(), connection, options, sink, ['one', 'two']);
  await until(() => {
    sink.answer();
    expect(broker.accepted).toBe(4);
  });
  expect(sink.mostBytes).toBeLessThanOrEqual(2 * 150 * KIBIBYTE);
});

it('AMQP 1.0: goes on where the numbers of transfers begin anew', async () => {
  const flowsWith = async (firstId: number): Promise<number> => {
    const broker = await startAmqp10(2_000, 100, firstId);
    const sink = new SlowSink();
    await receive(createAmqp10BridgeDriver(), { ...anonymous, port: broker.port }, {}, sink);
    await until(() => {
      sink.answer();
      expect(broker.accepted).toBe(2_000);
    });
    return broker.flows;
  };
  const usual = await flowsWith(0);
  expect(await flowsWith(0xffff_fffc)).toBeLessThan(usual + 5);
});
