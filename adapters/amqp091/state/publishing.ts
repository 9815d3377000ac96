/**
 * Messages on their way in on one channel: method, content header and body frames become one message for the
 * core. Names and properties are compared as bytes with those of the message before: publishers mostly repeat
 * themselves, and then nothing is decoded, looked up or copied but the body's place. AMQP 0-9-1 4.2.6.
 */

import { Buffer, isUtf8 } from 'node:buffer';
import {
  addressFromAmqp091,
  amqp091Codec,
  ContentFacts,
  expirationMsFromText,
  extrasFromNative,
  isLongRoute,
  MalformedTableError,
  type NativeExtras,
  routeBytes,
  scanContent,
  withoutClaims,
} from '../../../mappings/amqp091.ts';
import {
  CoreError,
  Message,
  NO_ROUTE,
  PENDING,
  type PublishResult,
  queueNameFromAddress,
  type ReceiptSink,
} from '../../../src/core/index.ts';
import { CONTENT_PREFIX_BYTES, writeReturn } from '../codec/content-frames.ts';
import { BASIC_CLASS } from '../codec/methods.ts';
import { wireCursor } from '../codec/wire-content.ts';
import type { ChannelContext } from '../context.ts';
import { CORE_REPLIES, channelError, connectionError, explain, REPLIES } from '../errors.ts';
import { DIRECT_REPLY_TO } from '../handlers/direct-reply.ts';
import { namesQueueAddress, provideQueue } from '../handlers/queue-group.ts';
import { lendsReply } from '../rights.ts';

const MANDATORY = 1;
const IMMEDIATE = 2;
/** Routes remembered by each channel, forgotten all at once when there are more. */
const ROUTES_MAX = 1024;
/** Pieces of a body below this size are gathered in buffers of twice the size: they cost what their bytes do. */
const PIECE_BYTES_MIN = 4096;
const EMPTY = Buffer.alloc(0);
const NO_ROUTE_TEXT = Buffer.from('\x08NO_ROUTE', 'latin1');
const NO_EXTRAS: NativeExtras = {};

interface Route {
  readonly address: string;
  readonly exchange: string;
  /** The queue at whose address it is, where the key says so: it is made where there is none. */
  readonly queue: string | null;
  /** The topology in which the exchange was last found fit to publish to. */
  generation: number;
}

export class Publishing {
  readonly #channel: ChannelContext;
  readonly #sink: ReceiptSink;
  /** Exchanges go by themselves too (auto-delete), so whether one is there is asked for each message. */
  readonly #strict: boolean;
  /** What must come next. */
  #expecting: 'method' | 'header' | 'body' = 'method';
  #mandatory = false;
  /** Where exchange and key of the current message are. */
  #routeIn: Buffer = EMPTY;
  #routeStart = 0;
  #routeEnd = 0;
  #bodyBytes = 0;
  /** Pieces of a body that came in several frames. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  /** Small pieces, in their order after `#pieces`. */
  #gathered: Buffer | null = null;
  #gatheredBytes = 0;
  readonly #routes = new Map<string, Route>();
  readonly #facts = new ContentFacts();

  /** Of the last message; the next one that looks the same uses them again. */
  #native: Buffer = EMPTY;
  #route: Route = { address: '', exchange: '', queue: null, generation: -1 };
  #durable = false;
  #priority = 0;
  #expirationMs = -1;
  #extras = NO_EXTRAS;
  /** Empty where it asks for no answer. */
  #replyTo = '';

  constructor(channel: ChannelContext, sink: ReceiptSink) {
    this.#channel = channel;
    this.#sink = sink;
    this.#strict = channel.connection.shared.settings.undeclaredExchanges === 'refuse';
  }

  /** A message is begun: no other method may come on this channel. */
  get busy(): boolean {
    return this.#expecting !== 'method';
  }

  /** basic.publish: ticket 2, exchange, routing key, bits 1; `at` is after class and method. */
  begin(bytes: Buffer, at: number, end: number): void {
    const routeStart = at + 2;
    const keyAt = routeStart + 1 + (routeStart < end ? (bytes[routeStart] as number) : 0);
    const routeEnd = keyAt + 1 + (keyAt < end ? (bytes[keyAt] as number) : 0);
    if (routeEnd >= end) throw connectionError('frame-error', 'arguments of basic.publish are cut short');
    const bits = bytes[routeEnd] as number;
    if ((bits & IMMEDIATE) !== 0) throw connectionError('not-implemented', 'immediate=true');
    this.#mandatory = (bits & MANDATORY) !== 0;
    this.#routeIn = bytes;
    this.#routeStart = routeStart;
    this.#routeEnd = routeEnd;
    this.#expecting = 'header';
  }

