/**
 * A connection to an outside broker of AMQP 1.0, from the first byte to its end. `link.ts` opens one for each link. Its end is
 * told once; nothing that the broker or the network does becomes an uncaught error. The socket belongs to an abort
 * signal, so that a broker that hangs cannot keep it. The client library never connects again by itself.
 */

import { connect as connectTcp, isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Connection, ConnectionOptions, EventContext } from 'rhea';
import { LinkError, type LinkOptions, tlsOptionsOf } from '../../src/outside.ts';
import { textOfAddress, usualPort } from '../bridge-amqp/settings.ts';
import { linkErrorFrom, type OutsideFault } from './errors.ts';
import type { OutsideAmqp10 } from './settings.ts';

/** How long the broker may take to answer a close. */
const CLOSE_TIMEOUT_MS = 1000;
/** Deliveries that the library keeps of a session in each direction; beyond it throws. */
const SESSION_DELIVERIES_MIN = 2048;

export class OutsideConnection {
  readonly connection: Connection;
  readonly #abort: AbortController;
  readonly #clock: LinkOptions['clock'];
  readonly #where: string;
  #listener: ((error: LinkError) => void) | null = null;
  #ended: LinkError | null = null;
  #closed: Promise<void> | null = null;

  constructor(connection: Connection, abort: AbortController, clock: LinkOptions['clock'], where: string) {
    this.connection = connection;
    this.#abort = abort;
    this.#clock = clock;
    this.#where = where;
  }

  get ended(): LinkError | null {
    return this.#ended;
  }

  /** From here on the listener hears of its end; of one that was already, at once. */
  watch(listener: (error: LinkError) => void): void {
    this.#listener = listener;
    if (this.#ended !== null) listener(this.#ended);
  }

  /** Something that this connection does not outlive. */
  end(fault: OutsideFault | Error | undefined): void {
    if (this.#ended !== null) return;
    this.#ended = linkErrorFrom(fault, this.#where);
    this.#abort.abort();
    this.#listener?.(this.#ended);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#clock.after(CLOSE_TIMEOUT_MS, resolve);
    if (this.#ended === null) {
      this.#listener = () => resolve();
      this.connection.close();
      await promise;
    }
    timer.cancel();
    this.#listener = null;
    this.#abort.abort();
  }
}

/** Throws LinkError. */
export async function connectTo(options: LinkOptions, settings: OutsideAmqp10): Promise<OutsideConnection> {
  options.signal.throwIfAborted();
  const { default: rhea } = await import('rhea');
  const { host, connectTimeoutMs } = settings;
  const tls = tlsOptionsOf(settings.tls);
  const port = settings.port === 0 ? usualPort(settings) : settings.port;
  const where = textOfAddress(host, port);
  const trial = options.isTrial ? '.trial' : '';
  const containerId =
    settings.containerId === ''
      ? `rosettamq-${options.name}-${options.gatewayId.slice(0, 8)}`
      : `${settings.containerId}${trial}`;
  const abort = new AbortController();
  // A container of its own: what nobody listens for would otherwise be thrown.
  const container = rhea.create_container({ id: containerId });
  const setup = {
    host,
    port,
    container_id: containerId,
    hostname: settings.hostname || host,
    reconnect: false,
    max_frame_size: settings.frameBytesMax,
    session_buffer_size: Math.max(SESSION_DELIVERIES_MIN, 2 * options.inFlightMax),
    ...(settings.idleTimeoutMs === 0 ? {} : { idle_time_out: settings.idleTimeoutMs }),
    ...(settings.mechanism === 'NONE' ? {} : { sasl_mechanisms: mechanismsOf(rhea.sasl, settings) }),
    connect(_port: number, _host: string, _options: unknown, connected: () => void) {
      const target = { host, port, signal: abort.signal, noDelay: true, keepAlive: true };
      if (tls === null) return connectTcp(target, connected);
      const servername = isIP(host) === 0 ? { servername: host } : {};
      return connectTls({ ...target, ...servername, ...tls }, connected);
    },
  };
  const connection = container.create_connection(setup as unknown as ConnectionOptions);
  const outside = new OutsideConnection(connection, abort, options.clock, where);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  outside.watch(reject);
  const told = ({ error }: EventContext): void => outside.end(error as OutsideFault | undefined);
  connection.on('connection_open', () => resolve());
  connection.on('connection_error', (context: EventContext) => {
    const fault = context.error as OutsideFault | undefined;
    // Before it is open the library says so of SASL, whose own word it is not.
    const isLogin =
      fault !== undefined && !connection.is_open() && fault.condition === 'amqp:unauthorized-access';
    outside.end(
      isLogin ? new LinkError('authentication', `${where}: ${fault.description ?? fault.message}`) : fault,
    );
  });
  connection.on('connection_close', told);
  connection.on('disconnected', told);
  connection.on('session_error', ({ session }: EventContext) =>
    outside.end(session?.error as OutsideFault | undefined),
  );
  connection.on('session_close', () => outside.end({ message: 'the session was closed' }));
  for (const emitter of [connection, container]) {
    emitter.on('protocol_error', (error: Error) => outside.end(error));
    emitter.on('error', (error: Error) => outside.end(error));
  }
  const stop = (): void => outside.end(new LinkError('timeout', `${where}: given up`));
  options.signal.addEventListener('abort', stop, { once: true });
  const timer = options.clock.after(connectTimeoutMs, () => {
    outside.end(new LinkError('timeout', `${where}: not open within ${connectTimeoutMs} ms`));
  });
  try {
    connection.connect();
    await promise;
    return outside;
  } catch (error) {
    await outside.close();
    throw error;
  } finally {
    timer.cancel();
    options.signal.removeEventListener('abort', stop);
    outside.watch(() => {});
  }
}

interface Sasl {
  client_mechanisms(): unknown;
}

interface Mechanisms {
  enable_plain(user: string, password: string): void;
  enable_anonymous(name?: string): void;
  enable_external(): void;
}

function mechanismsOf(sasl: unknown, { mechanism, user, password = '' }: OutsideAmqp10): unknown {
  const mechanisms = (sasl as Sasl).client_mechanisms() as Mechanisms;
  if (mechanism === 'PLAIN') mechanisms.enable_plain(user, password);
  else if (mechanism === 'ANONYMOUS') mechanisms.enable_anonymous('anonymous');
  else mechanisms.enable_external();
  return mechanisms;
}
