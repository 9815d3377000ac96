/**
 * One channel: dispatches methods to their handlers, keeps deliveries and confirms, and ends by itself or with
 * its connection. After it was closed by us everything is dropped until the client agrees (AMQP 0-9-1 1.5.2.5).
 */

import type { Buffer } from 'node:buffer';
import type { CoreError, ReceiptSink } from '../../src/core/index.ts';
import { writeConfirm } from './codec/content-frames.ts';
import { decodeArguments } from './codec/method-codec.ts';
import {
  BASIC_ACK,
  BASIC_PUBLISH,
  METHOD_NAMES,
  type MethodArguments,
  type MethodName,
} from './codec/methods.ts';
import type { ChannelContext, ConnectionContext } from './context.ts';
import { type Amqp091Error, connectionError } from './errors.ts';
import { channelHandlers } from './handlers/channel.ts';
import { consumeHandlers } from './handlers/consume.ts';
import { exchangeHandlers } from './handlers/exchange.ts';
import { queueHandlers } from './handlers/queue.ts';
import { settleAck, settleHandlers } from './handlers/settle.ts';
import type { Confirms } from './state/confirms.ts';
import type { ConsumerState } from './state/consumer.ts';
import { Publishing } from './state/publishing.ts';
import { Unsettled } from './state/unsettled.ts';

/** A handler may take its time: the connection reads nothing more until it is done. */
export type Handlers = {
  readonly [Name in MethodName]?: (
    channel: ChannelContext,
    values: MethodArguments<Name>,
  ) => Promise<void> | void;
};

const HANDLERS: Handlers = {
  ...channelHandlers,
  ...exchangeHandlers,
  ...queueHandlers,
  ...consumeHandlers,
  ...settleHandlers,
};

/** What a channel needs of the connection beyond what handlers see. */
export interface ChannelHome extends ConnectionContext {
  wait(work: Promise<void> | void, channel: Channel): void;
}

export class Channel implements ChannelContext, ReceiptSink {
  readonly number: number;
  readonly connection: ChannelHome;
  readonly consumers = new Map<string, ConsumerState>();
  readonly unsettled = new Unsettled();
  confirms: Confirms | null = null;
  prefetch = 0;
  prefetchOfAll = 0;
  lastQueue = '';
  replyQueue = '';
  /** Class and method, for the close that it may cause. */
  currentMethod = 0;
  readonly #publishing: Publishing;
  #state: 'new' | 'open' | 'closing' | 'closed' = 'new';
  #lastDeliveryTag = 0;
  #confirmScheduled = false;

  constructor(connection: ChannelHome, number: number) {
    this.connection = connection;
    this.number = number;
    this.#publishing = new Publishing(this, this);
  }

  // ---------------------------------------------------------------------------------------------------- frames

  method(bytes: Buffer, start: number, end: number): void {
    if (end - start < 4) throw connectionError('frame-error', 'method frame is cut short');
    const method =
      (bytes[start] as number) * 0x100_0000 +
      (((bytes[start + 1] as number) << 16) |
        ((bytes[start + 2] as number) << 8) |
        (bytes[start + 3] as number));
    if (this.#state === 'closing') {
      this.#methodWhileClosing(method);
      return;
    }
    this.currentMethod = method;
    if (this.#publishing.busy) {
      throw connectionError('unexpected-frame', 'expected the content of basic.publish, got a method');
    }
    if (method === BASIC_PUBLISH && this.#state === 'open') {
      this.#publishing.begin(bytes, start + 4, end);
    } else if (method === BASIC_ACK && this.#state === 'open') {
      settleAck(this, bytes, start + 4, end);
    } else {
      this.#dispatch(method, bytes, start + 4, end);
    }
  }

