/**
 * One client's connection: protocol header, frames to channels, heartbeats, flow both ways and the ways to end.
 * The handshake's methods are in `handlers/connection.ts`. While a handler waits for the core, the connection
 * reads nothing more, so that methods take effect in their order. AMQP 0-9-1 2.2 and 4.2.
 */

import { Buffer } from 'node:buffer';
import type { Principal, Publisher, Timer } from '../../src/core/index.ts';
import type {
  CloseReason,
  ConnectionDescription,
  ConnectionHandler,
  DisconnectReason,
  Transport,
} from '../../src/host.ts';
import { Channel } from './channel.ts';
import { FrameReader, type FrameSink } from './codec/frame-reader.ts';
import {
  encodeMethod,
  FRAME_BODY,
  FRAME_END,
  FRAME_HEADER,
  FRAME_HEARTBEAT,
  FRAME_METHOD,
} from './codec/method-codec.ts';
import { METHOD_NAMES, type MethodArguments, type MethodName } from './codec/methods.ts';
import type { ChannelContext, ConnectionContext, ConnectionState, CreditOwner, Shared } from './context.ts';
import { Amqp091Error, amqp091ErrorFrom, closeReasonOf, connectionError } from './errors.ts';
import { handleConnectionMethod } from './handlers/connection.ts';

const PROTOCOL_HEADER = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1');
const HEARTBEAT_FRAME = Buffer.of(FRAME_HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END);
/** Largest frame before the size is agreed, so that strangers cannot ask for memory. */
const HANDSHAKE_FRAME_BYTES_MAX = 8192;
const SETTLED_LOOK_MS = 5;

const DISCONNECT_TEXTS: Readonly<Record<DisconnectReason, string>> = {
  'shutting-down': 'broker forced connection closure',
  administrative: 'Closed by the operator',
  'not-authorized': 'the user has been changed or removed, or its credentials have expired',
};

export class Connection implements ConnectionHandler, ConnectionContext, FrameSink {
  readonly transport: Transport;
  readonly shared: Shared;
  state: ConnectionState = 'header';
  principal: Principal | null = null;
  /** What the client says of itself in start-ok. */
  clientName = '';
  clientProduct = '';
  capabilities: ReadonlySet<string> = new Set();
  /** As agreed in tune. */
  frameBytesMax: number;
  channelMax: number;
  heartbeatSeconds = 0;
  /** Bytes of messages that are begun and not finished, on all channels. */
  unfinishedBytes = 0;
  /** The transport is above its mark: no consumer has credit. */
  throttled = false;
  readonly channels = new Map<number, Channel>();
  readonly reader: FrameReader;
  #headerBytes = 0;
  #publisher: Publisher | null = null;
  #timer: Timer | null = null;
  #received = true;
  #missedBeats = 0;
  #waiting = false;
  #congested = false;
  #paused = false;
  /** Answers wait to be read by the client: its requests wait meanwhile. */
  #full = false;
  /** Of channel 0. */
  #currentMethod = 0;
  /** Told when nothing is under way any more: the gateway stops. `#leaving`: and the client is not read any more. */
  #settled: (() => void) | null = null;
  #leaving = false;
  #closeReason: CloseReason = 'client-closed';
  #closeDetail = '';
  #creditDue: CreditOwner[] = [];
  /** The last channel that a frame was for, because the next one mostly is as well. */
  #lastChannel: Channel | null = null;

