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
} from '../../src/outside.ts';
import { OneWayLink } from '../bridge-amqp/one-way-link.ts';
import { connectTo, type OutsideConnection } from './connection.ts';
import { Inbound } from './inbound.ts';
import { Outbound } from './outbound.ts';
import type { InOptions, OutOptions, OutsideAmqp091 } from './settings.ts';
import { checkTopology, declareTopology } from './topology.ts';

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

class Amqp091Link extends OneWayLink {
  readonly peer: string | null;
  protected readonly outbound: Outbound | null;
  protected readonly inbound: Inbound | null;
  readonly #connection: OutsideConnection;

  constructor(connection: OutsideConnection, options: LinkOptions, user: string) {
    super(connection, options);
    const { link } = this;
    this.peer = connection.peer;
    this.#connection = connection;
    const isOut = link.direction === 'out';
    this.outbound = isOut ? new Outbound(connection, link, link.options as OutOptions, user) : null;
    this.inbound = isOut ? null : new Inbound(connection, link, link.options as InOptions);
  }

  async start(): Promise<void> {
    await this.outbound?.start();
    this.#connection.watch({
      blocked: (reason) => this.#blocked(reason),
      ended: (error) => this.ended(error),
    });
  }

  #blocked(reason: string | null): void {
    const { logger, name } = this.link;
    if (reason === null) logger.info({ bridge: name }, 'the outside broker takes messages again');
    else logger.warn({ bridge: name, reason }, 'the outside broker takes no messages now');
    this.outbound?.blocked(reason);
  }

  override async receive(sources: readonly string[], sink: InboundSink): Promise<void> {
    const limit = closeAfter(this.#connection, this.link);
    try {
      await super.receive(sources, sink);
    } catch (error) {
      throw limit.error ?? error;
    } finally {
      limit.cancel();
    }
  }
}