  header(bytes: Buffer, start: number, end: number): void {
    if (this.#state === 'open') this.#publishing.header(bytes, start, end);
    else if (this.#state !== 'closing') throw connectionError('channel-error', "expected 'channel.open'");
  }

  body(bytes: Buffer, start: number, end: number): void {
    if (this.#state === 'open') this.#publishing.body(bytes, start, end);
    else if (this.#state !== 'closing') throw connectionError('channel-error', "expected 'channel.open'");
  }

  #dispatch(method: number, bytes: Buffer, start: number, end: number): void {
    const name = METHOD_NAMES.get(method);
    if (name === undefined) {
      throw connectionError('command-invalid', `unknown method ${method >>> 16}.${method & 0xffff}`);
    }
    if (this.#state === 'open' && name === 'channel.open') {
      throw connectionError('channel-error', "second 'channel.open' seen");
    }
    if (this.#state === 'new' && name !== 'channel.open') {
      throw connectionError('channel-error', "expected 'channel.open'");
    }
    const handler = HANDLERS[name] as
      | ((channel: ChannelContext, values: unknown) => Promise<void> | void)
      | undefined;
    if (handler === undefined) {
      throw connectionError('command-invalid', `unexpected method ${name} from a client`);
    }
    this.connection.wait(handler(this, decodeArguments(name, bytes, start, end)), this);
  }

  /** Where both sides close at the same time, each answers the other: only the answer to ours ends it. */
  #methodWhileClosing(method: number): void {
    const name = METHOD_NAMES.get(method);
    if (name === 'channel.close') this.send('channel.close-ok', {});
    if (name !== 'channel.close-ok') return;
    this.#state = 'closed';
    this.connection.forget(this);
  }

  // -------------------------------------------------------------------------------------------------- answering

  send<Name extends MethodName>(name: Name, values: MethodArguments<Name>): void {
    if (this.#state !== 'closed') this.connection.send(this.number, name, values);
  }

  opened(): void {
    this.#state = 'open';
  }

  /** The client closes it. */
  answerClose(): void {
    this.#letGo();
    this.send('channel.close-ok', {});
    this.#state = 'closed';
    this.connection.forget(this);
  }

  /** We close it. */
  closeWith(error: Amqp091Error): void {
    if (this.#state !== 'open') return;
    this.#letGo();
    this.#state = 'closing';
    this.send('channel.close', {
      replyCode: error.code,
      replyText: error.replyText,
      classId: this.currentMethod >>> 16,
      methodId: this.currentMethod & 0xffff,
    });
  }

  /** The connection ends. */
  release(): void {
    this.#letGo();
    this.#state = 'closed';
  }

  /**
   * First nobody here takes anything more, then what was not settled goes back in its order. Consumers must not let go
   * of it as they end: it would be with somebody else already when it is released here, and be taken from them.
   */
  #letGo(): void {
    if (this.connection.state === 'open') this.#writeConfirms();
    this.confirms = null;
    this.#publishing.abandon();
    this.withdrawCredit('all');
    for (const consumer of this.consumers.values()) consumer.close();
    this.consumers.clear();
    for (
      let delivery = this.unsettled.takeFirst(Number.POSITIVE_INFINITY);
      delivery !== null;
      delivery = this.unsettled.takeFirst(Number.POSITIVE_INFINITY)
    ) {
      delivery.settle('released');
    }
  }

  // ------------------------------------------------------------------------------------------- deliveries, credit

  nextDeliveryTag(): number {
    return ++this.#lastDeliveryTag;
  }

  get limited(): boolean {
    return this.prefetchOfAll > 0 && this.unsettled.heldCount >= this.prefetchOfAll;
  }

  withdrawCredit(from: 'acknowledging' | 'all'): void {
    for (const consumer of this.consumers.values()) {
      if (from === 'all' || !consumer.settled) consumer.withdraw();
    }
  }

  restoreCredit(): void {
    for (const consumer of this.consumers.values()) consumer.restore();
  }

  served(consumer: ConsumerState): void {
    const { consumers } = this;
    if (consumers.size > 1 && consumers.delete(consumer.tag)) consumers.set(consumer.tag, consumer);
  }

  // --------------------------------------------------------------------------------------------------- confirms

  stored(token: number): void {
    if (this.confirms === null) return;
    this.confirms.stored(token);
    this.confirmDue();
  }

  refused(token: number, _error: CoreError): void {
    if (this.confirms === null) return;
    this.confirms.refusedLater(token);
    this.confirmDue();
  }

  confirmDue(): void {
    if (this.#confirmScheduled || this.confirms === null || !this.confirms.due) return;
    this.#confirmScheduled = true;
    this.connection.shared.host.clock.afterTurn(this.#writeConfirms);
  }

  readonly #writeConfirms = (): void => {
    this.#confirmScheduled = false;
    if (this.confirms === null || this.#state !== 'open' || !this.confirms.due) return;
    this.confirms.flush(this.#writeConfirm);
  };

  readonly #writeConfirm = (tag: number, multiple: boolean, refused: boolean): void => {
    writeConfirm(this.connection.transport, this.number, tag, multiple, refused);
  };
}
