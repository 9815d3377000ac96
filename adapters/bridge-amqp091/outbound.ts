/**
 * Sends the batches of one bridge to an outside broker of AMQP 0-9-1 and gives each message the broker's answer: a confirm,
 * a refusal, a return, or the error that closed the channel. One batch at a time, called by `link.ts`.
 *
 * A broker answers an error such as a missing exchange by closing the channel, and what was not confirmed on it is unclear.
 * So after such an error as many messages as were unclear go one by one, which tells the one that is to blame from those that
 * wait beside it, and nothing is sent behind a message that was not taken. A broker that is low on memory or disk reads nothing more: what
 * is on its way then is answered "not now" and remembered by its offset, so that it is not sent a second time.
 */

import type { ConfirmChannel, Message as ReturnedMessage } from 'amqplib';
import type { Timer } from '../../src/core/index.ts';
import {
  answersOfLost,
  LinkError,
  type LinkOptions,
  type OutsideMessage,
  type SendAnswer,
} from '../../src/outside.ts';
import type { OutsideConnection } from './connection.ts';
import { linkErrorFrom, ReplyCode, textOf } from './errors.ts';
import { outgoingFrom } from './messages.ts';
import type { OutOptions } from './settings.ts';
import type { MessageWriter } from './wire.ts';

/** How long a batch waits for a broker that reads nothing before it is answered "not now". */
const BLOCKED_ANSWER_MS = 1000;
/** Messages whose answer nobody has asked for: more than a bridge sets aside and sends at once. The oldest is forgotten. */
const REMEMBERED_MAX = 32_768;
const NOTHING = new Uint8Array(0);
const NO_KEY = { reason: 'the address is too long for a routing key', permanent: true };
const UNANSWERED: SendAnswer = { reason: 'the broker has not answered yet', permanent: false, general: true };
const NACKED: SendAnswer = { reason: 'the broker refused it (basic.nack)', permanent: false };
/** Codes with which a broker says that this very message can never be taken. */
const PERMANENT_CODES: ReadonlySet<unknown> = new Set([
  ReplyCode.contentTooLarge,
  ReplyCode.preconditionFailed,
]);

interface Sent {
  readonly offset: number;
  readonly exchange: string;
  readonly key: string;
  /** Until it has its answer. */
  body: Uint8Array;
  isReturned: boolean;
  /** Absent: not yet. */
  answer?: SendAnswer;
}

/** A batch on its way. */
interface Batch {
  readonly messages: readonly OutsideMessage[];
  /** By place; holes: in `waiting`, or not sent yet. */
  readonly answers: (SendAnswer | undefined)[];
  readonly waiting: { readonly at: number; readonly sent: Sent }[];
}

interface OpenChannel {
  readonly channel: ConfirmChannel;
  readonly writer: MessageWriter;
  /** Delivery tags of confirms count from 1. */
  nextTag: number;
}

export class Outbound {
  readonly #connection: OutsideConnection;
  readonly #link: LinkOptions;
  readonly #options: OutOptions;
  readonly #user: string | null;
  #open: OpenChannel | null = null;
  /** Without an answer on the open channel, in the order of their tags. */
  readonly #byTag = new Map<number, Sent>();
  /** Sent, and their answer not handed on yet: when they are asked for again, in whatever order, is the bridge's affair. */
  readonly #byOffset = new Map<number, Sent>();
  /** So many messages go one by one. */
  #cautious = 0;
  #failure: LinkError | null = null;
  readonly #failing = Promise.withResolvers<never>();
  /** The broker has read nothing for a while. */
  #isHeld = false;
  #holdTimer: Timer | null = null;
  #progress = 0;
  #wake: (() => void) | null = null;

  constructor(connection: OutsideConnection, link: LinkOptions, options: OutOptions, user: string) {
    this.#connection = connection;
    this.#link = link;
    this.#options = options;
    this.#user = options.userId === 'keep' ? null : user;
    // Nobody may be waiting for it.
    this.#failing.promise.catch(() => {});
  }

  async start(): Promise<void> {
    this.#open = await this.#openChannel();
  }

  /** The close of the channel goes behind what was written to it, so its answer says that the broker has read all of it. */
  async stop(): Promise<void> {
    const open = this.#open;
    this.#open = null;
    await open?.channel.close().catch(() => {});
  }

  /** Ends what waits: the link is of no use any more. */
  fail(error: LinkError): void {
    this.#failure ??= error;
    this.#failing.reject(error);
    this.#holdTimer?.cancel();
    this.#wakeUp();
  }

