/**
 * The life of one MQTT connection: packets by type, keep alive, pauses, end. The way in, up to CONNACK, is
 * `opening.ts`; what a packet means stands in `handlers/`, what is remembered between packets in `state/`. Called by
 * the host's transport. Invariant: the end is reached once, whoever brings it about, and gives back everything:
 * session, publisher, timers, client identifier, will. Source: MQTT 5.0 sections 3.14, 4.13.
 */

import { ANONYMOUS, CoreError, type Principal, type Session, type Timer } from '../../src/core/index.ts';
import type {
  CloseReason,
  ConnectionDescription,
  ConnectionHandler,
  DisconnectReason,
  Transport,
} from '../../src/host.ts';
import { disconnectPacket, PINGRESP } from './codec/control.ts';
import { Decoder, type PacketSink } from './codec/decoder.ts';
import { PacketType, Reader } from './codec/wire.ts';
import type { MqttContext } from './context.ts';
import { closeReasonFrom, MqttError, malformed, Reason, type ReasonCode } from './errors.ts';
import {
  handlePuback,
  handlePubcomp,
  handlePubrec,
  handlePubrel,
  handleShortPuback,
} from './handlers/ack.ts';
import { Reauthentication } from './handlers/authentication.ts';
import { redirectionOf } from './handlers/connect.ts';
import { handleDisconnect } from './handlers/disconnect.ts';
import { handleSubscribe, handleUnsubscribe } from './handlers/subscribe.ts';
import type { Open } from './open.ts';
import { Opening, type OpeningConnection } from './opening.ts';
import type { Client } from './state/client.ts';

/** Why the socket is not read, as bits. */
const PAUSED_CONNECTING = 1;
const PAUSED_CONGESTED = 2;
const PAUSED_RECEIPTS = 4;
const PAUSED_OUTPUT = 8;
const PAUSED_RATE = 16;
const PAUSED_LEAVING = 32;
/** A client that sends without reading what it is owed is not read above so many times the soft bound. */
const OUTPUT_PAUSE_FACTOR = 4;
const KEEP_ALIVE_PUT_OFF_MS = 1_000;
const SETTLED_LOOK_MS = 5;
/** SUBSCRIBE and UNSUBSCRIBE packets of one client that wait for the disk, above which it is not read. */
const ANSWERS_WAITING_MAX = 64;

const REASON_BY_DISCONNECT = {
  administrative: Reason.administrativeAction,
  'shutting-down': Reason.serverShuttingDown,
  'not-authorized': Reason.notAuthorized,
} as const satisfies Record<DisconnectReason, ReasonCode>;

export class Connection implements ConnectionHandler, PacketSink, OpeningConnection {
  readonly #context: MqttContext;
  readonly #transport: Transport;
  readonly #decoder: Decoder;
  #phase: 'opening' | 'open' | 'over' = 'opening';
  /** Until CONNACK; stays where that never comes. */
  #opening: Opening | null;
  /** From CONNACK on, also when it is over. */
  #client: Client | null = null;
  /** From before CONNACK on, so that every end finds what it has to give back. */
  #open: Open | null = null;
  #session: Session | null = null;
  #sessionExpiryMs = 0;
  #paused = 0;
  #timer: Timer | null;
  /** While it rests. */
  #rest: Timer | null = null;
  #lastPacketMs = 0;
  /** When the socket was read again after a pause, and whether that has put off the keep alive since. */
  #resumedMs = 0;
  #isPutOff = false;
  /** Told when nothing is under way any more: the gateway stops. */
  #settled: (() => void) | null = null;

