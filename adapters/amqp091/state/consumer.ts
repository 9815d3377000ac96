/**
 * One consumer of a channel: encodes deliveries into the transport as the core hands them over and returns credit
 * as they are settled. Credit is the prefetch; while the transport is full or the channel's shared limit is
 * reached it is withdrawn and kept here.
 */

import { Buffer } from 'node:buffer';
import {
  type Consumer,
  type Delivery,
  type DeliveryOptions,
  type LastAnswer,
  type Message,
  type Principal,
  queueAddress,
  type Subscription,
} from '../../../src/core/index.ts';
import { writeDeliver } from '../codec/content-frames.ts';
import { wireCursor } from '../codec/wire-content.ts';
import type { ChannelContext, CreditOwner } from '../context.ts';
import type { CreditHolder } from './unsettled.ts';

export class ConsumerState implements Consumer, CreditHolder, CreditOwner {
  readonly tag: string;
  readonly queue: string;
  readonly settled: boolean;
  readonly #channel: ChannelContext;
  /** Null: the queue is the client's own. */
  readonly #rights: LastAnswer | null;
  readonly #address: string;
  /** With its length byte. */
  readonly #tagBytes: Buffer;
  #subscription: Subscription | null = null;
  /** Settled since credit was last given. */
  #owed = 0;
  /** Credit that waits until the transport and the channel allow it. */
  #held = 0;

  constructor(
    channel: ChannelContext,
    tag: string,
    queue: string,
    settled: boolean,
    rights: LastAnswer | null,
  ) {
    this.#channel = channel;
    this.#rights = rights;
    this.#address = queueAddress(queue);
    this.tag = tag;
    this.queue = queue;
    this.settled = settled;
    const bytes = Buffer.from(tag);
    this.#tagBytes = Buffer.concat([Buffer.of(bytes.length), bytes]);
  }

  /** Begins delivery: called once, after consume-ok is written. */
  begin(subscription: Subscription, credit: number): void {
    this.#subscription = subscription;
    this.#held = credit;
    this.restore();
  }

  deliver(message: Message, options: DeliveryOptions, delivery: Delivery | null): void {
    const channel = this.#channel;
    const { connection } = channel;
    if (this.#rights?.may(connection.principal as Principal, this.#address) === false) {
      this.#giveBack(delivery);
      return;
    }
    const tag = channel.nextDeliveryTag();
    let redelivered = false;
    if (delivery !== null) {
      channel.unsettled.add(tag, delivery, this);
      redelivered = delivery.redelivered;
    }
    const { transport, frameBytesMax } = connection;
    const { clock, core } = connection.shared.host;
    const wire = wireCursor.load(message, options.via, clock.nowMs(), frameBytesMax, core.replies);
    writeDeliver(
      transport,
      channel.number,
      this.#tagBytes,
      tag,
      redelivered,
      wire,
      message.body,
      frameBytesMax,
    );
    if (delivery !== null && channel.prefetchOfAll > 0 && channel.limited) {
      channel.withdrawCredit('acknowledging');
      channel.served(this);
    }
    if (transport.pendingBytes > transport.listener.highWaterBytes) {
      connection.throttle(channel);
      channel.served(this);
    }
  }

  /** The queue is gone: the client is told where it can understand it. */
  cancelled(): void {
    const channel = this.#channel;
    this.#subscription = null;
    channel.consumers.delete(this.tag);
    if (channel.connection.capabilities.has('consumer_cancel_notify')) {
      channel.send('basic.cancel', { consumerTag: this.tag, nowait: true });
    }
  }

  /**
   * The queue may not be read any more, by rules that were changed meanwhile: the consumer ends when the core is done
   * here. A message that is settled as it leaves is lost with it, one at most.
   */
  #giveBack(delivery: Delivery | null): void {
    const { core, clock } = this.#channel.connection.shared.host;
    if (delivery === null) core.counters.dropped++;
    this.withdraw();
    clock.afterTurn(() => {
      delivery?.settle('released');
      if (this.#subscription === null) return;
      this.close();
      this.cancelled();
    });
  }

  settledOne(): void {
    // Even when it has ended: the others of the channel may have waited for room under the shared limit.
    if (this.#subscription === null && this.#channel.prefetchOfAll === 0) return;
    if (this.#owed++ === 0) this.#channel.connection.creditDue(this);
  }

  grantOwed(): void {
    if (this.#subscription !== null) this.#held += this.#owed;
    this.#owed = 0;
    if (this.#channel.prefetchOfAll > 0) this.#channel.restoreCredit();
    else this.restore();
  }

  /** Takes back the credit that is left, to be given again by `restore`. */
  withdraw(): void {
    if (this.#subscription !== null) this.#held += this.#subscription.withdraw();
  }

  restore(): void {
    const channel = this.#channel;
    if (this.#subscription === null || this.#held === 0 || channel.connection.throttled) return;
    if (!this.settled && channel.limited) return;
    const credit = this.#held;
    this.#held = 0;
    this.#subscription.grant(credit);
  }

  /** Ends it. What it was handed stays with the channel, which settles it or gives it back. */
  close(): void {
    const subscription = this.#subscription;
    this.#subscription = null;
    subscription?.close(true);
  }
}