  blocked(reason: string | null): void {
    this.#holdTimer?.cancel();
    this.#isHeld = false;
    if (reason !== null) {
      this.#holdTimer = this.#link.clock.after(BLOCKED_ANSWER_MS, () => {
        this.#isHeld = true;
        this.#wakeUp();
      });
    }
    this.#wakeUp();
  }

  async send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    if (batch.length === 0) return [];
    const timer = this.#watchProgress();
    const underWay: Batch = { messages: batch, answers: new Array(batch.length), waiting: [] };
    try {
      return await Promise.race([this.#sendAll(underWay), this.#failing.promise]);
    } catch (error) {
      for (const { at, sent } of underWay.waiting) underWay.answers[at] = sent.answer;
      const answers = answersOfLost(underWay.answers, error as Error);
      if (answers === null) throw error;
      this.#link.clock.afterTurn(() => this.#link.lost(error as Error));
      return answers;
    } finally {
      timer.cancel();
    }
  }

  async #sendAll({ messages, answers, waiting }: Batch): Promise<readonly SendAnswer[]> {
    let stopped: SendAnswer = null;
    for (const [at, { offset, message }] of messages.entries()) {
      this.#throwIfFailed();
      let sent = this.#byOffset.get(offset);
      if (sent === undefined) {
        stopped ??= this.#blockedAnswer();
        if (stopped === null && this.#open === null) this.#open = await this.#openChannel();
        if (stopped !== null) {
          // Not the fault of this one.
          answers[at] = { ...stopped, general: true };
          continue;
        }
        const published = this.#publish(offset, message);
        if ('reason' in published) {
          answers[at] = published;
          continue;
        }
        sent = published;
      }
      waiting.push({ at, sent });
      if (this.#cautious === 0 || this.#link.delivery === 'at-most-once') continue;
      await this.#flush();
      await this.#answered([sent]);
      if (sent.answer === null) this.#cautious--;
      else if (sent.answer !== undefined && !sent.answer.permanent) stopped = sent.answer;
    }
    await this.#flush();
    await this.#answered(waiting.map(({ sent }) => sent));
    for (const { at, sent } of waiting) {
      answers[at] = sent.answer === undefined ? (this.#blockedAnswer() ?? UNANSWERED) : sent.answer;
      if (sent.answer !== undefined) this.#byOffset.delete(sent.offset);
    }
    return answers as SendAnswer[];
  }

  #publish(offset: number, message: OutsideMessage['message']): Sent | Exclude<SendAnswer, null> {
    const { writer } = this.#open as OpenChannel;
    const { clock, delivery } = this.#link;
    const { exchange, unroutable } = this.#options;
    const rules = { exchange, user: this.#user, contentBytesMax: this.#connection.tap.contentBytesMax };
    const outgoing = outgoingFrom(message, rules, clock.nowMs());
    if (outgoing === null) return NO_KEY;
    const { route, key, content } = outgoing;
    const sent: Sent = { offset, exchange: outgoing.exchange, key, body: message.body, isReturned: false };
    writer.publish(route, unroutable !== 'drop', content, message.body);
    if (delivery === 'at-most-once') sent.answer = null;
    else {
      this.#byTag.set((this.#open as OpenChannel).nextTag++, sent);
      this.#remember(sent);
    }
    return sent;
  }

  /** One that the bridge drops meanwhile, as it expires, is never asked for. */
  #remember(sent: Sent): void {
    this.#byOffset.set(sent.offset, sent);
    if (this.#byOffset.size <= REMEMBERED_MAX) return;
    const [oldest] = this.#byOffset.keys();
    this.#byOffset.delete(oldest as number);
  }

  /** Writes what was gathered, and waits where it is more than the socket takes and nobody waits for an answer. */
  async #flush(): Promise<void> {
    const open = this.#open;
    if (open === null || open.writer.flush() || this.#link.delivery !== 'at-most-once') return;
    let isDrained = false;
    open.channel.once('drain', () => {
      isDrained = true;
      this.#wakeUp();
    });
    while (!isDrained && this.#open === open) await this.#change();
  }

  /** Until all have an answer, or the broker has read nothing for a while. */
  async #answered(sent: readonly Sent[]): Promise<void> {
    let at = 0;
    for (;;) {
      while (at < sent.length && (sent[at] as Sent).answer !== undefined) at++;
      if (at === sent.length || this.#isHeld) return;
      await this.#change();
    }
  }

  async #change(): Promise<void> {
    this.#throwIfFailed();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#throwIfFailed();
  }

  #wakeUp(): void {
    this.#progress++;
    this.#wake?.();
    this.#wake = null;
  }

  #throwIfFailed(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  #blockedAnswer(): SendAnswer {
    const { blocked } = this.#connection;
    if (blocked === null) return null;
    return { reason: `the broker takes nothing now: ${blocked}`, permanent: false, general: true };
  }

  /** While the broker says that it reads nothing, silence is no sign of an error. */
  #watchProgress(): { cancel(): void } {
    const { confirmTimeoutMs } = this.#options;
    const arm = (): Timer => {
      const progress = this.#progress;
      return this.#link.clock.after(confirmTimeoutMs, () => {
        if (this.#progress !== progress || this.#connection.blocked !== null) timer = arm();
        else this.fail(new LinkError('timeout', `no confirm within ${confirmTimeoutMs} ms`));
      });
    };
    let timer = arm();
    return { cancel: () => timer.cancel() };
  }

  // ------------------------------------------------------------------------------------------ the broker's answers

  async #openChannel(): Promise<OpenChannel> {
    let channel: ConfirmChannel;
    try {
      channel = await this.#connection.model.createConfirmChannel();
    } catch (error) {
      throw this.#connection.ended ?? linkErrorFrom(error, 'no channel');
    }
    let reason: Error | null = null;
    channel.on('error', (error) => {
      reason = error;
    });
    channel.on('close', () => {
      // Without a reason the connection has ended, which tells its own.
      if (reason !== null) this.#channelClosed(channel, reason);
    });
    channel.on('ack', ({ deliveryTag, multiple }) => this.#confirmed(deliveryTag, multiple, true));
    channel.on('nack', ({ deliveryTag, multiple }) => this.#confirmed(deliveryTag, multiple, false));
    channel.on('return', (message) => this.#returned(message));
    return { channel, writer: this.#connection.tap.writerOf(channel), nextTag: 1 };
  }

  #confirmed(tag: number, multiple: boolean, isAck: boolean): void {
    this.#link.answered?.();
    if (multiple) {
      for (const [each, sent] of this.#byTag) {
        if (tag !== 0 && each > tag) break;
        this.#settle(each, sent, isAck);
      }
    } else {
      const sent = this.#byTag.get(tag);
      if (sent !== undefined) this.#settle(tag, sent, isAck);
    }
    this.#wakeUp();
  }

  #settle(tag: number, sent: Sent, isAck: boolean): void {
    this.#byTag.delete(tag);
    if (!isAck) sent.answer = NACKED;
    else if (!sent.isReturned) sent.answer = null;
    else {
      const { exchange, key } = sent;
      const reason = `no queue takes key ${JSON.stringify(key)} of exchange ${JSON.stringify(exchange)} (312 NO_ROUTE)`;
      sent.answer = { reason, permanent: this.#options.unroutable === 'dead-letter' };
    }
    sent.body = NOTHING;
  }

  /** It comes before the confirm and does not say of which message it speaks: of the first that looks like it. */
  #returned({ fields, content }: ReturnedMessage): void {
    for (const sent of this.#byTag.values()) {
      const isLike = sent.exchange === fields.exchange && sent.key === fields.routingKey;
      if (isLike && !sent.isReturned && content.equals(sent.body)) {
        sent.isReturned = true;
        return;
      }
    }
  }

  #channelClosed(channel: ConfirmChannel, error: Error): void {
    if (this.#open?.channel !== channel) return;
    this.#open = null;
    const unclear = [...this.#byTag.values()];
    this.#byTag.clear();
    const isToBlame = unclear.length === 1 && PERMANENT_CODES.has((error as { code?: unknown }).code);
    for (const sent of unclear) {
      // Of more than one nobody knows which it was: all of them come again first, one by one.
      const answer = { reason: textOf(error), permanent: isToBlame };
      sent.answer = unclear.length > 1 ? { ...answer, general: true } : answer;
      this.#byOffset.delete(sent.offset);
    }
    this.#cautious = Math.max(this.#cautious, unclear.length);
    this.#link.logger.warn(
      { bridge: this.#link.name, unclear: unclear.length, reason: textOf(error) },
      'the outside broker closed the channel',
    );
    this.#wakeUp();
  }
}
