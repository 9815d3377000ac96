/**
 * Enhanced authentication: AUTH packets carry the messages of a challenge-response mechanism, before CONNACK while the
 * connection opens and again whenever an open client wants to prove itself anew, while everything else goes on. The
 * mechanisms are the host's. Invariant: every AUTH names the method of CONNECT. Source: MQTT 5.0 sections 3.15, 4.12.
 */

import type { Principal, Timer } from '../../../src/core/index.ts';
import { originOf, type SaslExchange, type SaslStep, type Transport } from '../../../src/host.ts';
import { authPacket, readAuth } from '../codec/control.ts';
import type { Reader } from '../codec/wire.ts';
import type { MqttContext } from '../context.ts';
import { MqttError, protocolError, Reason, type ReasonCode } from '../errors.ts';
import type { Client, ConnectionEvents } from '../state/client.ts';

const NOTHING = new Uint8Array(0);

export interface AuthMessage {
  readonly reason: number;
  readonly data: Uint8Array;
}

/** AUTH of a client that named `method` in CONNECT. The data is a copy. */
export function readAuthMessage(reader: Reader, method: string | null): AuthMessage {
  const { reason, properties } = readAuth(reader);
  // [MQTT-4.12.0-6], [MQTT-4.12.0-7]
  if (method === null) throw protocolError('AUTH without an authentication method in CONNECT');
  // [MQTT-4.12.0-5], [MQTT-4.12.1-1]
  if (properties.authenticationMethod !== method) {
    throw protocolError('AUTH does not name the authentication method of CONNECT');
  }
  if (reason === Reason.success) throw protocolError('only the server says that authentication is done');
  return { reason, data: new Uint8Array(properties.authenticationData ?? NOTHING) };
}

/** `[MQTT-4.12.0-1]` */
export function beginExchange(
  context: MqttContext,
  transport: Transport,
  method: string,
  clientId: string,
): SaslExchange {
  const exchange = context.authenticator.begin(method, originOf(transport, clientId));
  if (exchange !== null) return exchange;
  throw new MqttError(Reason.badAuthenticationMethod, 'the authentication method is not known');
}

/** Throws where the client is refused, or nobody can say whether it is. */
export async function takeStep(
  context: MqttContext,
  exchange: SaslExchange,
  message: Uint8Array,
): Promise<Exclude<SaslStep, { readonly outcome: 'refused' }>> {
  let step: SaslStep;
  try {
    step = await exchange.step(message);
  } catch (error) {
    context.logger.debug({ error: String(error) }, 'a client could not be authenticated');
    throw new MqttError(Reason.serverUnavailable, 'credentials cannot be checked now');
  }
  if (step.outcome !== 'refused') return step;
  throw new MqttError(Reason.notAuthorized, 'credentials refused');
}

/** `[MQTT-3.1.2-24]`: a client that has no room for it cannot be authenticated. */
export function writeAuth(
  context: MqttContext,
  transport: Transport,
  reason: ReasonCode,
  method: string,
  data: Uint8Array,
  packetBytesMax: number,
): void {
  const packet = authPacket(reason, method, data);
  if (packet.length > packetBytesMax) {
    throw new MqttError(Reason.packetTooLarge, 'the maximum packet size leaves no room for AUTH');
  }
  transport.write(packet);
  context.traffic.sent(packet.length);
}

/** Of one open connection; made with its first AUTH. `[MQTT-4.12.1-2]`: a failure ends the connection. */
export class Reauthentication {
  readonly #context: MqttContext;
  readonly #transport: Transport;
  readonly #client: Client;
  readonly #events: ConnectionEvents;
  #exchange: SaslExchange | null = null;
  /** The client's last message is being thought about. */
  #isBusy = false;
  #timer: Timer | null = null;

  constructor(context: MqttContext, transport: Transport, client: Client, events: ConnectionEvents) {
    this.#context = context;
    this.#transport = transport;
    this.#client = client;
    this.#events = events;
  }

  handle(reader: Reader): void {
    const { method, clientId } = this.#client;
    const { reason, data } = readAuthMessage(reader, method);
    if (method === null) return;
    if (this.#isBusy) throw protocolError('AUTH before the last one is answered');
    if (reason === Reason.reAuthenticate) {
      if (this.#exchange !== null) throw protocolError('a re-authentication within another');
      this.#exchange = beginExchange(this.#context, this.#transport, method, clientId);
      const { core, settings } = this.#context;
      this.#timer = core.clock.after(settings.limits.connectTimeoutMs, () =>
        this.#events.fail(new MqttError(Reason.notAuthorized, 're-authentication took too long')),
      );
    } else if (this.#exchange === null) throw protocolError('AUTH continues what was not begun');
    this.#step(this.#exchange, method, data).catch((error: unknown) => {
      this.close();
      if (this.#events.isOpen()) this.#events.fail(error as Error);
    });
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#exchange = null;
  }

  async #step(exchange: SaslExchange, method: string, data: Uint8Array): Promise<void> {
    this.#isBusy = true;
    const step = await takeStep(this.#context, exchange, data);
    this.#isBusy = false;
    if (!this.#events.isOpen()) return;
    if (step.outcome === 'accepted') this.#accept(step.principal);
    const reason = step.outcome === 'accepted' ? Reason.success : Reason.continueAuthentication;
    writeAuth(this.#context, this.#transport, reason, method, step.message, this.#client.packetBytesMax);
  }

  /** What the connection holds is its user's, so nobody else may go on with it. */
  #accept(principal: Principal): void {
    if (principal.user !== this.#client.principal.user) {
      throw new MqttError(Reason.notAuthorized, 're-authentication as another user');
    }
    this.#client.principal = principal;
    this.close();
  }
}
