/**
 * One bridge's link to an outside broker of AMQP 1.0: a connection of its own with one link to send on, or one for each source.
 * Opened by `index.ts`. A link that the broker detaches ends all of it, and `lost` is told once, unless it was closed.
 */

import type { Sender, SenderOptions } from 'rhea';
import { type BridgeLink, type InboundSink, LinkError, type LinkOptions } from '../../src/outside.ts';
import { OneWayLink } from '../bridge-amqp/one-way-link.ts';
import { connectTo, type OutsideConnection } from './connection.ts';
import { linkErrorFrom, type OutsideFault } from './errors.ts';
import { Inbound } from './inbound.ts';
import { Outbound } from './outbound.ts';
import type { InOptions, OutOptions, OutsideAmqp10 } from './settings.ts';

/** A broker that gives no credit for so long after the link was opened gives it later. */
const FIRST_CREDIT_TIMEOUT_MS = 2000;
const PRE_SETTLED = 1;
const UNSETTLED = 0;

export async function openLink(options: LinkOptions): Promise<BridgeLink> {
  const settings = options.connection as OutsideAmqp10;
  const connection = await connectTo(options, settings);
  const stop = (): void => connection.end(new LinkError('timeout', 'given up'));
  options.signal.addEventListener('abort', stop, { once: true });
  try {
    const isOut = options.direction === 'out';
    const link = new Amqp10Link(connection, options);
    if (isOut) await link.startSending(settings.user);
    else link.startReceiving();
    return link;
  } catch (error) {
    const { ended } = connection;
    await connection.close();
    throw ended ?? error;
  } finally {
    options.signal.removeEventListener('abort', stop);
  }
}

class Amqp10Link extends OneWayLink {
  /** The other side does not say who it is in this protocol. */
  readonly peer = null;
  protected outbound: Outbound | null = null;
  protected inbound: Inbound | null = null;
  readonly #connection: OutsideConnection;

  constructor(connection: OutsideConnection, options: LinkOptions) {
    super(connection, options);
    this.#connection = connection;
  }

  async startSending(user: string): Promise<void> {
    const options = this.link.options as OutOptions;
    const sender = await openSender(this.#connection, this.link, options);
    this.outbound = new Outbound(sender, this.link, options, user);
    this.#watch();
  }

  startReceiving(): void {
    this.inbound = new Inbound(this.#connection, this.link, this.link.options as InOptions);
    this.#watch();
  }

  #watch(): void {
    this.#connection.watch((error) => this.ended(error));
  }

  override async receive(sources: readonly string[], sink: InboundSink): Promise<void> {
    try {
      await super.receive(sources, sink);
    } finally {
      this.#watch();
    }
  }
}

/** A refused link is opened in form and then detached, so the first credit is what says that it is there. */
async function openSender(
  outside: OutsideConnection,
  { clock, connection, name, delivery }: LinkOptions,
  { target, capability }: OutOptions,
): Promise<Sender> {
  const where = target === '' ? 'the anonymous terminus' : `target ${JSON.stringify(target)}`;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const setup = {
    name: `${name}:${target}`,
    snd_settle_mode: delivery === 'at-most-once' ? PRE_SETTLED : UNSETTLED,
    treat_modified_as_released: false,
    target: {
      ...(target === '' ? {} : { address: target }),
      ...(capability === 'none' ? {} : { capabilities: [capability] }),
    },
  };
  const sender = outside.connection.open_sender(setup as SenderOptions);
  sender.on('sendable', () => resolve());
  sender.on('sender_error', () =>
    outside.end(linkErrorFrom(sender.error as OutsideFault | undefined, where)),
  );
  sender.on('sender_close', () =>
    outside.end(new LinkError('no-target', `${where}: the broker ended the link`)),
  );
  outside.watch(reject);
  const { connectTimeoutMs } = connection as OutsideAmqp10;
  let timer = clock.after(connectTimeoutMs, () => {
    outside.end(new LinkError('timeout', `${where}: not open within ${connectTimeoutMs} ms`));
  });
  sender.on('sender_open', () => {
    timer.cancel();
    timer = clock.after(FIRST_CREDIT_TIMEOUT_MS, resolve);
  });
  try {
    await promise;
    return sender;
  } finally {
    timer.cancel();
  }
}
