/**
 * Bridges to MQTT brokers of version 5 and 3.1.1. The driver checks what is said of them and opens links; a link is one
 * client of the broker, which either publishes (`sending.ts`) or subscribes (`receiving.ts`). Made once by the
 * composition. The client library is loaded with the first link.
 *
 * Between links the driver keeps, for each bridge by its name, only what makes the next one better than a new start: it
 * may be forgotten at any time, at the cost of a message that comes twice or a subscription that stays too long.
 */

import {
  type BridgeDirection,
  type BridgeDriver,
  type BridgeLink,
  type InboundSink,
  LinkError,
  type LinkOptions,
  type OutsideMessage,
  type SendAnswer,
} from '../../src/outside.ts';
import { connectClient, type OutsideClient, type SubscribeOptions } from './client.ts';
import { dial } from './dial.ts';
import { ConnectRefusal, UNSUPPORTED_VERSION } from './errors.ts';
import { Receiving } from './receiving.ts';
import { Sending } from './sending.ts';
import {
  checkSource,
  isShared,
  type MqttConnection,
  type MqttInOptions,
  type MqttOutOptions,
  mqttConnectionSettings,
  mqttInSettings,
  mqttOutSettings,
  subscriptionsFrom,
} from './settings.ts';
import { Suspicion } from './suspicion.ts';

/** What links close with may still be on its way; beyond that it comes again. */
const FINISH_MS_MAX = 1_000;
/** Answers to publishes only. */
const OUT_PACKET_BYTES_MAX = 65_536;
/** More than there are bridges; what is beyond is forgotten. */
const REMEMBERED_BRIDGES_MAX = 1_024;
const RETAIN_HANDLING = { always: 0, new: 1, never: 2 } as const;

/** Of one bridge, from link to link. */
interface BridgeMemory {
  readonly suspicion: Suspicion;
  /** QoS 2 that is stored here and not released by the broker: of one session. */
  received: Set<number>;
  /** The last link that leads in: it may still have messages with the sink. */
  receiving: Receiving | null;
  /** Subscriptions of the session that the broker keeps. */
  readonly subscribed: Set<string>;
  /** Which address is tried first: one that keeps silent may take all the time that there is for a link. */
  urlAt: number;
}

export function createMqttBridgeDriver(): BridgeDriver {
  const memories = new Map<string, BridgeMemory>();
  return {
    type: 'mqtt',
    connectionSchema: mqttConnectionSettings,
    optionsSchema: { out: mqttOutSettings, in: mqttInSettings },
    deliveries: {
      out: ['at-least-once', 'at-most-once'],
      in: ['at-least-once', 'at-most-once'],
    },
    // Before version 5 there are no user properties.
    isStampLost: (connection) => (connection as MqttConnection).version === '3.1.1',
    sourceFrom: (pattern) => {
      try {
        checkSource(pattern);
        return pattern;
      } catch {
        return null;
      }
    },
    checkSource,
    open: (options) => open(options, memoryOf(memories, options)),
  };
}

function memoryOf(memories: Map<string, BridgeMemory>, { name, direction }: LinkOptions): BridgeMemory {
  const key = `${direction} ${name}`;
  let memory = memories.get(key);
  if (memory === undefined) {
    if (memories.size >= REMEMBERED_BRIDGES_MAX) memories.clear();
    memory = {
      suspicion: new Suspicion(),
      received: new Set(),
      receiving: null,
      subscribed: new Set(),
      urlAt: 0,
    };
    memories.set(key, memory);
  }
  return memory;
}

async function open(options: LinkOptions, memory: BridgeMemory): Promise<BridgeLink> {
  const client = await connect(options, memory);
  if (options.direction === 'out') return new OutLink(client, options, memory);
  if (!client.agreement.sessionPresent) {
    memory.received = new Set();
    memory.subscribed.clear();
  }
  return new InLink(client, options, memory);
}

/** Each address in turn, until one lets the bridge in. */
async function connect(options: LinkOptions, memory: BridgeMemory): Promise<OutsideClient> {
  const { urls } = options.connection as MqttConnection;
  for (let tried = 1; ; tried++) {
    const url = urls[memory.urlAt % urls.length] as string;
    try {
      return await connectTo(url, options);
    } catch (error) {
      memory.urlAt = (memory.urlAt + 1) % urls.length;
      // Whoever is refused by one is refused by all, and may be locked out for asking too often.
      const isFinal = error instanceof LinkError && error.failure === 'authentication';
      if (isFinal || tried >= urls.length || options.signal.aborted) throw error;
      options.logger.debug(
        { bridge: options.name, url, error: String(error) },
        'an address of a broker fails',
      );
    }
  }
}

async function connectTo(url: string, options: LinkOptions): Promise<OutsideClient> {
  const { gatewayId, direction, delivery, inFlightMax, clock, signal, isTrial = false } = options;
  const connection = options.connection as MqttConnection;
  const isIn = direction === 'in';
  const own = options.options as MqttInOptions | MqttOutOptions;
  const clientOptions = {
    connection,
    clientId: clientIdFrom(own.clientId, options),
    gatewayId,
    sessionExpirySeconds:
      isIn && !isTrial && delivery !== 'at-most-once' ? (own as MqttInOptions).sessionExpirySeconds : 0,
    receiveMaximum: inFlightMax,
    packetBytesMax: isIn ? own.packetBytesMax : OUT_PACKET_BYTES_MAX,
    clock,
    signal,
  };
  const asBridge = isIn && connection.version === '3.1.1' && connection.bridgeMode;
  try {
    return await connectClient(await dial(url, options as DialArguments), clientOptions, asBridge);
  } catch (error) {
    if (!asBridge || !(error instanceof ConnectRefusal) || error.code !== UNSUPPORTED_VERSION) throw error;
    return connectClient(await dial(url, options as DialArguments), clientOptions, false);
  }
}

