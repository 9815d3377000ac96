/**
 * A connection to an MQTT broker: the socket, the client library on top of it, and what both sides agreed on. The library
 * does CONNECT, keep alive, SUBSCRIBE and DISCONNECT; messages pass it by (`packet-stream.ts`). It never reconnects by
 * itself: a connection that ends is reported once, with the reason that was known first. Made by `index.ts` for each link.
 */

import type { Duplex } from 'node:stream';
import type { IClientOptions, IConnackPacket, IDisconnectPacket, MqttClient, Packet } from 'mqtt';
import { PeerProperty } from '../../mappings/mqtt-peers.ts';
import type { Clock } from '../../src/core/index.ts';
import { LinkError } from '../../src/outside.ts';
import {
  ConnectRefusal,
  connectReason,
  DisconnectError,
  errorFromSocket,
  FIRST_FAILURE,
  subscribeError,
} from './errors.ts';
import { PacketStream } from './packet-stream.ts';
import type { MqttConnection } from './settings.ts';

const PACKET_IDS_MAX = 65_535;
const PACKET_BYTES_MAX = 268_435_460;
/** As many filters in a SUBSCRIBE as the strictest of the brokers that are known takes. */
const FILTERS_IN_PACKET_MAX = 8;
const CLOSE_MS_MAX = 1_000;

/** What is the same for each address that is tried. */
export interface ClientOptions {
  readonly connection: MqttConnection;
  readonly clientId: string;
  readonly gatewayId: string;
  /** 0: nothing is kept, and nothing that was kept is wanted. */
  readonly sessionExpirySeconds: number;
  /** Messages that the broker may send ahead of acknowledgements. */
  readonly receiveMaximum: number;
  readonly packetBytesMax: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface SubscribeOptions {
  readonly qos: 0 | 1 | 2;
  readonly nl: boolean;
  readonly rap: boolean;
  readonly rh: 0 | 1 | 2;
}

/** What the broker said in CONNACK, with MQTT's defaults for what it did not say. */
export interface Agreement {
  readonly sessionPresent: boolean;
  readonly receiveMaximum: number;
  readonly packetBytesMax: number;
  readonly qosMax: 0 | 1 | 2;
  readonly retainAvailable: boolean;
  readonly topicAliasMaximum: number;
  /** The other side is a gateway like this, and this is its id. */
  readonly peer: string | null;
}

export class OutsideClient {
  readonly stream: PacketStream;
  readonly agreement: Agreement;
  readonly #library: MqttClient;
  readonly #events: ClientEvents;
  readonly #options: ClientOptions;

  constructor(
    stream: PacketStream,
    library: MqttClient,
    agreement: Agreement,
    events: ClientEvents,
    options: ClientOptions,
  ) {
    this.stream = stream;
    this.agreement = agreement;
    this.#library = library;
    this.#events = events;
    this.#options = options;
  }

  /** Told once, also where it is over already. */
  whenOver(listener: (error: Error) => void): void {
    this.#events.whenOver(listener);
  }

  /** The connection is of no use: `error` is what is told of it. */
  fail(error: Error): void {
    this.#events.note(error);
    this.stream.destroy();
  }

  /** Resolves to what was granted for each filter. Rejects with a LinkError. */
  async subscribe(
    filters: readonly string[],
    optionsOf: (filter: string) => SubscribeOptions,
  ): Promise<ReadonlyMap<string, number>> {
    const granted = new Map<string, number>();
    for (let at = 0; at < filters.length; at += FILTERS_IN_PACKET_MAX) {
      const some = filters.slice(at, at + FILTERS_IN_PACKET_MAX);
      const asked = Object.fromEntries(some.map((filter) => [filter, { ...optionsOf(filter) }]));
      await this.#within('the subscriptions', (resolve: (value: undefined) => void, reject) => {
        this.#library.subscribe(asked, (error, subscriptions, suback) => {
          const codes = suback?.granted ?? [];
          const order = Object.keys(asked);
          const refused = codes.findIndex((code) => Number(code) >= FIRST_FAILURE);
          if (refused >= 0) reject(subscribeError(order[refused] ?? '', Number(codes[refused])));
          else if (error !== null) reject(this.#events.error ?? error);
          else {
            for (const { topic, qos } of subscriptions ?? []) granted.set(topic, qos);
            resolve(undefined);
          }
        });
      });
    }
    return granted;
  }

  unsubscribe(filters: readonly string[]): Promise<void> {
    return this.#within('the end of subscriptions', (resolve, reject) => {
      this.#library.unsubscribe([...filters], {}, (error) => {
        if (error === undefined || error === null) resolve();
        else reject(this.#events.error ?? error);
      });
    });
  }

  /** DISCONNECT, and the end of the socket. `forgets`: the broker need not keep the session. */
  close(forgets: boolean): Promise<void> {
    if (this.stream.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(CLOSE_MS_MAX, () => this.stream.destroy());
      this.stream.once('close', () => {
        timer.cancel();
        resolve();
      });
      const isNewer = this.#options.connection.version === '5';
      const properties = isNewer && forgets ? { properties: { sessionExpiryInterval: 0 } } : {};
      this.#library.end(false, { reasonCode: 0, ...properties });
    });
  }

  #within<T>(
    what: string,
    begin: (resolve: (value: T) => void, reject: (error: Error) => void) => void,
  ): Promise<T> {
    const { clock, connection } = this.#options;
    return new Promise((resolve, reject) => {
      const timer = clock.after(connection.connectTimeoutMs, () => {
        reject(new LinkError('timeout', `the broker does not answer: ${what}`));
      });
      this.#events.whenOver(reject);
      begin(
        (value) => {
          timer.cancel();
          resolve(value);
        },
        (error) => {
          timer.cancel();
          reject(error);
        },
      );
    });
  }
}

