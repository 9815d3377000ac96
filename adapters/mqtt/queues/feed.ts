/**
 * One subscription to a queue: the consumer that hands its messages to the client. Bounded by the messages that the
 * client has not settled yet; credit goes to the group in small steps, so that a worker that comes first does not take
 * the work of those who come a moment later. What the connection has no room for now is parked here, and returns to
 * the group with everything else when the connection ends. Made by `feeds.ts`.
 */

import { mqtt5Codec } from '../../../mappings/mqtt.ts';
import { mqttPropertiesFromQueueDelivery } from '../../../mappings/mqtt-queues.ts';
import {
  type Consumer,
  type Core,
  type Delivery,
  type DeliveryOptions,
  LastAnswer,
  type Message,
  type Outcome,
  queueAddress,
  type Reliability,
  type Subscription,
} from '../../../src/core/index.ts';
import { propertiesOfDelivery } from '../codec/delivery-properties.ts';
import type { Client } from '../state/client.ts';
import type { Outbound } from '../state/outbound.ts';

const CREDIT_STEP = 10;
/** What came back though it is too large for this client is kept from it so long: another one may have room by then. */
const TOO_LARGE_WAIT_MS = 1_000;

export interface FeedOptions {
  readonly core: Core;
  readonly outbound: Outbound;
  readonly queue: string;
  /** Empty where the subscriber named none and needs none. */
  readonly group: string;
  readonly qos: Reliability;
  /** The client settles by publishing, and not by acknowledging the packet. */
  readonly explicit: boolean;
  /** Unsettled messages at most. */
  readonly unsettledMax: number;
  /** The subscriber's own number for it; 0 is none. */
  readonly subscriptionId: number;
  readonly client: Client;
  /** Some of what it held is settled or taken away; told when the core is done. */
  holdsLess(): void;
  /** Its queue or group was deleted. */
  gone(): void;
}

/** A delivery as the connection knows it, under a packet identifier. */
class SentDelivery implements Delivery {
  readonly message: Message;
  readonly options: DeliveryOptions;
  /** The session notes identifiers by offset, and this one is not among its own. */
  readonly offset = Number.NaN;
  readonly failedCount: number;
  readonly redelivered: boolean;
  readonly #feed: QueueFeed;
  readonly #delivery: Delivery;

  constructor(feed: QueueFeed, delivery: Delivery, message: Message, options: DeliveryOptions) {
    this.#feed = feed;
    this.#delivery = delivery;
    this.message = message;
    this.options = options;
    this.failedCount = delivery.failedCount;
    this.redelivered = delivery.redelivered;
  }

  settle(outcome: Outcome): void {
    this.#feed.acknowledged(this.#delivery, outcome);
  }
}

