/**
 * One bridge's link to an outside broker of AMQP 1.0: a connection of its own with one link to send on, or one for each source.
 * Opened by `index.ts`. A link that the broker detaches ends all of it, and `lost` is told once, unless it was closed.
 */

import type { Sender, SenderOptions } from 'rhea';
import {
  type BridgeLink,
  type InboundSink,
  LinkError,
  type LinkOptions,
  type OutsideMessage,
  type SendAnswer,
} from '../../src/outside.ts';
import { connectTo, type OutsideConnection } from './connection.ts';
import { linkErrorFrom, type OutsideFault } from './errors.ts';
import { Inbound } from './inbound.ts';
import { Outbound } from './outbound.ts';
import type { InOptions, OutOptions, OutsideAmqp10 } from './settings.ts';

/** For what is under way when the link is closed. */
const FINISH_TIMEOUT_MS = 1000;
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

class Amqp10Link implements BridgeLink {
  /** The other side does not say who it is in this protocol. */
  readonly peer = null;
  readonly sentOffset = null;
  readonly #connection: OutsideConnection;
  readonly #link: LinkOptions;
  #outbound: Outbound | null = null;
  #inbound: Inbound | null = null;
  #sending: Promise<unknown> = Promise.resolve();
  #isOpen = true;
  #closed: Promise<void> | null = null;

  constructor(connection: OutsideConnection, link: LinkOptions) {
    this.#connection = connection;
    this.#link = { ...link, lost: (error) => this.#lose(error, link) };
  }

  async startSending(user: string): Promise<void> {
    const options = this.#link.options as OutOptions;
    const sender = await openSender(this.#connection, this.#link, options);
    this.#outbound = new Outbound(sender, this.#link, options, user);
    this.#watch();
  }

  startReceiving(): void {
    this.#inbound = new Inbound(this.#connection, this.#link, this.#link.options as InOptions);
    this.#watch();
  }

  #watch(): void {
    this.#connection.watch((error) => {
      this.#outbound?.fail(error);
      // What was settled before is answered first.
      this.#link.clock.afterTurn(() => this.#link.lost(error));
    });
  }

  #lose(error: Error, { lost }: LinkOptions): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    lost(error);
  }

  async send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    if (this.#outbound === null) throw new Error('this link receives');
    const sending = this.#outbound.send(batch);
    this.#sending = sending;
    return await sending;
  }

  async receive(sources: readonly string[], sink: InboundSink): Promise<void> {
    if (this.#inbound === null) throw new Error('this link sends');
    try {
      await this.#inbound.start(sources, sink);
    } finally {
      this.#watch();
    }
  }

  close(): Promise<void> {
    this.#isOpen = false;
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = this.#link.clock.after(FINISH_TIMEOUT_MS, resolve);
    const underWay = Promise.allSettled([this.#sending, this.#inbound?.stop()]);
    if (this.#connection.ended === null) await Promise.race([underWay, late]);
    timer.cancel();
    this.#outbound?.fail(new LinkError('closed', 'the link is closed'));
    await this.#connection.close();
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
