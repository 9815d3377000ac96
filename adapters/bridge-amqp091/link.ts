/**
 * One bridge's link to an outside broker of AMQP 0-9-1: a connection of its own with one channel for what is sent or
 * received. Opened by `index.ts`. The end of the connection ends the link, and `lost` is told once, unless it was closed.
 */

import {
  type AddressTurns,
  type BridgeLink,
  type InboundSink,
  LinkError,
  type LinkOptions,
  type OutsideMessage,
  type SendAnswer,
} from '../../src/outside.ts';
import { connectTo, type OutsideConnection } from './connection.ts';
import { Inbound } from './inbound.ts';
import { Outbound } from './outbound.ts';
import type { InOptions, OutOptions, OutsideAmqp091 } from './settings.ts';
import { checkTopology, declareTopology } from './topology.ts';

/** For what is under way when the link is closed. */
const FINISH_TIMEOUT_MS = 1000;

export async function openLink(options: LinkOptions, turns: AddressTurns): Promise<BridgeLink> {
  const settings = options.connection as OutsideAmqp091;
  const connection = await connectTo(options, settings, turns);
  const limit = closeAfter(connection, options);
  try {
    const { declare } = options.options as OutOptions | InOptions;
    const link = new Amqp091Link(connection, options, settings.user);
    const stop = (): void => void connection.close();
    options.signal.addEventListener('abort', stop, { once: true });
    const prepare = options.isTrial ? checkTopology : declareTopology;
    await prepare(connection, declare, options.logger);
    await link.start();
    options.signal.removeEventListener('abort', stop);
    options.signal.throwIfAborted();
    return link;
  } catch (error) {
    const { ended } = connection;
    await connection.close();
    throw ended ?? limit.error ?? error;
  } finally {
    limit.cancel();
  }
}

/** A broker that hangs after the login would hold on to whoever waits for its answer. */
function closeAfter(
  connection: OutsideConnection,
  { clock, connection: settings }: LinkOptions,
): { readonly error: LinkError | null; cancel(): void } {
  const { connectTimeoutMs } = settings as OutsideAmqp091;
  let error: LinkError | null = null;
  const timer = clock.after(connectTimeoutMs, () => {
    error = new LinkError('timeout', `the broker did not answer within ${connectTimeoutMs} ms`);
    void connection.close();
  });
  return {
    get error() {
      return error;
    },
    cancel: () => timer.cancel(),
  };
}

class Amqp091Link implements BridgeLink {
  readonly sentOffset = null;
  readonly #connection: OutsideConnection;
  readonly #link: LinkOptions;
  readonly #outbound: Outbound | null;
  readonly #inbound: Inbound | null;
  #sending: Promise<unknown> = Promise.resolve();
  #isOpen = false;
  #closed: Promise<void> | null = null;

  constructor(connection: OutsideConnection, link: LinkOptions, user: string) {
    this.#connection = connection;
    // A link that was given back is told of; until then `open` rejects.
    this.#link = { ...link, lost: (error) => this.#lose(error, link) };
    const isOut = link.direction === 'out';
    this.#outbound = isOut ? new Outbound(connection, this.#link, link.options as OutOptions, user) : null;
    this.#inbound = isOut ? null : new Inbound(connection, this.#link, link.options as InOptions);
  }

  get peer(): string | null {
    return this.#connection.peer;
  }

  async start(): Promise<void> {
    await this.#outbound?.start();
    this.#isOpen = true;
    this.#connection.watch({
      blocked: (reason) => this.#blocked(reason),
      ended: (error) => {
        this.#outbound?.fail(error);
        // What was confirmed before is answered first.
        this.#link.clock.afterTurn(() => this.#link.lost(error));
      },
    });
  }

  #lose(error: Error, { lost }: LinkOptions): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    lost(error);
  }

  #blocked(reason: string | null): void {
    const { logger, name } = this.#link;
    if (reason === null) logger.info({ bridge: name }, 'the outside broker takes messages again');
    else logger.warn({ bridge: name, reason }, 'the outside broker takes no messages now');
    this.#outbound?.blocked(reason);
  }

  async send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    if (this.#outbound === null) throw new Error('this link receives');
    const sending = this.#outbound.send(batch);
    this.#sending = sending;
    return await sending;
  }

  async receive(sources: readonly string[], sink: InboundSink): Promise<void> {
    if (this.#inbound === null) throw new Error('this link sends');
    const limit = closeAfter(this.#connection, this.#link);
    try {
      await this.#inbound.start(sources, sink);
    } catch (error) {
      throw limit.error ?? error;
    } finally {
      limit.cancel();
    }
  }

  close(): Promise<void> {
    this.#isOpen = false;
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #finish(): Promise<void> {
    await Promise.allSettled([this.#sending, this.#inbound?.stop()]);
    await this.#outbound?.stop();
  }

  async #close(): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = this.#link.clock.after(FINISH_TIMEOUT_MS, resolve);
    if (this.#connection.ended === null) await Promise.race([this.#finish(), late]);
    timer.cancel();
    this.#outbound?.fail(new LinkError('closed', 'the link is closed'));
    await this.#connection.close();
  }
}