/** Remembers why a connection ends, the first reason that is known, and tells it when it has ended. */
class ClientEvents {
  error: Error | null = null;
  #isOver = false;
  #listeners: ((error: Error) => void)[] = [];

  /** What the broker itself says goes before what the socket says of it. */
  note(error: Error): void {
    if (
      this.error === null ||
      (error instanceof DisconnectError && !(this.error instanceof DisconnectError))
    ) {
      this.error = error;
    }
  }

  whenOver(listener: (error: Error) => void): void {
    if (this.#isOver) listener(this.#reason());
    else this.#listeners.push(listener);
  }

  over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const listener of this.#listeners) listener(this.#reason());
    this.#listeners = [];
  }

  #reason(): Error {
    return this.error ?? new LinkError('closed', 'the broker closed the connection');
  }
}

/** Speaks CONNECT on an open socket. Rejects with a LinkError; the socket is closed then. */
export async function connectClient(
  socket: Duplex,
  options: ClientOptions,
  asBridge: boolean,
): Promise<OutsideClient> {
  const { MqttClient } = await import('mqtt');
  const { connection, signal, clock } = options;
  const stream = new PacketStream(socket, options.packetBytesMax);
  const events = new ClientEvents();
  const library = new MqttClient(() => stream, libraryOptions(options));
  stream.on('error', (error) => events.note(linkError(error)));
  library.on('error', (error) => {
    events.note(linkError(error));
    stream.destroy();
  });
  stream.on('close', () => events.over());
  library.on('disconnect', ({ reasonCode = 0, properties }: IDisconnectPacket) => {
    events.note(new DisconnectError(reasonCode, properties?.reasonString ?? ''));
  });
  library.on('packetsend', (packet: Packet) => {
    if (packet.cmd === 'pingreq') stream.pinged();
    // The library has no option for this bit of the level.
    if (packet.cmd === 'connect' && asBridge) (packet as { bridgeMode?: boolean }).bridgeMode = true;
  });
  library.on('packetreceive', (packet: Packet) => {
    if (packet.cmd !== 'connack') return;
    const code = connectReason(connection.version, packet.reasonCode ?? packet.returnCode ?? 0);
    const { reasonString = '', serverReference = '' } = packet.properties ?? {};
    if (code !== 0) events.note(new ConnectRefusal(code, `${reasonString} ${serverReference}`.trim()));
  });
  const fail = (error: Error): void => {
    events.note(error);
    stream.destroy();
  };
  const abort = (): void => fail(new LinkError('closed', 'given up'));
  const timer = clock.after(connection.connectTimeoutMs, () =>
    fail(new LinkError('timeout', 'the broker does not answer CONNECT')),
  );
  try {
    const connack = await new Promise<IConnackPacket>((resolve, reject) => {
      events.whenOver(reject);
      library.once('connect', resolve);
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) abort();
      else library.connect();
    });
    return new OutsideClient(stream, library, agreementFrom(connack, options), events, options);
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', abort);
  }
}

function libraryOptions(options: ClientOptions): IClientOptions {
  const { connection, clientId, gatewayId, sessionExpirySeconds, receiveMaximum, packetBytesMax } = options;
  const { user, password, version, keepAliveSeconds, connectTimeoutMs } = connection;
  return {
    clientId,
    keepalive: keepAliveSeconds,
    protocolVersion: version === '5' ? 5 : 4,
    clean: sessionExpirySeconds === 0,
    reconnectPeriod: 0,
    resubscribe: false,
    manualConnect: true,
    // What it would log holds the password.
    log: () => {},
    // The one of `connectClient` comes first.
    connectTimeout: 2 * connectTimeoutMs,
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
    ...(version === '5'
      ? {
          properties: {
            sessionExpiryInterval: sessionExpirySeconds,
            receiveMaximum: Math.max(1, Math.min(receiveMaximum, PACKET_IDS_MAX)),
            maximumPacketSize: packetBytesMax,
            userProperties: { [PeerProperty.bridge]: gatewayId },
          },
        }
      : {}),
  };
}

function agreementFrom({ sessionPresent, properties }: IConnackPacket, options: ClientOptions): Agreement {
  const { receiveMaximum, maximumPacketSize, maximumQoS, retainAvailable, topicAliasMaximum } =
    properties ?? {};
  const peer = properties?.userProperties?.[PeerProperty.gateway];
  return {
    sessionPresent: sessionPresent && options.sessionExpirySeconds !== 0,
    receiveMaximum: receiveMaximum ?? PACKET_IDS_MAX,
    packetBytesMax: maximumPacketSize ?? PACKET_BYTES_MAX,
    qosMax: maximumQoS === 0 || maximumQoS === 1 ? maximumQoS : 2,
    retainAvailable: retainAvailable !== false,
    topicAliasMaximum: topicAliasMaximum ?? 0,
    peer: typeof peer === 'string' && /^[0-9a-f]{32}$/.test(peer) ? peer : null,
  };
}

function linkError(error: Error): LinkError {
  if (error instanceof LinkError) return error;
  // Only what a socket says has a code that is text; everything else is about what was received.
  const { code } = error as { code?: unknown };
  if (typeof code === 'string') return errorFromSocket(error, 'open', 'the connection ended');
  if (error.message === 'Keepalive timeout') {
    return new LinkError('timeout', 'the broker is silent', { cause: error });
  }
  return new LinkError('protocol', error.message, { cause: error });
}