/** A broker ends the connection of another client with the same one, so a trial has its own. */
function clientIdFrom(given: string, { gatewayId, name, isTrial = false }: LinkOptions): string {
  if (given === '') return `rosettamq-${gatewayId.slice(0, 12)}-${name}`;
  return isTrial ? `${given}.trial` : given;
}

type DialArguments = Parameters<typeof dial>[1];

/** What both directions share: the end. */
abstract class MqttLink {
  readonly peer: string | null;
  readonly sentOffset = null;
  protected readonly client: OutsideClient;
  protected readonly options: LinkOptions;
  protected isClosing = false;
  #closed: Promise<void> | null = null;

  constructor(client: OutsideClient, options: LinkOptions) {
    this.client = client;
    this.options = options;
    this.peer = client.agreement.peer;
    client.whenOver((error) => {
      // What was acknowledged before is answered first.
      options.clock.afterTurn(() => {
        if (!this.isClosing) options.lost(error);
      });
    });
  }

  /** Resolves when nothing is under way. */
  protected abstract finish(): Promise<void>;
  /** The broker need not keep a session. */
  protected abstract get forgetsSession(): boolean;

  send(_batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    return Promise.reject(wrongDirection('out'));
  }

  receive(_sources: readonly string[], _sink: InboundSink): Promise<void> {
    return Promise.reject(wrongDirection('in'));
  }

  close(): Promise<void> {
    this.isClosing = true;
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { clock } = this.options;
    await new Promise<void>((resolve) => {
      const timer = clock.after(FINISH_MS_MAX, resolve);
      this.client.whenOver(() => resolve());
      void this.finish().then(() => {
        timer.cancel();
        resolve();
      });
    });
    await this.client.close(this.forgetsSession);
  }
}

class OutLink extends MqttLink implements BridgeLink {
  protected readonly forgetsSession = true;
  readonly #sending: Sending;
  #sent: Promise<unknown> = Promise.resolve();

  constructor(client: OutsideClient, options: LinkOptions, memory: BridgeMemory) {
    super(client, options);
    this.#sending = new Sending(client, options.options as MqttOutOptions, {
      version5: (options.connection as MqttConnection).version === '5',
      atMostOnce: options.delivery === 'at-most-once',
      clock: options.clock,
      suspicion: memory.suspicion,
      answered: () => options.answered?.(),
    });
  }

  override send(batch: readonly OutsideMessage[]): Promise<readonly SendAnswer[]> {
    const sent = this.#sending.send(batch);
    this.#sent = sent.catch(() => {});
    return sent;
  }

  protected override async finish(): Promise<void> {
    await this.#sent;
  }
}

class InLink extends MqttLink implements BridgeLink {
  readonly #memory: BridgeMemory;
  #receiving: Receiving | null = null;

  constructor(client: OutsideClient, options: LinkOptions, memory: BridgeMemory) {
    super(client, options);
    this.#memory = memory;
  }

  override async receive(sources: readonly string[], sink: InboundSink): Promise<void> {
    const { connection, clock, inFlightMax, logger, name } = this.options;
    // Otherwise what is with the sink since the link before, and is sent again now, would not be known yet.
    await this.#until(this.#memory.receiving?.answered());
    const { subscribed, received } = this.#memory;
    this.#receiving = new Receiving(this.client, sink, {
      inFlightMax,
      version5: (connection as MqttConnection).version === '5',
      clock,
      received,
    });
    this.#memory.receiving = this.#receiving;
    const filters = subscriptionsFrom(sources);
    const left = [...subscribed].filter((filter) => !filters.includes(filter));
    if (left.length > 0) await this.client.unsubscribe(left);
    for (const filter of left) subscribed.delete(filter);
    const granted = await this.client.subscribe(filters, (filter) => this.#subscribeOptions(filter));
    for (const filter of filters) subscribed.add(filter);
    const { qos } = this.options.options as MqttInOptions;
    for (const [filter, given] of granted) {
      if (given >= Math.min(qos, 1) || this.options.delivery === 'at-most-once') continue;
      logger.warn({ bridge: name, filter, qos: given }, 'the broker grants less than was asked for');
    }
  }

  /** As long as the broker would have to answer. */
  async #until(answered: Promise<void> | undefined): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const { connectTimeoutMs } = this.options.connection as MqttConnection;
    const timer = this.options.clock.after(connectTimeoutMs, resolve);
    await Promise.race([answered, late]);
    timer.cancel();
  }

  #subscribeOptions(filter: string): SubscribeOptions {
    const { qos, noLocal, retainAsPublished, retainHandling } = this.options.options as MqttInOptions;
    return {
      qos: this.options.delivery === 'at-most-once' ? 0 : qos,
      // [MQTT-3.8.3-4]: a shared subscription must not ask for it.
      nl: noLocal && !isShared(filter),
      rap: retainAsPublished,
      rh: RETAIN_HANDLING[retainHandling],
    };
  }

  protected override finish(): Promise<void> {
    return this.#receiving?.stop() ?? Promise.resolve();
  }

  /** A session that is new and was never used, as that of a trial. */
  protected override get forgetsSession(): boolean {
    return this.#receiving === null && !this.client.agreement.sessionPresent;
  }
}

function wrongDirection(direction: BridgeDirection): Error {
  return new Error(`this link does not lead ${direction}`);
}
