/**
 * A connection to an outside broker of AMQP 0-9-1, from the first address that answers to its end. `link.ts` opens one for
 * each link. Whatever ends it is told once, by `ended`; nothing that the broker or the network does becomes an uncaught
 * error. The socket belongs to an abort signal, so that a broker that hangs cannot keep it.
 */

import type { ChannelModel, Options, SocketOptions } from 'amqplib';
import { type AddressTurns, LinkError, type LinkOptions, tlsOptionsOf } from '../../src/outside.ts';
import { textOfAddress, usualPort } from '../bridge-amqp/settings.ts';
import { linkErrorFrom, openErrorFrom } from './errors.ts';
import type { OutsideAmqp091 } from './settings.ts';
import { loadAmqplib, type Tap, tapOf } from './wire.ts';

/** How long the broker may take to answer a close. */
const CLOSE_TIMEOUT_MS = 1000;
const PRODUCT = 'RosettaMQ';

export interface ConnectionListener {
  /** Why the broker reads nothing from this connection now; null: it does again. */
  blocked(reason: string | null): void;
  ended(error: LinkError): void;
}

export class OutsideConnection {
  readonly model: ChannelModel;
  readonly tap: Tap;
  /** The other side's gateway id, where it is one. */
  readonly peer: string | null;
  readonly #abort: AbortController;
  readonly #clock: LinkOptions['clock'];
  readonly #where: string;
  #listener: ConnectionListener | null = null;
  #blocked: string | null = null;
  #error: Error | null = null;
  #ended: LinkError | null = null;
  #closed: Promise<void> | null = null;

  constructor(model: ChannelModel, abort: AbortController, clock: LinkOptions['clock'], where: string) {
    this.model = model;
    this.#abort = abort;
    this.#clock = clock;
    this.#where = where;
    this.tap = tapOf(model);
    this.peer = peerOf(model.connection.serverProperties);
    model.on('error', (error) => {
      this.#error ??= error;
    });
    model.on('close', (error) => this.#end(error ?? this.#error));
    model.on('blocked', (reason) => this.#block(reason === '' ? 'no reason told' : reason));
    model.on('unblocked', () => this.#block(null));
    if (this.tap.hasEnded) this.#end(null);
  }

  get blocked(): string | null {
    return this.#blocked;
  }

  get ended(): LinkError | null {
    return this.#ended;
  }

  /** From here on the listener hears of it; of an end that was already, at once. */
  watch(listener: ConnectionListener): void {
    this.#listener = listener;
    if (this.#ended !== null) listener.ended(this.#ended);
  }

  #block(reason: string | null): void {
    this.#blocked = reason;
    this.#listener?.blocked(reason);
  }

  #end(error: Error | null | undefined): void {
    if (this.#ended !== null) return;
    this.#ended =
      error === null || error === undefined
        ? new LinkError('closed', `${this.#where} closed the connection`)
        : linkErrorFrom(error, this.#where);
    this.#abort.abort();
    this.#listener?.ended(this.#ended);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#listener = null;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#clock.after(CLOSE_TIMEOUT_MS, resolve);
    // It may have ended already, which is as good.
    this.model.close().then(resolve, () => resolve());
    await promise;
    timer.cancel();
    this.#abort.abort();
  }
}

function peerOf(properties: Readonly<Record<string, unknown>>): string | null {
  const { product, cluster_name: cluster } = properties;
  return product === PRODUCT && typeof cluster === 'string' && /^[0-9a-f]{32}$/.test(cluster)
    ? cluster
    : null;
}

/** Tries each address in turn; what another address would not better ends it at once. Throws LinkError. */
export async function connectTo(
  options: LinkOptions,
  settings: OutsideAmqp091,
  turns: AddressTurns,
): Promise<OutsideConnection> {
  let failure: LinkError | null = null;
  for (const address of turns.inTurn(options, addressesOf(settings))) {
    try {
      return await connectOnce(options, settings, address);
    } catch (error) {
      const next = openErrorFrom(error, address.text, settings.virtualHost);
      const another = ['unreachable', 'timeout', 'closed'].includes(next.failure);
      if (another) turns.failed(options);
      if (!another || options.signal.aborted) throw next;
      failure = next;
    }
  }
  throw failure ?? new LinkError('unreachable', 'no address');
}

interface Address {
  readonly host: string;
  readonly port: number;
  readonly text: string;
}

export function addressesOf(settings: OutsideAmqp091): readonly Address[] {
  const usual = usualPort(settings);
  const first = { host: settings.host, port: settings.port === 0 ? usual : settings.port };
  const others = settings.addresses.map((text) => {
    const [, bracketed, plain = text, port] = /^(?:\[(.+)\]|([^:]+))(?::(\d+))?$/.exec(text) ?? [];
    return { host: bracketed ?? plain, port: port === undefined ? usual : Number(port) };
  });
  return [first, ...others].map(({ host, port }) => ({ host, port, text: textOfAddress(host, port) }));
}

async function connectOnce(
  options: LinkOptions,
  settings: OutsideAmqp091,
  { host, port, text }: Address,
): Promise<OutsideConnection> {
  const { credentials, connect } = await loadAmqplib();
  const { user, password = 'guest', mechanism, connectTimeoutMs } = settings;
  const tls = tlsOptionsOf(settings.tls);
  const abort = new AbortController();
  const stop = (): void => abort.abort();
  options.signal.throwIfAborted();
  options.signal.addEventListener('abort', stop, { once: true });
  let isLate = false;
  const timer = options.clock.after(connectTimeoutMs, () => {
    isLate = true;
    abort.abort();
  });
  const target: Options.Connect = {
    protocol: tls === null ? 'amqp' : 'amqps',
    hostname: host,
    port,
    heartbeat: settings.heartbeatSeconds,
    frameMax: settings.frameBytesMax,
    // It is decoded there.
    vhost: encodeURIComponent(settings.virtualHost),
  };
  const socketOptions = {
    ...tls,
    signal: abort.signal,
    noDelay: true,
    keepAlive: true,
    credentials: mechanism === 'EXTERNAL' ? credentials.external() : credentials.plain(user, password),
    clientProperties: {
      product: PRODUCT,
      connection_name: settings.connectionName || `rosettamq: ${options.name}`,
    },
  };
  try {
    // What it does not name is passed on to `node:net` and `node:tls`.
    const model = await connect(target, socketOptions as SocketOptions);
    return new OutsideConnection(model, abort, options.clock, text);
  } catch (error) {
    abort.abort();
    if (isLate) throw new LinkError('timeout', `${text}: not open within ${connectTimeoutMs} ms`);
    throw error;
  } finally {
    timer.cancel();
    options.signal.removeEventListener('abort', stop);
  }
}
