/**
 * An AMQP 0-9-1 server in this process for real clients to connect to: the adapter and the core as they are, with
 * a storage in memory and a socket host of a few lines, so that these tests need neither files nor the gateway.
 */

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import Value from 'typebox/value';
import { createAmqp091Adapter } from '../../../adapters/amqp091/index.ts';
import { type Amqp091Settings, amqp091Settings } from '../../../adapters/amqp091/settings.ts';
import { amqp091Codec } from '../../../mappings/amqp091.ts';
import type { Clock, Core, CoreOptions, Limits, Timer } from '../../../src/core/index.ts';
import type { CloseReason, ConnectionHandler, Host, ListenerInfo, Transport } from '../../../src/host.ts';
import { openTestCore } from '../../support/core.ts';

class RealClock implements Clock {
  #tasks: (() => void)[] = [];

  nowMs(): number {
    return Date.now();
  }

  after(delayMs: number, task: () => void): Timer {
    const handle = setTimeout(task, delayMs);
    handle.unref();
    return { dueMs: Date.now() + delayMs, cancel: () => clearTimeout(handle) };
  }

  afterTurn(task: () => void): void {
    this.#tasks.push(task);
    if (this.#tasks.length > 1) return;
    setImmediate(() => {
      for (let i = 0; i < this.#tasks.length; i++) (this.#tasks[i] as () => void)();
      this.#tasks = [];
    });
  }
}

class SocketTransport implements Transport {
  readonly id: number;
  readonly listener: ListenerInfo = { name: 'amqp091', transport: 'tcp', highWaterBytes: 1_048_576 };
  readonly remoteAddress = '127.0.0.1';
  readonly remotePort = 0;
  readonly localAddress = '127.0.0.1';
  readonly localPort = 0;
  buffer: Buffer = Buffer.alloc(0);
  handler: ConnectionHandler | null = null;
  closedFor: string | null = null;
  readonly #socket: Socket;
  readonly #clock: Clock;
  #used = 0;
  #scheduled = false;
  #over = false;

  constructor(id: number, socket: Socket, clock: Clock) {
    this.id = id;
    this.#socket = socket;
    this.#clock = clock;
    socket.on('drain', () => this.handler?.drained());
    socket.on('close', () => this.end('connection-lost'));
    socket.on('error', () => {});
  }

  get pendingBytes(): number {
    return this.#used + this.#socket.writableLength;
  }

  reserve(bytes: number): number {
    if (this.#used + bytes > this.buffer.length) {
      this.#flush();
      this.buffer = Buffer.allocUnsafeSlow(Math.max(65_536, bytes));
    }
    const at = this.#used;
    this.#used += bytes;
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#clock.afterTurn(() => {
        this.#scheduled = false;
        this.#flush();
      });
    }
    return at;
  }

  write(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.buffer.set(bytes, at);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(reason: CloseReason, detail = ''): void {
    this.#flush();
    this.closedFor = `${reason}: ${detail}`;
    this.#socket.end();
    this.end(reason);
  }

  destroy(reason: CloseReason): void {
    this.#socket.destroy();
    this.end(reason);
  }

  end(reason: CloseReason): void {
    if (this.#over) return;
    this.#over = true;
    this.handler?.closed(reason);
  }

  #flush(): void {
    if (this.#used === 0 || this.#over) return;
    // Filled after `reserve` returned, but always before the turn ends or the next `reserve`.
    this.#socket.write(this.buffer.subarray(0, this.#used));
    this.buffer = this.buffer.subarray(this.#used);
    this.#used = 0;
  }
}

export interface Broker {
  readonly port: number;
  readonly url: string;
  readonly core: Core;
  readonly handlers: ReadonlySet<ConnectionHandler>;
  close(): Promise<void>;
}

export async function startBroker(
  options: {
    readonly settings?: Partial<Amqp091Settings>;
    readonly limits?: Partial<Limits>;
    readonly core?: Partial<CoreOptions>;
    readonly users?: Readonly<Record<string, string>>;
  } = {},
): Promise<Broker> {
  const clock = new RealClock();
  const { core } = await openTestCore({
    limits: options.limits ?? {},
    core: { clock, codecs: [amqp091Codec], ...options.core },
  });
  const silent = { debug() {}, info() {}, warn() {}, error: (details: object) => console.error(details) };
  const { users } = options;
  const host: Host = {
    core,
    clock,
    logger: silent,
    authenticator: {
      authenticate(credentials) {
        if (credentials.kind === 'anonymous') return users === undefined ? { user: '', groups: [] } : null;
        const known =
          users === undefined || users[credentials.user] === Buffer.from(credentials.password).toString();
        return known ? { user: credentials.user, groups: [] } : null;
      },
    },
    clusterId: new Uint8Array(16),
    version: '0.0.0-test',
    listening: () => undefined,
  };
  const settings = Value.Default(amqp091Settings, { ...options.settings }) as Amqp091Settings;
  const adapter = createAmqp091Adapter(host, settings);
  await adapter.start();
  const sockets = new Set<Socket>();
  const handlers = new Set<ConnectionHandler>();
  let nextId = 1;
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    const transport = new SocketTransport(nextId++, socket, clock);
    const handler = adapter.connect(transport);
    transport.handler = handler;
    handlers.add(handler);
    socket.on('data', (chunk) => handler.received(chunk));
    socket.on('close', () => {
      sockets.delete(socket);
      handlers.delete(handler);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    core,
    handlers,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await adapter.stop();
      await core.close();
    },
  };
}
