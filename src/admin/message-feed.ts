/**
 * One subscriber over HTTP: what addresses under a pattern get, as server-sent events (HTML Living Standard 9.2), one
 * line of JSON for each message. Made by `message-routes.ts`. It reads through a session of its own that goes with it.
 *
 * A slow reader costs itself: at-least-once messages wait in its session, which is bounded, and are settled when the
 * socket has taken them; at-most-once messages that come while the socket is full are dropped and counted.
 */

import { randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import {
  type Clock,
  type Consumer,
  type Core,
  type Delivery,
  type DeliveryOptions,
  type Message,
  type Pattern,
  PLAIN_DELIVERY,
  type Session,
  type Subscription,
  type Timer,
} from '../core/index.ts';

/** Messages handed out and not yet taken by the socket. */
const WINDOW = 256;
/** Bytes waiting for the socket above which at-most-once messages are dropped. */
const WAITING_BYTES_MAX = 1024 * 1024;
/** A line that means nothing, so that both sides and proxies between notice when the other is gone. */
const HEARTBEAT_MS = 15_000;
const RETAINED: DeliveryOptions = { ...PLAIN_DELIVERY, retained: true };

export interface FeedOptions {
  readonly pattern: Pattern;
  /** Begin with what the addresses remember. */
  readonly retained: boolean;
  /** End after so many messages; Infinity is never. */
  readonly messagesMax: number;
  jsonFromMessage(message: Message): object;
  /** Called once, when it is over. */
  ended(): void;
}

export class MessageFeed implements Consumer {
  readonly #core: Core;
  readonly #clock: Clock;
  readonly #response: ServerResponse;
  readonly #options: FeedOptions;
  readonly #session: Session;
  readonly #held: Delivery[] = [];
  #subscription: Subscription | null = null;
  #remembered: Iterator<Message> | null = null;
  #heartbeat: Timer | null = null;
  #left: number;
  /** Credit taken back while the socket is full. */
  #withdrawn = 0;
  #isFull = false;
  #isSettling = false;
  #isOver = false;

  /** Throws CoreError where it cannot subscribe; then nothing was answered yet. */
  static async open(
    core: Core,
    clock: Clock,
    response: ServerResponse,
    options: FeedOptions,
  ): Promise<MessageFeed> {
    const id = `$http-${randomBytes(12).toString('base64url')}`;
    const { session } = await core.sessions.open(id, { clean: true, durable: false });
    try {
      session.subscribe(options.pattern, { reliability: 1, noLocal: false, keepRetain: true, id: 0 });
    } catch (error) {
      core.sessions.end(id);
      throw error;
    }
    return new MessageFeed(core, clock, response, session, options);
  }

  private constructor(
    core: Core,
    clock: Clock,
    response: ServerResponse,
    session: Session,
    options: FeedOptions,
  ) {
    this.#core = core;
    this.#clock = clock;
    this.#response = response;
    this.#session = session;
    this.#options = options;
    this.#left = options.messagesMax;
  }

  /** Answers, and goes on until the client, the session or the gateway ends it. */
  start(): void {
    const response = this.#response;
    response.on('drain', () => this.#drained());
    response.on('close', () => this.end());
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      // For proxies that would gather the lines otherwise.
      'x-accel-buffering': 'no',
    });
    // The first bytes tell the client that it is subscribed.
    response.write(': subscribed\n\n');
    this.#beat();
    if (this.#options.retained) {
      this.#remembered = this.#core.retained.match(this.#options.pattern)[Symbol.iterator]();
      this.#writeRemembered();
    }
    this.#subscription = this.#session.attach(this);
    this.#subscription.grant(WINDOW);
  }

  deliver(message: Message, options: DeliveryOptions, delivery: Delivery | null): void {
    if (delivery === null) {
      if (this.#response.writableLength > WAITING_BYTES_MAX || this.#isOver) this.#core.counters.dropped++;
      else this.#write(message, options);
      return;
    }
    this.#held.push(delivery);
    this.#write(message, options);
    // Messages may be large: one that fills the socket is the last until there is room again.
    if (this.#isFull) this.#withdrawn += this.#subscription?.withdraw() ?? 0;
    // Nothing may be settled from inside of a delivery.
    else this.#settleAfterTurn();
  }

  cancelled(): void {
    this.end();
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#heartbeat?.cancel();
    this.#remembered?.return?.();
    this.#response.end();
    this.#core.sessions.end(this.#session.id);
    this.#options.ended();
  }

  #write(message: Message, options: DeliveryOptions): void {
    if (this.#left <= 0 || this.#isOver) return;
    const { retained } = options;
    const line = JSON.stringify({
      ...this.#options.jsonFromMessage(message),
      ...(retained ? { retained } : {}),
    });
    if (!this.#response.write(`data: ${line}\n\n`)) this.#isFull = true;
    if (--this.#left === 0) this.#clock.afterTurn(() => this.end());
  }

  /** As many as the socket takes; the rest when it has room again. */
  #writeRemembered(): void {
    while (this.#remembered !== null && !this.#isFull) {
      const next = this.#remembered.next();
      if (next.done === true || this.#left <= 0) this.#remembered = null;
      else if (!this.#hasExpired(next.value)) this.#write(next.value, RETAINED);
    }
  }

  #hasExpired({ expiresAtMs }: Message): boolean {
    return expiresAtMs !== 0 && expiresAtMs <= this.#clock.nowMs();
  }

  #drained(): void {
    this.#isFull = false;
    if (this.#isOver) return;
    this.#writeRemembered();
    this.#settle();
  }

  #settleAfterTurn(): void {
    if (this.#isSettling) return;
    this.#isSettling = true;
    this.#clock.afterTurn(() => {
      this.#isSettling = false;
      if (!this.#isFull) this.#settle();
    });
  }

  #settle(): void {
    const credit = this.#held.length + this.#withdrawn;
    if (this.#isOver || credit === 0) return;
    for (const delivery of this.#held.splice(0)) delivery.settle('accepted');
    this.#withdrawn = 0;
    this.#subscription?.grant(credit);
  }

  #beat(): void {
    this.#heartbeat = this.#clock.after(HEARTBEAT_MS, () => {
      this.#response.write(':\n\n');
      this.#beat();
    });
  }
}