export class QueueFeed implements Consumer {
  readonly #options: FeedOptions;
  /** Delivered and neither settled nor taken away. */
  readonly #held = new Set<Delivery>();
  /** Those of them that were not sent yet, oldest first. */
  readonly #parked = new Set<Delivery>();
  readonly #rights: LastAnswer;
  readonly #address: string;
  /** Those of them that will never be sent to this client, and those of these that nothing was done about yet. */
  readonly #unsendable = new Set<Delivery>();
  #tooLarge: Delivery[] = [];
  #isForbidden = false;
  #subscription: Subscription | null = null;
  /** Credit that the group has. */
  #granted = 0;
  #isDue = false;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#rights = new LastAnswer(options.core.access, 'read');
    this.#address = queueAddress(options.queue);
  }

  /** It still has part in its queue. */
  get isOpen(): boolean {
    return this.#subscription !== null;
  }

  /** What the client was sent and settles by publishing. */
  get heldCount(): number {
    return this.#options.explicit ? this.#held.size - this.#parked.size - this.#unsendable.size : 0;
  }

  begin(subscription: Subscription): void {
    this.#subscription = subscription;
    this.#topUp();
  }

  close(): void {
    this.#subscription?.close();
    this.#forgetAll();
  }

  deliver(_message: Message, _options: DeliveryOptions, delivery: Delivery | null): void {
    this.#granted--;
    if (delivery === null) return;
    this.#held.add(delivery);
    if (!this.#rights.may(this.#options.client.principal, this.#address)) this.#isForbidden = true;
    if (this.#isForbidden || this.#parked.size > 0 || !this.#send(delivery)) this.#parked.add(delivery);
    this.#workLater();
  }

  left(delivery: Delivery): void {
    this.#held.delete(delivery);
    this.#parked.delete(delivery);
    this.#unsendable.delete(delivery);
    this.#workLater();
  }

  cancelled(): void {
    this.#forgetAll();
    this.#options.core.clock.afterTurn(() => this.#options.gone());
  }

  #forgetAll(): void {
    this.#subscription = null;
    this.#held.clear();
    this.#parked.clear();
    this.#tooLarge = [];
    this.#unsendable.clear();
    this.#granted = 0;
  }

  /** The client acknowledged the packet, or refused it. */
  acknowledged(delivery: Delivery, outcome: Outcome): void {
    if (!this.#options.explicit) {
      if (this.#held.delete(delivery)) delivery.settle(outcome);
    } else if (outcome === 'rejected' && this.#held.delete(delivery)) {
      // The packet did not get through, which says nothing of the message.
      delivery.settle('modified');
    }
    this.#workLater();
  }

  /** The connection has room again. */
  sendParked(): void {
    if (this.#parked.size === 0) return;
    for (const delivery of this.#parked) {
      if (!this.#send(delivery)) return;
      this.#parked.delete(delivery);
    }
    this.#workLater();
  }

  /** Returns false where there is no room now. */
  #send(delivery: Delivery): boolean {
    const { outbound, qos } = this.#options;
    const message = this.#copyOf(delivery);
    const options: DeliveryOptions = {
      reliability: qos,
      subscriptionIds: this.#options.subscriptionId === 0 ? [] : [this.#options.subscriptionId],
      retained: false,
      keepRetain: false,
      via: delivery.options.via,
    };
    const sent = qos === 0 ? null : new SentDelivery(this, delivery, message, options);
    const result = outbound.sendGuest(message, options, sent);
    if (result === 'too-large') {
      this.#unsendable.add(delivery);
      this.#tooLarge.push(delivery);
    }
    return result !== 'full';
  }

  /** With the subscription's reliability: the queue keeps the message until it is settled, however it came in. */
  #copyOf(delivery: Delivery): Message {
    const { message } = delivery;
    const { qos, queue, group, client, core } = this.#options;
    if (client.version !== 5)
      return message.reliability === qos ? message : message.with({ reliability: qos });
    const native = mqttPropertiesFromQueueDelivery(propertiesOfDelivery(message, core.replies), {
      queue,
      group,
      offset: delivery.offset,
      attempt: delivery.failedCount + 1,
    });
    return message.with({ reliability: qos, codec: mqtt5Codec, native });
  }

  /** Nothing is settled or granted from inside a delivery. */
  #workLater(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#options.core.clock.afterTurn(() => {
      this.#isDue = false;
      // Rules were changed meanwhile: what it has goes to those who may have it.
      if (this.#isForbidden) this.close();
      this.#settleTooLarge();
      this.#topUp();
      this.#options.holdsLess();
    });
  }

  /** Another member may have room for it; where there are no members, it can only be put aside. */
  #settleTooLarge(): void {
    const tooLarge = this.#tooLarge;
    this.#tooLarge = [];
    for (const delivery of tooLarge) {
      const { core, group } = this.#options;
      core.counters.dropped++;
      if (group !== '' && delivery.failedCount > 0) {
        core.clock.after(TOO_LARGE_WAIT_MS, () => this.#settleHeld(delivery, 'modified'));
      } else this.#settleHeld(delivery, group === '' ? 'rejected' : 'modified');
    }
  }

  #settleHeld(delivery: Delivery, outcome: Outcome): void {
    this.#unsendable.delete(delivery);
    if (!this.#held.delete(delivery)) return;
    delivery.settle(outcome);
    this.#workLater();
  }

  #topUp(): void {
    if (this.#subscription === null || this.#parked.size > 0 || this.#granted >= CREDIT_STEP) return;
    const room = this.#options.unsettledMax - this.#held.size - this.#granted;
    const step = Math.min(CREDIT_STEP - this.#granted, room);
    if (step <= 0) return;
    this.#granted += step;
    this.#subscription.grant(step);
  }
}
