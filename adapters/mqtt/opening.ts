/**
 * The way in: from the first packet of a connection to its CONNACK. Reads CONNECT, settles what both sides may do, has
 * the client authenticated, ends the older connection of the same name and finds the session. Used by one connection
 * until it is open or over, then dropped with everything that only CONNECT needs. Invariant: what the client sends
 * meanwhile is kept by the decoder, and nothing is begun for a connection that is over. Source: MQTT 5.0 sections 3.1,
 * 3.2 and 4.12.
 */

import type { Principal, Session } from '../../src/core/index.ts';
import { originOf, type Transport } from '../../src/host.ts';
import {
  type ConnectPacket,
  readConnect,
  readConnectVersion,
  UnsupportedVersionError,
} from './codec/connect.ts';
import { connackPacket, readDisconnect } from './codec/control.ts';
import type { Decoder } from './codec/decoder.ts';
import { NO_PROPERTIES, type PropertyValues } from './codec/properties.ts';
import { PacketType, type ProtocolVersion, Reader } from './codec/wire.ts';
import type { Displaceable, MqttContext } from './context.ts';
import { connectReturnFromReason, MqttError, protocolError, Reason, type ReasonCode } from './errors.ts';
import { beginExchange, readAuthMessage, takeStep, writeAuth } from './handlers/authentication.ts';
import {
  type Agreement,
  acceptingConnack,
  agreeOn,
  credentialsOf,
  introductionFor,
  redirectionOf,
} from './handlers/connect.ts';
import { Open } from './open.ts';
import type { ConnectionEvents } from './state/client.ts';
import { isOfAnother, keepOwner } from './state/session-owner.ts';

/** A CONNACK that refuses, without properties, its lengths at their longest. */
const REFUSAL_BYTES = 11;
/** Identifier and length of a property that is text. */
const PROPERTY_BYTES = 3;

/** The connection as its opening sees it. */
export interface OpeningConnection extends ConnectionEvents, Displaceable {
  isOver(): boolean;
  /** Stops and restarts the socket while a packet of the client is being thought about. */
  holdSocket(yes: boolean): void;
  /** The session is this connection's: whatever ends it gives the session back. */
  adopt(session: Session, sessionExpiryMs: number, open: Open): void;
  /** Everything is ready; `connack` tells the client. */
  accept(connack: Buffer): void;
  /** The client goes before it is let in. */
  abandon(): void;
  /** Nothing is under way any more. */
  openingSettled(): void;
}

export class Opening {
  /** Of the answers; known from the first packet on. */
  version: ProtocolVersion = 4;
  /** CONNECT is read, and has to be answered. */
  begun = false;
  agreement: Agreement | null = null;
  principal: Principal | null = null;
  /** What is under way; whoever comes after waits for it. */
  pending: Promise<void> | null = null;
  readonly #context: MqttContext;
  readonly #transport: Transport;
  readonly #decoder: Decoder;
  readonly #connection: OpeningConnection;
  /** What the client takes at most; known as soon as CONNECT is read. */
  #packetBytesMax = Number.POSITIVE_INFINITY;

  #serverReference = '';
  /** Of an authentication by challenge and response; null for another. */
  #method: string | null = null;
  /** Takes the client's next message, or null when the connection is over. */
  #awaiting: ((message: Uint8Array | null) => void) | null = null;
  #authentication: PropertyValues = NO_PROPERTIES;

  constructor(context: MqttContext, transport: Transport, decoder: Decoder, connection: OpeningConnection) {
    this.#context = context;
    this.#transport = transport;
    this.#decoder = decoder;
    this.#connection = connection;
  }

  packet(first: number, buffer: Buffer, start: number, end: number): void {
    const reader = new Reader(buffer, start, end);
    if (!this.begun) this.#begin(this.#readConnect(reader));
    else if (first >> 4 === PacketType.AUTH) this.#takeAuth(reader);
    else {
      readDisconnect(reader, this.version);
      this.#connection.abandon();
    }
  }

  /** The connection is over. */
  close(): void {
    this.#awaiting?.(null);
    this.#awaiting = null;
  }