  constructor(context: MqttContext, transport: Transport) {
    this.#context = context;
    this.#transport = transport;
    const { limits } = context.settings;
    this.#decoder = new Decoder(this, limits.connectPacketBytesMax);
    this.#opening = new Opening(context, transport, this.#decoder, this);
    this.#timer = context.core.clock.after(limits.connectTimeoutMs, () =>
      this.#end(
        'handshake-timeout',
        this.#opening?.begun === true ? 'CONNECT was not answered in time' : 'no CONNECT in time',
        null,
      ),
    );
  }

  // --------------------------------------------------------------------------------- from the transport

  received(chunk: Buffer): void {
    this.#lastPacketMs = this.#context.core.clock.nowMs();
    this.#context.traffic.bytesReceived += chunk.length;
    try {
      this.#decoder.feed(chunk);
    } catch (error) {
      this.fail(error as Error);
    }
    if (this.#open !== null) this.#settleRead(this.#open);
  }

  halfDone(): void {
    this.#transport.flushEarly();
  }

  drained(): void {
    if (this.#open === null) return;
    this.#resume(PAUSED_OUTPUT);
    this.#open.outbound.grant();
    this.#open.replay.pump();
  }

  closed(reason: CloseReason): void {
    this.#tearDown(reason !== 'client-closed');
  }

  settle(done: () => void): void {
    this.#settled = done;
    this.#open?.outbound.quiesce();
    // Its acknowledgements come by the same way as what it publishes.
    this.#resume(PAUSED_CONGESTED);
    this.#lookSettled();
  }

  disconnect(reason: DisconnectReason): void {
    const told = REASON_BY_DISCONNECT[reason];
    this.#end(reason, '', reason === 'shutting-down' ? (redirectionOf(this.#context) ?? told) : told);
  }

  describe(): ConnectionDescription {
    const version = this.#client?.version ?? this.#opening?.version ?? 4;
    return {
      protocol: version === 3 ? 'MQTT 3.1' : version === 4 ? 'MQTT 3.1.1' : 'MQTT 5',
      clientId: this.#clientId,
      user: this.identity?.user ?? '',
      details: {
        keepAliveSeconds: this.#client?.keepAliveSeconds ?? this.#opening?.agreement?.keepAliveSeconds ?? 0,
        durable: this.#session?.durable ?? false,
        subscriptions: this.#session?.subscriptions.size ?? 0,
        inflight: this.#open?.outbound.inflightCount ?? 0,
        queued: this.#session?.queuedCount ?? 0,
      },
    };
  }

  get identity(): Principal | null {
    return this.#client?.principal ?? this.#opening?.principal ?? null;
  }

  get #clientId(): string {
    return this.#client?.clientId ?? this.#opening?.agreement?.clientId ?? '';
  }

  displace(): Promise<void> | null {
    this.#end('displaced', 'the same client identifier connected again', Reason.sessionTakenOver);
    return this.#opening?.pending ?? null;
  }

  // --------------------------------------------------------------------------------------- from its parts

  get principal(): Principal {
    return this.identity ?? ANONYMOUS;
  }

  /** Durable queues are made by publishing to them. */
  get providesQueues(): boolean {
    return true;
  }

  congested(yes: boolean): void {
    if (yes && this.#settled === null) this.#pause(PAUSED_CONGESTED);
    else this.#resume(PAUSED_CONGESTED);
  }

  holdsLess(): void {
    if (this.#settled !== null) this.#lookSettled();
  }

  isOpen(): boolean {
    return this.#phase === 'open';
  }

  isOver(): boolean {
    return this.#phase === 'over';
  }

  rest(waitMs: number): void {
    this.#decoder.hold();
    this.#pause(PAUSED_RATE);
    this.#rest = this.#context.core.clock.after(waitMs, () => this.#goOn());
  }

  /** What was kept may be too much again. */
  #goOn(): void {
    if (this.isOver()) return;
    this.#lastPacketMs = this.#context.core.clock.nowMs();
    try {
      this.#decoder.release();
    } catch (error) {
      this.fail(error as Error);
    }
    if (this.#open !== null) this.#settleRead(this.#open);
    if (!this.#decoder.isHeld) this.#resume(PAUSED_RATE);
  }

  sessionGone(reason: 'deleted' | 'expired' | 'displaced'): void {
    // It is not ours to detach any more.
    this.#session = null;
    if (reason === 'displaced') {
      this.#end('displaced', '', Reason.sessionTakenOver);
      return;
    }
    // [MQTT-3.1.2-8]: a will waits no longer than its session lives.
    this.#sessionExpiryMs = 0;
    this.#end('administrative', `the session was ${reason}`, Reason.administrativeAction);
  }

  // ----------------------------------------------------------------------------------- from the decoder

  packet(first: number, buffer: Buffer, start: number, end: number): void {
    const open = this.#open;
    if (open === null) {
      this.#context.traffic.othersReceived++;
      this.#opening?.packet(first, buffer, start, end);
      return;
    }
    if (first >> 4 === PacketType.PUBLISH) {
      open.publishing.publish.handle(first, buffer, start, end);
    } else this.#other(open, first, buffer, start, end);
  }

  #other(open: Open, first: number, buffer: Buffer, start: number, end: number): void {
    this.#context.traffic.othersReceived++;
    switch (first >> 4) {
      case PacketType.PUBACK:
        if (end - start === 2) handleShortPuback(open.outbound, buffer, start);
        else handlePuback(open.outbound, new Reader(buffer, start, end), open.client.version);
        return;
      case PacketType.PUBREC:
        handlePubrec(open.outbound, new Reader(buffer, start, end), open.client.version);
        return;
      case PacketType.PUBREL:
        handlePubrel(open.publishing.inbound, new Reader(buffer, start, end), open.client.version);
        return;
      case PacketType.PUBCOMP:
        handlePubcomp(open.outbound, new Reader(buffer, start, end), open.client.version);
        return;
      case PacketType.SUBSCRIBE:
        handleSubscribe(open.subscribing, new Reader(buffer, start, end));
        return;
      case PacketType.UNSUBSCRIBE:
        handleUnsubscribe(open.subscribing, new Reader(buffer, start, end));
        return;
      case PacketType.PINGREQ:
        if (start !== end) throw malformed('PINGREQ has no body');
        this.#context.traffic.sent(PINGRESP.length);
        this.#transport.write(PINGRESP);
        return;
      case PacketType.DISCONNECT:
        this.#leave(open, new Reader(buffer, start, end));
        return;
      default:
        open.reauthentication ??= new Reauthentication(this.#context, this.#transport, open.client, this);
        open.reauthentication.handle(new Reader(buffer, start, end));
    }
  }

  tooLarge(bytes: number): never {
    throw new MqttError(Reason.packetTooLarge, `a packet of ${bytes} bytes`);
  }

  // ------------------------------------------------------------------------------------ from its opening

  holdSocket(yes: boolean): void {
    if (yes) this.#pause(PAUSED_CONNECTING);
    else this.#resume(PAUSED_CONNECTING);
  }

  adopt(session: Session, sessionExpiryMs: number, open: Open): void {
    this.#session = session;
    this.#sessionExpiryMs = sessionExpiryMs;
    this.#open = open;
  }

  accept(connack: Buffer): void {
    const open = this.#open as Open;
    const { clock } = this.#context.core;
    this.#client = open.client;
    this.#opening = null;
    this.#timer?.cancel();
    this.#timer = null;
    this.#phase = 'open';
    this.#lastPacketMs = clock.nowMs();
    if (open.keepAliveMs > 0) this.#timer = clock.after(open.keepAliveMs, () => this.#checkKeepAlive());
    this.#decoder.packetBytesMax = this.#context.settings.limits.packetBytesMax;
    this.#decoder.speak(open.client.version);
    // [MQTT-3.2.0-1]: CONNACK is the first packet that the client gets.
    this.#transport.write(connack);
    this.#context.traffic.sent(connack.length);
    this.#context.traffic.accepted(this.#context.clients.size);
    open.outbound.open();
    try {
      this.#decoder.release();
    } catch (error) {
      this.fail(error as Error);
    }
    if (this.#open !== null) this.#settleRead(open);
    this.#resume(PAUSED_CONNECTING);
  }

  abandon(): void {
    this.#tearDown(false);
    this.#transport.close('client-closed', 'before it was authenticated');
  }

  openingSettled(): void {
    if (this.isOver()) this.#leaveClients();
  }

  // ---------------------------------------------------------------------------------------- while it is open

  /** After each chunk: credit that came back goes to the core, and the socket rests where too much waits. */
  #settleRead(open: Open): void {
    if (open.outbound.hasCredit) open.outbound.grant();
    if (!open.replay.idle) open.replay.pump();
    const { limits } = this.#context.settings;
    if (this.#transport.pendingBytes > OUTPUT_PAUSE_FACTOR * limits.outputBytesSoft)
      this.#pause(PAUSED_OUTPUT);
    if (
      open.receiptsWaiting > limits.pendingReceiptsMax ||
      open.subscribing.waitingCount > ANSWERS_WAITING_MAX
    ) {
      this.#pause(PAUSED_RECEIPTS);
      this.#context.core.whenStored(() => this.#resume(PAUSED_RECEIPTS));
    }
    if (this.#settled !== null) this.#lookSettled();
  }

  /**
   * First the client acknowledges or settles what it was sent, and is read meanwhile. From then on what it publishes is left unread:
   * what is not taken is not acknowledged, and a client with a session sends it again. What was taken is acknowledged.
   */
  readonly #lookSettled = (): void => {
    const settled = this.#settled;
    if (settled === null || this.isOver()) return;
    const open = this.isOpen() ? this.#open : null;
    if (open !== null) {
      if (open.outbound.underWayCount > 0) return;
      this.#pause(PAUSED_LEAVING);
      if (open.receiptsWaiting > 0 || open.subscribing.waitingCount > 0) {
        const { core } = this.#context;
        core.whenStored(() => core.clock.after(SETTLED_LOOK_MS, this.#lookSettled));
        return;
      }
    }
    this.#settled = null;
    settled();
  };

  /** One timer for the life of the connection: packets only leave their time. `[MQTT-3.1.2-22]` */
  #checkKeepAlive(): void {
    const open = this.#open;
    if (open === null) return;
    const { clock } = this.#context.core;
    const leftMs = this.#lastPacketMs + open.keepAliveMs - clock.nowMs();
    if (leftMs > 0) this.#isPutOff = false;
    // Who is not read cannot be heard, unless it is not read because it does not read itself.
    if (leftMs <= 0 && (this.#paused & ~PAUSED_OUTPUT) === 0) {
      // What came during a pause may still wait in the socket. Once only, or pauses would keep the dead alive.
      if (this.#resumedMs > this.#lastPacketMs && !this.#isPutOff) {
        this.#isPutOff = true;
        this.#timer = clock.after(KEEP_ALIVE_PUT_OFF_MS, () => this.#checkKeepAlive());
        return;
      }
      this.#end(this.#paused === 0 ? 'keep-alive-timeout' : 'too-slow', '', Reason.keepAliveTimeout);
      return;
    }
    this.#timer = clock.after(leftMs <= 0 ? open.keepAliveMs : leftMs, () => this.#checkKeepAlive());
  }

  #pause(cause: number): void {
    if (this.#paused === 0) this.#transport.pause();
    this.#paused |= cause;
  }

  #resume(cause: number): void {
    if ((this.#paused & cause) === 0) return;
    this.#paused &= ~cause;
    if (this.#paused !== 0 || this.#phase === 'over') return;
    this.#resumedMs = this.#context.core.clock.nowMs();
    this.#transport.resume();
  }

  // ------------------------------------------------------------------------------------------------ the end

  /** `[MQTT-3.14.4-1]`, `[MQTT-3.14.4-2]`: nothing that follows DISCONNECT is looked at. */
  #leave(open: Open, reader: Reader): void {
    const { limits } = this.#context.settings;
    const farewell = handleDisconnect(reader, open.client.version, this.#sessionExpiryMs, limits);
    this.#sessionExpiryMs = farewell.sessionExpiryMs;
    this.#tearDown(farewell.keepsWill);
    this.#transport.close(
      'client-closed',
      farewell.reason === 0 ? '' : `reason 0x${farewell.reason.toString(16)}`,
    );
  }

  /** An error ends the connection: told with CONNACK, with DISCONNECT, or only by the close. */
  fail(error: Error): void {
    if (this.isOver()) return;
    let reason: ReasonCode = Reason.unspecifiedError;
    if (error instanceof MqttError) reason = error.reason;
    else if (error instanceof CoreError) {
      reason = error.code === 'limit-reached' ? Reason.quotaExceeded : Reason.serverUnavailable;
    } else {
      this.#context.logger.error(
        { connection: this.#transport.id, stack: error.stack },
        'an MQTT connection failed',
      );
    }
    const known = error instanceof MqttError || error instanceof CoreError;
    const text = known ? error.message : 'an internal error';
    if (this.#phase !== 'open') {
      this.#refuse(reason, text);
      return;
    }
    const told = error instanceof CoreError ? Reason.implementationSpecific : reason;
    this.#end(closeReasonFrom(reason), text, told);
  }

  #refuse(reason: ReasonCode, text: string): void {
    const connack = this.#opening?.refusingConnack(reason, text) ?? null;
    this.#tearDown(true);
    if (connack !== null) {
      this.#transport.write(connack);
      this.#context.traffic.sent(connack.length);
    }
    this.#transport.close(closeReasonFrom(reason), text);
  }

  /** `told`: the reason code for a version 5 client; null tells none. */
  #end(reason: CloseReason, detail: string, told: ReasonCode | null): void {
    if (this.isOver()) return;
    const client = this.isOpen() ? this.#client : null;
    this.#tearDown(true);
    // [MQTT-3.14.0-1]: no DISCONNECT before a successful CONNACK.
    if (told !== null && client?.version === 5) {
      const isRedirected = told === Reason.useAnotherServer || told === Reason.serverMoved;
      const reference = isRedirected ? this.#context.settings.serverReference : '';
      let packet = disconnectPacket(told, detail, client.packetBytesMax, reference);
      // [MQTT-3.1.2-24]: it may be told less.
      if (packet.length > client.packetBytesMax) packet = disconnectPacket(told, '', client.packetBytesMax);
      if (packet.length <= client.packetBytesMax) {
        this.#transport.write(packet);
        this.#context.traffic.sent(packet.length);
      }
    }
    this.#transport.close(reason, detail);
  }

  /** Gives everything back. Writing and closing the transport is the caller's. */
  #tearDown(withWill: boolean): void {
    if (this.#phase === 'over') return;
    const wasOpen = this.#phase === 'open';
    this.#phase = 'over';
    this.#timer?.cancel();
    this.#timer = null;
    this.#rest?.cancel();
    this.#decoder.stop();
    // While the session is being opened, the next client of this name has to find this one and wait for it.
    if (this.#opening === null || this.#opening.pending === null) this.#leaveClients();
    const open = this.#open;
    this.#open = null;
    this.#opening?.close();
    open?.close();
    this.#session?.detach(this.#sessionExpiryMs);
    this.#session = null;
    if (open === null || open.will === null) return;
    const { clientId, principal } = open.client;
    const { wills } = this.#context;
    if (withWill && wasOpen) wills.schedule(clientId, open.will, principal, this.#sessionExpiryMs);
    else wills.forget(clientId);
  }

  #leaveClients(): void {
    const { clients } = this.#context;
    const clientId = this.#clientId;
    if (clients.get(clientId) === this) clients.delete(clientId);
  }
}
