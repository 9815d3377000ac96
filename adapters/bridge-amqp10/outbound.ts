/**
 * Sends the batches of one bridge on a sending link of AMQP 1.0 and gives each message the outcome that the broker settles it
 * with. As much is sent as the broker has given credit for; without credit for a while the rest of a batch is answered
 * "not now" and was not sent. One batch at a time, called by `link.ts`.
 */

import type { Delivery, EventContext, Sender } from 'rhea';
import { amqp10Codec, amqp10FromMessage } from '../../mappings/amqp10.ts';
import type { Message, Timer } from '../../src/core/index.ts';
import {
  answersOfLost,
  LinkError,
  type LinkOptions,
  type OutsideMessage,
  type SendAnswer,
} from '../../src/outside.ts';
import { isPassing, type OutsideFault, textOf } from './errors.ts';
import type { OutOptions } from './settings.ts';

/** How long a batch waits for credit before what is left of it is answered "not now". */
const CREDIT_ANSWER_MS = 1000;
/** A session's window opens without an event. */
const TRANSFER_POLL_MS = 20;
const NO_CREDIT: SendAnswer = { reason: 'the broker gives no credit', permanent: false, general: true };

/** What the library does not tell by its types. */
interface SenderInsides {
  readonly credit: number;
  readonly session: {
    readonly outgoing: {
      available(): number;
      readonly next_delivery_id: number;
      readonly next_pending_delivery: number;
    };
  };
}

interface Sent {
  answer?: SendAnswer;
}

/** A batch on its way: what was transferred, by place. */
interface Batch {
  readonly messages: readonly OutsideMessage[];
  readonly sent: Sent[];
}

export class Outbound {
  readonly #sender: Sender;
  readonly #link: LinkOptions;
  readonly #options: OutOptions;
  readonly #user: string;
  readonly #byDelivery = new Map<Delivery, Sent>();
  #failure: LinkError | null = null;
  #progress = 0;
  #wake: (() => void) | null = null;

  constructor(sender: Sender, link: LinkOptions, options: OutOptions, user: string) {
    this.#sender = sender;
    this.#link = link;
    this.#options = options;
    this.#user = user;
    sender.on('sendable', () => this.#wakeUp());
    sender.on('accepted', ({ delivery }: EventContext) => this.#settled(delivery, null));
    sender.on('rejected', ({ delivery }: EventContext) => {
      const error = (delivery?.remote_state as { readonly error?: OutsideFault } | undefined)?.error;
      const reason = `rejected: ${textOf(error ?? {}) || 'no reason told'}`;
      this.#settled(delivery, { reason, permanent: !isPassing(error?.condition) });
    });
    sender.on('released', ({ delivery }: EventContext) => {
      this.#settled(delivery, { reason: 'the broker released it', permanent: false });
    });
    sender.on('modified', ({ delivery }: EventContext) => {
      this.#settled(delivery, { reason: 'the broker gave it back (modified)', permanent: false });
    });
    // Settled without an outcome, which is left to each side to take for one.
    sender.on('settled', ({ delivery }: EventContext) => {
      this.#settled(delivery, { reason: 'the broker settled it without an outcome', permanent: false });
    });
  }

  fail(error: LinkError): void {
    this.#failure ??= error;
    this.#wakeUp();
  }

  async send(messages: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    const batch: Batch = { messages, sent: [] };
    try {
      return await this.#sendAll(batch);
    } catch (error) {
      const answers = answersOfLost(
        messages.map((_, at) => batch.sent[at]?.answer),
        error as Error,
      );
      if (answers === null) throw error;
      this.#link.clock.afterTurn(() => this.#link.lost(error as Error));
      return answers;
    }
  }

  async #sendAll({ messages, sent }: Batch): Promise<readonly SendAnswer[]> {
    const { settleTimeoutMs } = this.#options;
    while (sent.length < messages.length) {
      this.#throwIfFailed();
      const room = Math.max(0, Math.min(messages.length - sent.length, this.#room()));
      for (const end = sent.length + room; sent.length < end; ) {
        sent.push(this.#transfer((messages[sent.length] as OutsideMessage).message));
      }
      if (sent.length === messages.length) break;
      if (!(await this.#change(CREDIT_ANSWER_MS))) break;
    }
    if (this.#link.delivery === 'at-most-once') await this.#transferred();
    const answers: SendAnswer[] = messages.map(() => NO_CREDIT);
    for (const [at, each] of sent.entries()) {
      while (each.answer === undefined) {
        if (!(await this.#change(settleTimeoutMs))) {
          throw new LinkError('timeout', `no outcome within ${settleTimeoutMs} ms`);
        }
      }
      answers[at] = each.answer;
    }
    return answers;
  }

  #room(): number {
    const { credit, session } = this.#sender as unknown as SenderInsides;
    return Math.min(credit - this.#queued(), session.outgoing.available());
  }

  /** Handed to the library, which transfers it when it comes to it and then counts the credit. */
  #queued(): number {
    const { outgoing } = (this.#sender as unknown as SenderInsides).session;
    return outgoing.next_delivery_id - outgoing.next_pending_delivery;
  }

  /** Where nobody waits for an outcome: until it is on its way, so that a close does not overtake it. */
  async #transferred(): Promise<void> {
    const { settleTimeoutMs } = this.#options;
    const deadlineMs = this.#link.clock.nowMs() + settleTimeoutMs;
    await new Promise<void>((resolve) => this.#link.clock.afterTurn(resolve));
    while (this.#queued() > 0) {
      if (this.#link.clock.nowMs() > deadlineMs) {
        throw new LinkError('timeout', `nothing was taken within ${settleTimeoutMs} ms`);
      }
      await this.#change(TRANSFER_POLL_MS);
    }
  }

  #transfer(message: Message): Sent {
    const bytes = amqp10FromMessage(this.#told(message), this.#link.clock.nowMs());
    const delivery = this.#sender.send(bytes, undefined, 0);
    if (this.#link.delivery === 'at-most-once') return { answer: null };
    const sent: Sent = {};
    this.#byDelivery.set(delivery, sent);
    return sent;
  }

  /** Its own bytes say by `to` where it went first: where that leads, they are written anew. */
  #told(message: Message): Message {
    const { userId, ...others } = message.properties;
    const isForeign = userId !== undefined && userId !== this.#user && this.#options.userId === 'drop';
    if (isForeign) return message.with({ properties: others });
    return message.codec === amqp10Codec ? message.with({ properties: message.properties }) : message;
  }

  #settled(delivery: Delivery | undefined, answer: SendAnswer): void {
    if (delivery === undefined) return;
    const sent = this.#byDelivery.get(delivery);
    if (sent === undefined) return;
    this.#byDelivery.delete(delivery);
    sent.answer = answer;
    this.#link.answered?.();
    this.#wakeUp();
  }

  /** False: nothing came within this time. */
  async #change(ms: number): Promise<boolean> {
    this.#throwIfFailed();
    const before = this.#progress;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer: Timer = this.#link.clock.after(ms, resolve);
    this.#wake = resolve;
    await promise;
    timer.cancel();
    this.#throwIfFailed();
    return this.#progress !== before;
  }

  #wakeUp(): void {
    this.#progress++;
    this.#wake?.();
    this.#wake = null;
  }

  #throwIfFailed(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}
