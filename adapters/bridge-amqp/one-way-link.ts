/**
 * What the links to outside brokers of AMQP 0-9-1 and of AMQP 1.0 have in common: a connection of its own that either sends or
 * receives, whose end is told once, and a close that lets what is under way finish. The two drivers build theirs on it.
 */

import {
  type BridgeLink,
  type InboundSink,
  LinkError,
  type LinkOptions,
  type OutsideMessage,
  type SendAnswer,
} from '../../src/outside.ts';

/** For what is under way when the link is closed. */
const FINISH_TIMEOUT_MS = 1000;

interface Connection {
  /** Why it is of no use any more. */
  readonly ended: LinkError | null;
  close(): Promise<void>;
}

interface Sending {
  send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]>;
  /** Ends what waits for an answer. */
  fail(error: LinkError): void;
  /** What was written is read by the broker before the connection is closed. */
  stop?(): Promise<void>;
}

interface Receiving {
  start(sources: readonly string[], sink: InboundSink): Promise<void>;
  /** Resolves when what the sink has is settled. */
  stop(): Promise<void>;
}

export abstract class OneWayLink implements BridgeLink {
  abstract readonly peer: string | null;
  readonly sentOffset = null;
  /** `lost` is told at most once, and not after the close. */
  protected readonly link: LinkOptions;
  readonly #connection: Connection;
  #sending: Promise<unknown> = Promise.resolve();
  #isOpen = true;
  #closed: Promise<void> | null = null;

  constructor(connection: Connection, link: LinkOptions) {
    this.#connection = connection;
    this.link = {
      ...link,
      lost: (error) => {
        if (!this.#isOpen) return;
        this.#isOpen = false;
        link.lost(error);
      },
    };
  }

  /** Null where it receives. */
  protected abstract readonly outbound: Sending | null;
  /** Null where it sends. */
  protected abstract readonly inbound: Receiving | null;

  /** The connection has ended. */
  protected ended(error: LinkError): void {
    this.outbound?.fail(error);
    // What was settled before is answered first.
    this.link.clock.afterTurn(() => this.link.lost(error));
  }

  async send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    if (this.outbound === null) throw new Error('this link receives');
    const sending = this.outbound.send(batch);
    this.#sending = sending;
    return await sending;
  }

  async receive(sources: readonly string[], sink: InboundSink): Promise<void> {
    if (this.inbound === null) throw new Error('this link sends');
    await this.inbound.start(sources, sink);
  }

  close(): Promise<void> {
    this.#isOpen = false;
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #finish(): Promise<void> {
    await Promise.allSettled([this.#sending, this.inbound?.stop()]);
    await this.outbound?.stop?.();
  }

  async #close(): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = this.link.clock.after(FINISH_TIMEOUT_MS, resolve);
    if (this.#connection.ended === null) await Promise.race([this.#finish(), late]);
    // What waits for the sink is of no use any more, and nobody else would stop offering it.
    else void this.inbound?.stop();
    timer.cancel();
    this.outbound?.fail(new LinkError('closed', 'the link is closed'));
    await this.#connection.close();
  }
}