  /** Content header: class 2, weight 2, body bytes 8, flags and properties. */
  header(bytes: Buffer, start: number, end: number): void {
    if (this.#expecting !== 'header') {
      throw connectionError('unexpected-frame', 'expected a method frame, got a content header');
    }
    if (end - start < CONTENT_PREFIX_BYTES + 2) {
      throw connectionError('frame-error', 'content header is cut short');
    }
    if (bytes.readUInt16BE(start) !== BASIC_CLASS) {
      throw connectionError('unexpected-frame', 'content header of another class than basic');
    }
    const bodyBytes = bytes.readUInt32BE(start + 4) * 0x1_0000_0000 + bytes.readUInt32BE(start + 8);
    const bytesMax = this.#channel.connection.shared.host.core.limits.messageBytesMax;
    if (bodyBytes > bytesMax) {
      throw channelError(
        'precondition-failed',
        `message size ${bodyBytes} is larger than configured max size ${bytesMax}`,
      );
    }
    const contentAt = start + CONTENT_PREFIX_BYTES;
    if (!this.#looksTheSame(bytes, contentAt, end)) this.#load(bytes, contentAt, end);
    const { shared } = this.#channel.connection;
    if (this.#strict || this.#route.generation !== shared.host.core.exchanges.generation)
      this.#checkExchange(this.#route);
    this.#bodyBytes = bodyBytes;
    this.#expecting = 'body';
    if (bodyBytes === 0) this.#finish(EMPTY);
  }

  body(bytes: Buffer, start: number, end: number): void {
    if (this.#expecting !== 'body') {
      throw connectionError('unexpected-frame', `expected a ${this.#expecting} frame, got a body`);
    }
    const length = end - start;
    if (length === this.#bodyBytes && this.#pieceBytes === 0) {
      this.#finish(bytes.subarray(start, end));
      return;
    }
    const { connection } = this.#channel;
    this.#pieceBytes += length;
    connection.unfinishedBytes += length;
    if (this.#pieceBytes > this.#bodyBytes) {
      throw connectionError('unexpected-frame', 'more body than the content header announced');
    }
    if (connection.unfinishedBytes > connection.shared.settings.unfinishedBytesMax) {
      throw connectionError('resource-error', 'too many bytes of unfinished messages (unfinishedBytesMax)');
    }
    if (this.#pieceBytes < this.#bodyBytes) {
      this.#keepPiece(bytes, start, end);
      return;
    }
    this.#closeGathered();
    this.#pieces.push(bytes.subarray(start, end));
    const body = Buffer.concat(this.#pieces, this.#bodyBytes);
    this.abandon();
    this.#finish(body);
  }

  #keepPiece(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length >= PIECE_BYTES_MIN) {
      this.#closeGathered();
      this.#pieces.push(bytes.subarray(start, end));
      return;
    }
    if (this.#gatheredBytes + length > 2 * PIECE_BYTES_MIN) this.#closeGathered();
    this.#gathered ??= Buffer.allocUnsafeSlow(2 * PIECE_BYTES_MIN);
    this.#gatheredBytes += bytes.copy(this.#gathered, this.#gatheredBytes, start, end);
  }

  #closeGathered(): void {
    if (this.#gathered === null) return;
    this.#pieces.push(this.#gathered.subarray(0, this.#gatheredBytes));
    this.#gathered = null;
    this.#gatheredBytes = 0;
  }

  /** Forgets what is not finished. */
  abandon(): void {
    this.#channel.connection.unfinishedBytes -= this.#pieceBytes;
    this.#pieces = [];
    this.#pieceBytes = 0;
    this.#gathered = null;
    this.#gatheredBytes = 0;
    this.#expecting = 'method';
  }

  #looksTheSame(bytes: Buffer, contentAt: number, end: number): boolean {
    const native = this.#native;
    const routeIn = this.#routeIn;
    const routeLength = this.#routeEnd - this.#routeStart;
    if (native.length !== routeLength + end - contentAt) return false;
    let at = 0;
    for (let i = this.#routeStart; at < routeLength; i++, at++) {
      if (routeIn[i] !== native[at]) return false;
    }
    for (let i = contentAt; i < end; i++, at++) if (bytes[i] !== native[at]) return false;
    return true;
  }

  /** Makes the native form of another looking message and reads what the core must know. */
  #load(bytes: Buffer, contentAt: number, end: number): void {
    const facts = this.#facts;
    try {
      scanContent(bytes, contentAt, end, facts);
    } catch (error) {
      if (!(error instanceof MalformedTableError)) throw error;
      throw connectionError('frame-error', error.message);
    }
    const route = this.#findRoute();
    if (facts.userIdLength >= 0) this.#checkUserId(bytes);
    const expirationMs = this.#readExpiration(bytes);
    const isDirectReply = this.#isDirectReply(bytes);
    const came = isDirectReply
      ? this.#nativeWithReplyQueue(bytes, contentAt, end)
      : this.#nativeAsItCame(bytes, contentAt, end);
    const native = facts.special ? withoutClaims(came, routeBytes(came), isLongRoute(came)) : came;
    this.#native = native;
    this.#replyTo = '';
    if (facts.replyToLength > 0) {
      this.#replyTo = isDirectReply
        ? this.#channel.replyQueue
        : bytes.toString('utf8', facts.replyToAt, facts.replyToAt + facts.replyToLength);
    }
    this.#durable = facts.deliveryMode === 2;
    this.#priority = facts.priority;
    this.#expirationMs = expirationMs;
    this.#extras = facts.special ? extrasFromNative(native, this.#durable) : NO_EXTRAS;
    this.#route = this.#extras.address === undefined ? route : { ...route, address: this.#extras.address };
  }

