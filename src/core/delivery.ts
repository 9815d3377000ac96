/**
 * The push side of the core: how queues and sessions hand messages to adapters. A consumer is called only while
 * it has credit; what it was handed stays its own until settled with one of four outcomes. Called synchronously
 * from within a publish, so a consumer only encodes and buffers: it never publishes, settles or closes from
 * inside `deliver`.
 */

import type { Message, Reliability } from './message.ts';

/**
 * accepted: done, forget it. released: not done, give it to anybody, its delivery count is not raised.
 * rejected: never deliver it again (dead letter where one is defined). modified: failed, deliver again, counted.
 */
export type Outcome = 'accepted' | 'released' | 'rejected' | 'modified';

/** How a message matched, merged over all bindings of one destination. Shared between messages: never changed. */
export interface DeliveryOptions {
  /** The most that any matching subscription granted, not yet lowered to what the message asks for. */
  readonly reliability: Reliability;
  /** Numbers that the subscriber gave its matching subscriptions; empty when it gave none. */
  readonly subscriptionIds: readonly number[];
  /** A copy of what the address remembered, not a live message. */
  readonly retained: boolean;
  /** The subscriber wants the publisher's retain flag as it was. */
  readonly keepRetain: boolean;
  /** The exchange through whose binding it came, or null where none was involved. */
  readonly via: string | null;
  /** The key of the shared subscription by which it came; absent where the subscriber alone gets it. */
  readonly sharedBy?: string;
}

export const PLAIN_DELIVERY: DeliveryOptions = Object.freeze({
  reliability: 1,
  subscriptionIds: Object.freeze([]),
  retained: false,
  keepRetain: false,
  via: null,
});

/** One message handed to one consumer, unsettled until `settle`. */
export interface Delivery {
  readonly message: Message;
  readonly options: DeliveryOptions;
  /** Place in its queue; grows with the order of arrival, is kept across redelivery and restart. */
  readonly offset: number;
  /** How often it was handed out before and came back: 0 the first time. */
  readonly failedCount: number;
  /** It was handed out before, whether or not that counted as a failure. */
  readonly redelivered: boolean;
  /** The first call counts; later ones do nothing. */
  settle(outcome: Outcome): void;
}

export interface Consumer {
  /**
   * `delivery` is null where nothing is to be settled: at-most-once deliveries and consumers that asked for
   * messages already settled.
   */
  deliver(message: Message, options: DeliveryOptions, delivery: Delivery | null): void;
  /** Whether it may be handed messages of this address; asked where another consumer could have them. Absent: all. */
  mayHave?(address: string): boolean;
  /**
   * Somebody else settled this delivery, or it was not settled in time: it is not the consumer's any more. Not called
   * for what the consumer settles itself.
   */
  left?(delivery: Delivery): void;
  /** The queue or session is gone; nothing more comes. */
  cancelled(reason: 'deleted' | 'expired' | 'displaced'): void;
}

/** A consumer's hold on its source. */
export interface Subscription {
  /** Adds to the messages that may be delivered; Infinity is allowed. Begins with 0. */
  grant(credit: number): void;
  /** Takes back all credit that is left and returns it: the consumer's socket is full. */
  withdraw(): number;
  /**
   * Ends it; unsettled deliveries are released in their order. `keepUnsettled`: they stay with their holder, who
   * may still settle them, although nothing counts as a consumer any more.
   */
  close(keepUnsettled?: boolean): void;
}
