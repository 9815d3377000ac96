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
import { connackPacket } from './codec/control.ts';
import type { Decoder } from './codec/decoder.ts';
import type { PropertyValues } from './codec/properties.ts';
import { type ProtocolVersion, Reader } from './codec/wire.ts';
import type { Displaceable, MqttContext } from './context.ts';
import { connectReturnFromReason, MqttError, Reason, type ReasonCode } from './errors.ts';
import { type Agreement, acceptingConnack, agreeOn, credentialsOf } from './handlers/connect.ts';
import { buildOpen, type Open } from './open.ts';
import type { ConnectionEvents } from './state/client.ts';

/** The connection as its opening sees it. */
export interface OpeningConnection extends ConnectionEvents, Displaceable {
  isOver(): boolean;
  /** Stops and restarts the socket while a packet of the client is being thought about. */
  holdSocket(yes: boolean): void;
  /** The session is this connection's: whatever ends it gives the session back. */
  adopt(session: Session, sessionExpiryMs: number, open: Open): void;
  /** Everything is ready; `connack` tells the client. */
  accept(connack: Buffer): void;
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

  constructor(context: MqttContext, transport: Transport, decoder: Decoder, connection: OpeningConnection) {
    this.#context = context;
    this.#transport = transport;
    this.#decoder = decoder;
    this.#connection = connection;
  }

  packet(_first: number, buffer: Buffer, start: number, end: number): void {
    const packet = this.#readConnect(new Reader(buffer, start, end));
    this.begun = true;
    this.#packetBytesMax = packet.properties.maximumPacketSize ?? Number.POSITIVE_INFINITY;
    const agreement = agreeOn(packet, this.#context.settings.limits);
    this.agreement = agreement;
    // What the client sends behind CONNECT waits until it is answered.
    this.#decoder.hold();
    this.#connection.holdSocket(true);
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
    return this.version === 5 && text.length + 32 <= this.#packetBytesMax ? { reasonString: text } : {};
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
      const principal = await this.#authenticate(packet);
      this.principal = principal;
      if (connection.isOver()) return;
      const found = await this.#findSession(packet, agreement);
      if (found === null) return;
      const { session, present } = found;
      const open = buildOpen(
        this.#context,
        this.#transport,
        { packet, agreement, session, principal },
        connection,
      );
      connection.adopt(session, agreement.sessionExpiryMs, open);
      open.outbound.attach();
      if (session.durable) await this.#whenStored();
      if (connection.isOver()) return;
      connection.accept(acceptingConnack(this.version, present, agreement));
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
      logger.error({ error: String(error) }, 'a client could not be authenticated');
      throw new MqttError(Reason.serverUnavailable, 'credentials cannot be checked now');
    }
    if (principal !== null) return principal;
    const reason = credentials.kind === 'anonymous' ? Reason.notAuthorized : Reason.badUserNameOrPassword;
    throw new MqttError(reason, 'credentials refused');
  }

  /** Null: the connection is over meanwhile, and nothing is left of it. */
  async #findSession(
    packet: ConnectPacket,
    agreement: Agreement,
  ): Promise<{ readonly session: Session; readonly present: boolean } | null> {
    const { core, clients, wills } = this.#context;
    const { clientId, sessionExpiryMs } = agreement;
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