  #nativeAsItCame(bytes: Buffer, contentAt: number, end: number): Buffer {
    const routeLength = this.#routeEnd - this.#routeStart;
    const native = Buffer.allocUnsafeSlow(routeLength + end - contentAt);
    this.#routeIn.copy(native, 0, this.#routeStart, this.#routeEnd);
    bytes.copy(native, routeLength, contentAt, end);
    return native;
  }

  #isDirectReply(bytes: Buffer): boolean {
    const { replyToAt, replyToLength } = this.#facts;
    return (
      replyToLength === DIRECT_REPLY_TO.length &&
      bytes.toString('latin1', replyToAt, replyToAt + replyToLength) === DIRECT_REPLY_TO
    );
  }

  /** The pseudo-queue's name is replaced by that of the queue behind it. */
  #nativeWithReplyQueue(bytes: Buffer, contentAt: number, end: number): Buffer {
    const { replyQueue } = this.#channel;
    if (replyQueue === '') throw channelError('precondition-failed', 'fast reply consumer does not exist');
    const { replyToAt, replyToLength } = this.#facts;
    const name = Buffer.from(replyQueue);
    return Buffer.concat([
      this.#routeIn.subarray(this.#routeStart, this.#routeEnd),
      bytes.subarray(contentAt, replyToAt - 1),
      Buffer.of(name.length),
      name,
      bytes.subarray(replyToAt + replyToLength, end),
    ]);
  }

  #findRoute(): Route {
    const name = this.#routeIn.toString('latin1', this.#routeStart, this.#routeEnd);
    const known = this.#routes.get(name);
    if (known !== undefined) return known;
    const bytes = this.#routeIn;
    const exchangeEnd = this.#routeStart + 1 + (bytes[this.#routeStart] as number);
    const exchangeBytes = bytes.subarray(this.#routeStart + 1, exchangeEnd);
    if (!isUtf8(exchangeBytes) || exchangeBytes.includes(0)) {
      throw channelError('precondition-failed', 'exchange name is not UTF-8 or contains U+0000');
    }
    const keyBytes = bytes.subarray(exchangeEnd + 1, this.#routeEnd);
    if (!isUtf8(keyBytes) || keyBytes.includes(0)) {
      throw channelError('precondition-failed', 'routing key is not UTF-8 or contains U+0000');
    }
    const exchange = exchangeBytes.toString();
    const key = keyBytes.toString();
    const address = addressFromAmqp091(exchange, key);
    const queue = exchange === '' && namesQueueAddress(key) ? queueNameFromAddress(address) : null;
    const route = { address, exchange, queue, generation: -1 };
    if (this.#routes.size >= ROUTES_MAX) this.#routes.clear();
    this.#routes.set(name, route);
    return route;
  }

  #checkExchange(route: Route): void {
    const { host, settings } = this.#channel.connection.shared;
    const spec = host.core.exchanges.get(route.exchange);
    if (spec?.internal === true) {
      throw channelError(
        'access-refused',
        `cannot publish to internal exchange '${route.exchange}' in vhost '/'`,
      );
    }
    if (spec === undefined && settings.undeclaredExchanges === 'refuse' && route.exchange !== '') {
      throw channelError('not-found', explain.noExchange(route.exchange));
    }
    route.generation = host.core.exchanges.generation;
  }

  /** RabbitMQ: a message may only name the user who sends it. */
  #checkUserId(bytes: Buffer): void {
    const { userIdAt, userIdLength } = this.#facts;
    const claimed = bytes.toString('utf8', userIdAt, userIdAt + userIdLength);
    const user = this.#channel.connection.principal?.user ?? '';
    if (claimed === user) return;
    throw channelError(
      'precondition-failed',
      `user_id property set to '${claimed}' but authenticated user was '${user}'`,
    );
  }

  #readExpiration(bytes: Buffer): number {
    const { expirationAt, expirationLength } = this.#facts;
    if (expirationLength < 0) return -1;
    const text = bytes.toString('latin1', expirationAt, expirationAt + expirationLength);
    const expirationMs = expirationMsFromText(text);
    if (expirationMs < 0) throw channelError('precondition-failed', `invalid expiration '${text}'`);
    return expirationMs;
  }

  #finish(body: Buffer): void {
    this.#expecting = 'method';
    if (this.#route.queue !== null) provideQueue(this.#channel, this.#route.queue);
    const nowMs = this.#channel.connection.shared.host.clock.nowMs();
    const extras = this.#extras;
    const message =
      extras === NO_EXTRAS
        ? new Message({
            address: this.#route.address,
            body,
            reliability: this.#durable ? 1 : 0,
            priority: this.#priority,
            expiresAtMs: this.#expirationMs < 0 ? 0 : nowMs + this.#expirationMs,
            timestampMs: nowMs,
            replyLent: this.#replyTo !== '' && lendsReply(this.#channel.connection, this.#replyTo),
            codec: amqp091Codec,
            native: this.#native,
          })
        : this.#messageWithExtras(body, nowMs);
    this.#publish(message);
  }

  #messageWithExtras(body: Buffer, nowMs: number): Message {
    return new Message({
      body,
      reliability: this.#durable ? 1 : 0,
      priority: this.#priority,
      expiresAtMs: this.#expirationMs < 0 ? 0 : nowMs + this.#expirationMs,
      timestampMs: nowMs,
      replyLent: this.#replyTo !== '' && lendsReply(this.#channel.connection, this.#replyTo),
      codec: amqp091Codec,
      native: this.#native,
      ...this.#extras,
      address: this.#route.address,
    });
  }

  #publish(message: Message): void {
    const channel = this.#channel;
    const { confirms } = channel;
    const token = confirms === null ? 0 : confirms.next();
    let result: PublishResult = NO_ROUTE;
    // The empty address is no topic name; nothing but the root exchange has one.
    if (message.address !== '') {
      try {
        result = channel.connection.publisher.publish(message, confirms === null ? null : this.#sink, token);
      } catch (error) {
        if (!(error instanceof CoreError) || !CORE_REPLIES[error.code].nack) throw error;
        if (confirms === null) {
          // Full queues and rules drop what nobody asked to know of, as in RabbitMQ; a disk that fails is told all the same.
          if (error.code === 'overflow' || error.code === 'refused-by-rule') return;
          throw error;
        }
        confirms.refusedNow();
        channel.confirmDue();
        return;
      }
    }
    if (result === NO_ROUTE && this.#mandatory) this.#return(message);
    if (confirms === null) return;
    if (result === PENDING) {
      confirms.pending();
      return;
    }
    confirms.decided();
    channel.confirmDue();
  }

  /** Before the confirm: AMQP 0-9-1 1.8.3.3, RabbitMQ confirms. */
  #return(message: Message): void {
    const { connection, number } = this.#channel;
    const wire = wireCursor;
    wire.route = this.#native;
    wire.content = this.#native;
    wire.contentAt = wire.routeBytes = routeBytes(this.#native);
    writeReturn(
      connection.transport,
      number,
      REPLIES['no-route'].code,
      NO_ROUTE_TEXT,
      wire,
      message.body,
      connection.frameBytesMax,
    );
    connection.answered(this.#channel);
  }
}
