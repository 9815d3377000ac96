/** A network with one listener and handlers that record what they are told, for the tests of this folder. */
import { connect, Socket } from 'node:net';
import { SystemClock } from '../../../src/clock.ts';
import type {
  Adapter,
  CloseReason,
  ConnectionHandler,
  DisconnectReason,
  ListenerSpec,
  Logger,
  Transport,
} from '../../../src/host.ts';
import { Network } from '../../../src/net/network.ts';
import { type NetworkSettings, networkSettings } from '../../../src/net/settings.ts';
import { type TlsSettings, tlsSettings } from '../../../src/net/tls-settings.ts';

const defaultsOf = (properties: object): object =>
  Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => [name, (schema as { default?: unknown }).default]),
  );

export const DEFAULT_NETWORK = defaultsOf(networkSettings.properties) as NetworkSettings;
const DEFAULT_TLS = defaultsOf(tlsSettings.properties) as TlsSettings;

export class RecordingHandler implements ConnectionHandler {
  readonly transport: Transport;
  readonly chunks: Buffer[] = [];
  readonly closedWith: CloseReason[] = [];
  drainedCount = 0;
  /** What to do with input, besides keeping it. */
  onReceived: (chunk: Buffer) => void = () => {};
  onDrained: () => void = () => {};

  constructor(transport: Transport) {
    this.transport = transport;
  }

  received(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.onReceived(chunk);
  }

  drained(): void {
    this.drainedCount++;
    this.onDrained();
  }

  closed(reason: CloseReason): void {
    this.closedWith.push(reason);
  }

  disconnect(reason: DisconnectReason): void {
    this.transport.write(Buffer.from('bye'));
    this.transport.close(reason);
  }

  // Not as a method: at the start of a line that word begins tests.
  readonly identity = null;
  readonly describe = () => ({ protocol: 'test', clientId: 'c', user: 'u', details: {} });
}

export interface NetWorld {
  readonly network: Network;
  readonly clock: SystemClock;
  readonly port: number;
  readonly logged: {
    readonly level: string;
    readonly details: Record<string, unknown>;
    readonly text: string;
  }[];
  /** The next connection's handler, by order of arrival. */
  accepted(): Promise<RecordingHandler>;
  open(): Promise<{ readonly client: Socket; readonly handler: RecordingHandler }>;
  close(): Promise<void>;
}

export async function openNetWorld(
  spec: Partial<ListenerSpec> = {},
  settings: Partial<NetworkSettings> = {},
  tls: Partial<TlsSettings> = {},
): Promise<NetWorld> {
  const logged: NetWorld['logged'] = [];
  const log =
    (level: string) =>
    (details: object, text: string): void => {
      logged.push({ level, details: details as Record<string, unknown>, text });
    };
  const logger: Logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
  const clock = new SystemClock((error) => {
    throw error;
  });
  const network = new Network(clock, { ...DEFAULT_NETWORK, ...settings }, logger, { ...DEFAULT_TLS, ...tls });
  const handlers: RecordingHandler[] = [];
  const waiting: ((handler: RecordingHandler) => void)[] = [];
  const adapter: Adapter = {
    name: 'test',
    listeners: [],
    start: () => Promise.resolve(),
    connect: (transport) => {
      const handler = new RecordingHandler(transport);
      const next = waiting.shift();
      if (next === undefined) handlers.push(handler);
      else next(handler);
      return handler;
    },
    stop: () => Promise.resolve(),
  };
  const listening = network.listen(
    {
      name: 'test',
      transport: 'tcp',
      host: '127.0.0.1',
      port: 0,
      connectionsMax: 100,
      highWaterBytes: 100_000,
      ...spec,
    },
    adapter,
  );
  await listening.catch((error: unknown) => {
    clock.stop();
    throw error;
  });
  const port = network.listening('test')?.port ?? 0;
  const accepted = (): Promise<RecordingHandler> =>
    new Promise((resolve) => {
      const handler = handlers.shift();
      if (handler === undefined) waiting.push(resolve);
      else resolve(handler);
    });
  return {
    network,
    clock,
    port,
    logged,
    accepted,
    open: async () => {
      const client = connect(port, '127.0.0.1');
      await new Promise((resolve) => client.once('connect', resolve));
      return { client, handler: await accepted() };
    },
    close: async () => {
      network.stopListening();
      await network.disconnectAll(0);
      clock.stop();
    },
  };
}

/** Reads from a socket until `bytes` have come. */
export function readBytes(socket: Socket, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const take = (chunk: Buffer): void => {
      chunks.push(chunk);
      length += chunk.length;
      if (length < bytes) return;
      socket.off('data', take);
      socket.off('error', reject);
      resolve(Buffer.concat(chunks));
    };
    socket.on('data', take);
    socket.resume();
    socket.once('error', reject);
    if (bytes === 0) resolve(Buffer.alloc(0));
  });
}

/** Counts what is given to sockets of this process while it is on: `[writes, bytes]` of those on `port`. */
export function countWrites(port: number): { readonly counts: { writes: number }; restore(): void } {
  const counts = { writes: 0 };
  const original = Socket.prototype._write;
  const originalVector = Socket.prototype._writev;
  Socket.prototype._write = function (this: Socket, ...args: Parameters<Socket['_write']>) {
    if (this.localPort === port) counts.writes++;
    return original.apply(this, args);
  };
  Socket.prototype._writev = function (this: Socket, ...args: Parameters<NonNullable<Socket['_writev']>>) {
    if (this.localPort === port) counts.writes++;
    return originalVector?.apply(this, args);
  };
  return {
    counts,
    restore: () => {
      Socket.prototype._write = original;
      if (originalVector !== undefined) Socket.prototype._writev = originalVector;
    },
  };
}