  constructor(shared: Shared, transport: Transport) {
    this.shared = shared;
    this.transport = transport;
    this.frameBytesMax = shared.settings.frameBytesMax;
    this.channelMax = shared.settings.channelMax;
    this.reader = new FrameReader(this, Math.min(HANDSHAKE_FRAME_BYTES_MAX, this.frameBytesMax));
    this.#timer = shared.host.clock.after(shared.settings.handshakeTimeoutMs, () =>
      this.#end('handshake-timeout'),
    );
  }

  // --------------------------------------------------------------------------------------------- from the host

  received(chunk: Buffer): void {
    this.#received = true;
    let frames = chunk;
    if (this.state === 'header') {
      const at = this.#readProtocolHeader(chunk);
      if (at < 0 || at === chunk.length) return;
      frames = chunk.subarray(at);
    }
    try {
      this.reader.push(frames);
      if (this.#creditDue.length > 0) this.#grantDue();
    } catch (error) {
      this.fail(error, null);
    }
    if (this.#settled !== null) this.#lookSettled();
  }

  drained(): void {
    if (this.#settled === null) {
      this.throttled = false;
      for (const channel of this.channels.values()) channel.restoreCredit();
    }
    if (!this.#full || this.#leaving) return;
    this.#full = false;
    this.#readOn();
  }

  settle(done: () => void): void {
    this.#settled = done;
    // No consumer gets credit any more, also none that begins now.
    this.throttled = true;
    for (const channel of this.channels.values()) channel.withdrawCredit('all');
    this.#full = false;
    this.#readOn();
    this.#lookSettled();
  }

  /**
   * First the client settles what it was sent, and is read meanwhile, though publishers be held back. From then on what
   * it publishes is left unread, and what was taken is confirmed.
   */
  readonly #lookSettled = (): void => {
    const settled = this.#settled;
    if (settled === null) return;
    if (this.state === 'open') {
      const channels = [...this.channels.values()];
      if (channels.some(({ unsettled }) => unsettled.count > 0)) return;
      this.#leaving = true;
      this.#holdRequests();
      if (this.#waiting || channels.some(({ confirms }) => confirms?.owes === true)) {
        const { core, clock } = this.shared.host;
        core.whenStored(() => clock.after(SETTLED_LOOK_MS, this.#lookSettled));
        return;
      }
    }
    this.#settled = null;
    settled();
  };

  closed(_reason: CloseReason): void {
    this.state = 'closed';
    this.#timer?.cancel();
    this.#dropChannels();
    this.#publisher?.close();
    this.#publisher = null;
    this.shared.host.core.queues.deleteOwned(this);
  }

  disconnect(reason: DisconnectReason): void {
    this.#settled = null;
    if (this.state === 'open') {
      const text = DISCONNECT_TEXTS[reason];
      this.#sendClose(new Amqp091Error('connection-forced', 'connection', text), null, reason);
    } else this.#end(reason);
  }

  get identity(): Principal | null {
    return this.principal;
  }

  describe(): ConnectionDescription {
    return {
      protocol: 'AMQP 0-9-1',
      clientId: this.clientName,
      user: this.principal?.user ?? '',
      details: {
        product: this.clientProduct,
        channels: this.channels.size,
        frameBytesMax: this.frameBytesMax,
        heartbeatSeconds: this.heartbeatSeconds,
        congested: this.#congested,
      },
    };
  }

  // ---------------------------------------------------------------------------------------------------- frames

  /** Never throws, so that the reader goes on with the next frame: the answer to a close must be found. */
  frame(type: number, number: number, bytes: Buffer, start: number, end: number): void {
    if (this.state === 'closing' || this.state === 'closed') {
      this.#frameWhileClosing(type, number, bytes, start, end);
      return;
    }
    let channel: Channel | null = null;
    try {
      if (type === FRAME_HEARTBEAT) {
        if (number !== 0) throw connectionError('unexpected-frame', 'heartbeat on a channel');
        return;
      }
      if (number === 0) {
        this.#connectionFrame(type, bytes, start, end);
        return;
      }
      if (this.state !== 'open') {
        throw connectionError('channel-error', `channel ${number} before the connection is open`);
      }
      channel = this.#lastChannel;
      if (channel === null || channel.number !== number) {
        channel = this.channels.get(number) ?? null;
        channel ??= this.#openingChannel(type, number, bytes, start, end);
        this.#lastChannel = channel;
      }
      if (type === FRAME_METHOD) channel.method(bytes, start, end);
      else if (type === FRAME_HEADER) channel.header(bytes, start, end);
      else if (type === FRAME_BODY) channel.body(bytes, start, end);
      else throw connectionError('frame-error', `unknown frame type ${type}`);
    } catch (error) {
      this.fail(error, channel);
    }
  }

  #openingChannel(type: number, number: number, bytes: Buffer, start: number, end: number): Channel {
    const opens =
      type === FRAME_METHOD &&
      end - start >= 4 &&
      METHOD_NAMES.get(bytes.readUInt32BE(start)) === 'channel.open';
    if (!opens) throw connectionError('channel-error', "expected 'channel.open'");
    if (number > this.channelMax) {
      throw connectionError(
        'not-allowed',
        `channel number ${number} is above the negotiated channel_max (${this.channelMax})`,
      );
    }
    const channel = new Channel(this, number);
    this.channels.set(number, channel);
    return channel;
  }

  #connectionFrame(type: number, bytes: Buffer, start: number, end: number): void {
    if (type !== FRAME_METHOD) throw connectionError('unexpected-frame', `frame type ${type} on channel 0`);
    const name = end - start < 4 ? undefined : METHOD_NAMES.get(bytes.readUInt32BE(start));
    if (name === undefined || !name.startsWith('connection.')) {
      throw connectionError('command-invalid', `unexpected method on channel 0: ${name ?? 'unknown'}`);
    }
    this.#currentMethod = bytes.readUInt32BE(start);
    this.wait(handleConnectionMethod(this, name, bytes, start + 4, end), null);
  }

  #frameWhileClosing(type: number, number: number, bytes: Buffer, start: number, end: number): void {
    if (type !== FRAME_METHOD || number !== 0 || end - start < 4 || this.state === 'closed') return;
    const name = METHOD_NAMES.get(bytes.readUInt32BE(start));
    if (name === 'connection.close') this.send(0, 'connection.close-ok', {});
    if (name === 'connection.close' || name === 'connection.close-ok') {
      this.#end(this.#closeReason, this.#closeDetail);
    }
  }

  /** Returns where frames begin, or -1. Any other protocol's header is answered with ours (4.2.2). */
  #readProtocolHeader(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && this.#headerBytes < PROTOCOL_HEADER.length) {
      if (chunk[at] !== PROTOCOL_HEADER[this.#headerBytes]) {
        this.state = 'closed';
        this.transport.write(PROTOCOL_HEADER);
        this.transport.close('protocol-error', 'the client opened with another protocol');
        return -1;
      }
      at++;
      this.#headerBytes++;
    }
    if (this.#headerBytes < PROTOCOL_HEADER.length) return -1;
    this.state = 'starting';
    handleConnectionMethod(this, 'start', chunk, 0, 0);
    return at;
  }

  // -------------------------------------------------------------------------------------------------- answering

  send<Name extends MethodName>(channel: number, name: Name, values: MethodArguments<Name>): void {
    this.transport.write(encodeMethod(channel, name, values));
  }

  /** Holds back what comes after until the handler is done. */
  wait(work: Promise<void> | void, channel: Channel | null): void {
    if (work === undefined) return;
    this.#waiting = true;
    this.reader.stall();
    this.#applyPause();
    work
      .catch((error: unknown) => this.fail(error, channel))
      .then(() => {
        this.#waiting = false;
        if (this.state === 'closed') {
          // What was declared meanwhile for this connection alone goes with it.
          this.shared.host.core.queues.deleteOwned(this);
          return;
        }
        this.#readOn();
      });
  }

  /** Goes on with what waits, unless something else still holds it back. */
  #readOn(): void {
    if (this.#waiting || this.#full) return;
    this.#applyPause();
    try {
      this.reader.resume();
      if (this.#creditDue.length > 0) this.#grantDue();
    } catch (error) {
      this.fail(error, null);
    }
  }

  #holdRequests(): void {
    this.#full = true;
    this.reader.stall();
    this.#applyPause();
  }

  #applyPause(): void {
    const paused = this.#waiting || (this.#congested && this.#settled === null) || this.#full;
    if (paused === this.#paused || this.state === 'closed') return;
    this.#paused = paused;
    if (paused) this.transport.pause();
    else this.transport.resume();
  }

  /** Closes the channel or the connection, as the error says. */
  fail(error: unknown, channel: Channel | null): void {
    if (this.state === 'closed') return;
    const known = amqp091ErrorFrom(error);
    if (known === null) {
      this.shared.host.logger.error(
        { err: error, connection: this.transport.id },
        'AMQP 0-9-1 handler failed',
      );
    }
    const shown = known ?? connectionError('internal-error', 'internal error');
    if (shown.closes === 'channel' && channel !== null) {
      channel.closeWith(shown);
      return;
    }
    if (this.state === 'closing') return;
    this.#sendClose(shown, channel, closeReasonOf(shown.reply));
  }

  /** connection.close with the method that caused it; then only the answer counts. */
  #sendClose(error: Amqp091Error, culprit: Channel | null, reason: CloseReason): void {
    this.state = 'closing';
    this.#closeReason = reason;
    this.#closeDetail = error.replyText;
    this.#dropChannels();
    // The answer has to be read.
    this.#congested = false;
    this.#applyPause();
    const method = culprit?.currentMethod ?? this.#currentMethod;
    this.send(0, 'connection.close', {
      replyCode: error.code,
      replyText: error.replyText,
      classId: method >>> 16,
      methodId: method & 0xffff,
    });
    this.#timer?.cancel();
    this.#timer = this.shared.host.clock.after(this.shared.settings.closeTimeoutMs, () =>
      this.#end(this.#closeReason, this.#closeDetail),
    );
    if (!this.#full) return;
    this.#full = false;
    this.#readOn();
  }

  /** The client wants to go. */
  answerClose(): void {
    this.#dropChannels();
    this.send(0, 'connection.close-ok', {});
    this.#end('client-closed');
  }

  /** Credentials were refused; clients that do not know of a close in this state only see the socket end. */
  refuseLogin(error: Amqp091Error): void {
    // RabbitMQ names no culprit here.
    this.#currentMethod = 0;
    if (this.capabilities.has('authentication_failure_close')) this.#sendClose(error, null, 'not-authorized');
    else this.#end('not-authorized', error.replyText);
  }

  #end(reason: CloseReason, detail?: string): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.#timer?.cancel();
    this.transport.close(reason, detail);
  }

  #dropChannels(): void {
    for (const channel of this.channels.values()) channel.withdrawCredit('all');
    for (const channel of this.channels.values()) channel.release();
    this.channels.clear();
    this.#lastChannel = null;
    this.#creditDue = [];
    this.unfinishedBytes = 0;
  }

  forget(channel: ChannelContext): void {
    this.channels.delete(channel.number);
    if (this.#lastChannel === channel) this.#lastChannel = null;
  }

  // ------------------------------------------------------------------------------------------- opened, heartbeat

  /** The handshake is over. */
  opened(): void {
    this.state = 'open';
    this.#currentMethod = 0;
    this.#timer?.cancel();
    this.#timer = null;
    if (this.heartbeatSeconds > 0) this.#watchHeartbeat(this.heartbeatSeconds * 500);
  }

  /**
   * Every half interval: a heartbeat frame is always right to send (4.2.7), and four halves without a byte are
   * two missed heartbeats. What we refuse to read is not the client's silence.
   */
  #watchHeartbeat(halfMs: number): void {
    this.#timer = this.shared.host.clock.after(halfMs, () => {
      if (this.state !== 'open') return;
      this.#missedBeats = this.#received || this.#paused ? 0 : this.#missedBeats + 1;
      this.#received = false;
      if (this.#missedBeats >= 4) {
        this.#end('keep-alive-timeout', `nothing came for ${this.heartbeatSeconds * 2} s`);
        return;
      }
      this.transport.write(HEARTBEAT_FRAME);
      this.#watchHeartbeat(halfMs);
    });
  }

  // ----------------------------------------------------------------------------------------------- publish, flow

  get publisher(): Publisher {
    if (this.#publisher === null) {
      this.#publisher = this.shared.host.core.openPublisher({
        principal: this.principal as Principal,
        congested: (yes) => this.#setCongested(yes),
      });
    }
    return this.#publisher;
  }

  #setCongested(yes: boolean): void {
    // A connection that closes publishes nothing more, and the answer to its close has to be read.
    if (yes === this.#congested || this.state === 'closing' || this.state === 'closed') return;
    this.#congested = yes;
    if (this.state === 'open' && this.capabilities.has('connection.blocked')) {
      if (yes) this.send(0, 'connection.blocked', { reason: 'low on memory' });
      else this.send(0, 'connection.unblocked', {});
    }
    this.#applyPause();
  }

  /** The output is full: nobody gets credit until it has drained, and then `by` comes after the others. */
  throttle(by: ChannelContext): void {
    if (this.throttled) return;
    this.throttled = true;
    for (const channel of this.channels.values()) channel.withdrawCredit('all');
    const channel = this.channels.get(by.number);
    if (channel !== undefined && this.channels.delete(by.number)) this.channels.set(by.number, channel);
    this.shared.host.clock.afterTurn(this.#checkThrottle);
  }

  /**
   * An answer with a whole message in it was written. While the client does not read its answers nothing more is read
   * of it, or they would fill the memory. Who settles is throttled for good, so that nobody else would look again.
   */
  answered(by: ChannelContext): void {
    if (this.transport.pendingBytes <= this.transport.listener.highWaterBytes) return;
    this.throttle(by);
    this.#holdRequests();
    if (this.#settled !== null) this.shared.host.clock.afterTurn(this.#checkThrottle);
  }

  /** The socket may have taken enough before the turn was over, and then nobody tells us that it drained. */
  readonly #checkThrottle = (): void => {
    const { transport } = this;
    if (this.throttled && transport.pendingBytes <= transport.listener.highWaterBytes) this.drained();
  };

  /** This consumer is owed credit, which is given when the chunk has been read. */
  creditDue(consumer: CreditOwner): void {
    this.#creditDue.push(consumer);
  }

  #grantDue(): void {
    for (const consumer of this.#creditDue.splice(0)) consumer.grantOwed();
  }
}