  #begin(packet: ConnectPacket): void {
    const { settings, connectRates } = this.#context;
    this.begun = true;
    this.#packetBytesMax = packet.properties.maximumPacketSize ?? Number.POSITIVE_INFINITY;
    this.#redirect();
    const agreement = agreeOn(packet, settings);
    this.agreement = agreement;
    // Before its password costs anything, by the name that it claims; and later by the one that it proved.
    if (connectRates.isRefused(packet.user ?? '', agreement.clientId)) throw connectsTooOften();
    this.#hold();
    this.pending = this.#connect(packet, agreement).finally(() => {
      this.pending = null;
      this.#connection.openingSettled();
    });
  }

  /** The CONNACK that refuses, or null: a first packet that is no CONNECT at all gets no answer. */
  refusingConnack(reason: ReasonCode, text: string): Buffer | null {
    const { version } = this;
    if (!this.begun && version !== 5 && reason !== Reason.unsupportedProtocolVersion) return null;
    const code = version === 5 ? reason : connectReturnFromReason(reason);
    // [MQTT-3.2.2-6]: session present is 0 with every refusal.
    return connackPacket(version, false, code, this.#refusalProperties(text));
  }

  #refusalProperties(text: string): PropertyValues {
    if (this.version !== 5) return NO_PROPERTIES;
    let room = this.#packetBytesMax - REFUSAL_BYTES;
    const values: { serverReference?: string; reasonString?: string } = {};
    // [MQTT-3.1.2-24]; where to go tells more than why.
    for (const [name, value] of [
      ['serverReference', this.#serverReference],
      ['reasonString', text],
    ] as const) {
      const bytes = Buffer.byteLength(value) + PROPERTY_BYTES;
      if (value === '' || bytes > room) continue;
      values[name] = value;
      room -= bytes;
    }
    return values;
  }

  /** What the client sends behind a packet that is being thought about waits. */
  #hold(): void {
    this.#decoder.hold();
    this.#connection.holdSocket(true);
  }

  /** MQTT 5.0 section 4.11: the client is told where else to go. */
  #redirect(): void {
    const reason = redirectionOf(this.#context);
    if (reason === null) return;
    this.#serverReference = this.#context.settings.serverReference;
    throw new MqttError(reason, 'another server is to be used');
  }

  #readConnect(reader: Reader): ConnectPacket {
    try {
      const version = readConnectVersion(reader);
      this.version = version.version;
      return readConnect(reader, version);
    } catch (error) {
      if (error instanceof UnsupportedVersionError) this.version = error.version;
      throw error;
    }
  }

  async #connect(packet: ConnectPacket, agreement: Agreement): Promise<void> {
    const connection = this.#connection;
    try {
      const method = packet.properties.authenticationMethod;
      const principal =
        method === undefined
          ? await this.#authenticate(packet)
          : await this.#exchange(method, packet.properties.authenticationData);
      this.principal = principal;
      if (connection.isOver() || principal === null) return;
      const { connectRates } = this.#context;
      if (connectRates.isRefused(principal.user, agreement.clientId)) throw connectsTooOften();
      connectRates.count(principal.user, agreement.clientId);
      const found = await this.#findSession(packet, agreement);
      if (found === null) return;
      const { session, present } = found;
      const open = new Open(
        this.#context,
        this.#transport,
        { packet, agreement, session, principal },
        connection,
      );
      connection.adopt(session, agreement.sessionExpiryMs, open);
      open.outbound.attach();
      this.#context.wills.keep(session, packet.will, principal, agreement.sessionExpiryMs);
      if (session.durable) await this.#whenStored();
      if (connection.isOver()) return;
      const introduction = introductionFor(packet, this.#context.gatewayId);
      connection.accept(
        acceptingConnack(this.version, present, agreement, { ...this.#authentication, ...introduction }),
      );
    } catch (error) {
      connection.fail(error as Error);
    }
  }

  async #authenticate(packet: ConnectPacket): Promise<Principal> {
    const { authenticator, logger } = this.#context;
    const credentials = credentialsOf(packet);
    let principal: Principal | null;
    try {
      principal = await authenticator.authenticate(
        credentials,
        originOf(this.#transport, this.agreement?.clientId ?? ''),
      );
    } catch (error) {
      // Why is told by whoever could not decide, once and not for each client.
      logger.debug({ error: String(error) }, 'a client could not be authenticated');
      throw new MqttError(Reason.serverUnavailable, 'credentials cannot be checked now');
    }
    if (principal !== null) return principal;
    const reason = credentials.kind === 'anonymous' ? Reason.notAuthorized : Reason.badUserNameOrPassword;
    throw new MqttError(reason, 'credentials refused');
  }

  /** MQTT 5.0 section 4.12. Without data in CONNECT the client waits to be asked. Null: the connection is over. */
  async #exchange(method: string, data: Uint8Array | undefined): Promise<Principal | null> {
    const exchange = beginExchange(this.#context, this.#transport, method, this.agreement?.clientId ?? '');
    this.#method = method;
    let message: Uint8Array | null = data === undefined ? null : new Uint8Array(data);
    for (;;) {
      let challenge: Uint8Array = new Uint8Array(0);
      if (message !== null) {
        const step = await takeStep(this.#context, exchange, message);
        if (this.#connection.isOver()) return null;
        if (step.outcome === 'accepted') {
          this.#authentication = {
            authenticationMethod: method,
            ...(step.message.length === 0 ? {} : { authenticationData: step.message }),
          };
          return step.principal;
        }
        challenge = step.message;
      }
      writeAuth(
        this.#context,
        this.#transport,
        Reason.continueAuthentication,
        method,
        challenge,
        this.#packetBytesMax,
      );
      message = await this.#nextAuth();
      if (message === null) return null;
    }
  }

  #nextAuth(): Promise<Uint8Array | null> {
    return new Promise((resolve) => {
      this.#awaiting = resolve;
      this.#decoder.speak('authentication');
      try {
        this.#decoder.release();
      } catch (error) {
        this.#connection.fail(error as Error);
      }
      if (!this.#decoder.isHeld) this.#connection.holdSocket(false);
    });
  }

  #takeAuth(reader: Reader): void {
    const { reason, data } = readAuthMessage(reader, this.#method);
    if (reason !== Reason.continueAuthentication) {
      throw protocolError('re-authentication before authentication is done');
    }
    this.#hold();
    this.#awaiting?.(data);
    this.#awaiting = null;
  }

  /** Null: the connection is over meanwhile, and nothing is left of it. */
  async #findSession(
    packet: ConnectPacket,
    agreement: Agreement,
  ): Promise<{ readonly session: Session; readonly present: boolean } | null> {
    const { core, clients, wills, authenticator } = this.#context;
    const { clientId, sessionExpiryMs } = agreement;
    const principal = this.principal as Principal;
    const kept = core.sessions.get(clientId);
    if (kept !== undefined && authenticator.trusting !== true && isOfAnother(kept, principal)) {
      throw new MqttError(Reason.notAuthorized, 'the session is of another user');
    }
    // [MQTT-3.1.4-3]: the older connection ends before this one has the session.
    const older = clients.get(clientId);
    clients.set(clientId, this.#connection);
    await older?.displace();
    if (this.#connection.isOver()) return null;
    const existing = packet.clean ? undefined : core.sessions.get(clientId);
    const found = await core.sessions.open(clientId, {
      clean: packet.clean,
      durable: agreement.durable || existing?.durable === true,
      expiryMs: sessionExpiryMs,
    });
    keepOwner(found.session, principal);
    if (found.present) wills.cancel(clientId);
    else wills.publishNow(clientId);
    if (!this.#connection.isOver()) return found;
    found.session.detach(sessionExpiryMs);
    return null;
  }

  #whenStored(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#context.core.whenStored((error) => (error === null ? resolve() : reject(error)));
    });
  }
}

function connectsTooOften(): MqttError {
  return new MqttError(Reason.connectionRateExceeded, 'this client connects too often');
}
