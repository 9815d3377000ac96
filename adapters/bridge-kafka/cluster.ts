/**
 * One bridge's way to the brokers of an outside Kafka: connections, what there is (topics and who leads their partitions), and
 * who coordinates what. Made for each link and gone with it. A connection is opened when it is first needed and again when it
 * is needed after it was closed; whoever asks decides whether to try again. Nothing here is retried by itself.
 */

import { isIP } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import {
  type API,
  Connection,
  type ConnectionOptions,
  protocolAPIsById,
  protocolErrorsCodesById,
} from '@platformatic/kafka';
import type { Clock } from '../../src/core/index.ts';
import type { Logger } from '../../src/host.ts';
import { type AddressTurns, LinkError, type LinkOptions, tlsOptionsOf } from '../../src/outside.ts';
import { linkErrorOf, responseOf, textOf } from './errors.ts';
import { type BrokerAddress, brokerFromText, gatewayIdOfCluster } from './names.ts';
import type { ConnectionSettings } from './settings.ts';
import {
  askOffer,
  askWhetherGateway,
  CREATE_TOPICS,
  chooseVersion,
  FIND_COORDINATOR,
  METADATA,
  type Offer,
  type Versions,
} from './wire.ts';

/** Requests that are answered late stand in the way of no others: each kind has connections of its own. */
export type Purpose = 'requests' | 'fetches' | 'membership';

/** Requests of this kind on one connection whose answers are awaited; more wait here. */
const IN_FLIGHT_MAX = 5;
const CLOSE_MS_MAX = 1_000;
const SHORT_WAIT_MS = 50;

const COORDINATOR_KINDS = { group: 0, transaction: 1 } as const;

export interface Topic {
  readonly name: string;
  /** Null where it can be used; otherwise the protocol's error, such as `UNKNOWN_TOPIC_OR_PARTITION`. */
  readonly error: string | null;
  readonly isInternal: boolean;
  /** Node ids by partition; -1 where none leads now. */
  readonly leaders: readonly number[];
}

/** An open connection and what its broker offers. */
export interface Broker {
  readonly connection: Connection;
  readonly offer: Offer;
}

export interface ClusterOptions {
  readonly bridge: Pick<LinkOptions, 'name' | 'direction' | 'answered' | 'waiting'>;
  /** Of the brokers that the connection names. */
  readonly turns: AddressTurns;
  readonly settings: ConnectionSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Milliseconds that a broker may take to answer on connections of each purpose, where that is longer than usual. */
  readonly patienceMs: Readonly<Partial<Record<Purpose, number>>>;
  /** A connection that was open has been closed, not by `close`. */
  disconnected(): void;
}

export class Cluster {
  readonly #options: ClusterOptions;
  readonly #seeds: readonly BrokerAddress[];
  readonly #open = new Map<string, Promise<Broker>>();
  readonly #connections = new Set<Connection>();
  #nodes = new Map<number, BrokerAddress>();
  #topics = new Map<string, Topic>();
  #coordinators = new Map<string, BrokerAddress>();
  #controller: number | null = null;
  #clusterId: string | null = null;
  /** Null: not asked yet. */
  #isGateway: boolean | null = null;
  #closed = false;

  constructor(options: ClusterOptions) {
    this.#options = options;
    const { bridge, turns, settings } = options;
    this.#seeds = turns.inTurn(bridge, settings.brokers).map(brokerFromText);
  }

  /** The id of the gateway that the other side says it is; null before the first metadata, and where it is none. */
  get gatewayId(): string | null {
    return this.#isGateway === true ? gatewayIdOfCluster(this.#clusterId) : null;
  }

  get closed(): boolean {
    return this.#closed;
  }

  // ---------------------------------------------------------------------------------------------- connections

  async request<Arguments extends unknown[], Response>(
    broker: Broker,
    versions: Versions<Arguments, Response>,
    ...args: Arguments
  ): Promise<Response> {
    const api: API<Arguments, Response> | null = chooseVersion(versions, broker.offer);
    if (api === null) {
      const name = protocolAPIsById[versions[0]?.key ?? -1] ?? 'a request';
      throw new LinkError('protocol', `the broker speaks no version of ${name} that this gateway does`);
    }
    return api.async(broker.connection, ...args);
  }

  async brokerOf(node: number, purpose: Purpose): Promise<Broker> {
    const address = this.#nodes.get(node);
    if (address === undefined) throw new LinkError('unreachable', `broker ${node} is not there`);
    return this.#connect(address, purpose);
  }

  #connect(address: BrokerAddress, purpose: Purpose): Promise<Broker> {
    if (this.#closed) return Promise.reject(new LinkError('closed', 'the link is closed'));
    const key = `${purpose} ${address.host}:${address.port}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const opening = this.#dial(address, purpose, () => {
      if (this.#open.get(key) === opening) this.#open.delete(key);
    });
    this.#open.set(key, opening);
    opening.catch(() => {
      if (this.#open.get(key) === opening) this.#open.delete(key);
    });
    return opening;
  }

  async #dial(address: BrokerAddress, purpose: Purpose, forget: () => void): Promise<Broker> {
    const { settings, logger } = this.#options;
    const connection = new Connection(settings.clientId, this.#optionsFor(address, purpose));
    this.#connections.add(connection);
    // Every failure also comes as an event, several times, and an event of this name without a listener ends the process.
    connection.on('error', (error) =>
      logger.debug({ err: textOf(error) }, 'outside broker: connection failed'),
    );
    let isOpen = false;
    let isLate = false;
    connection.on('close', () => {
      forget();
      this.#connections.delete(connection);
      if (isOpen && !this.#closed) this.#options.disconnected();
    });
    // Who accepts a connection may still be no broker, and never answer.
    const timer = this.#options.clock.after(settings.connectTimeoutMs, () => {
      isLate = true;
      connection.socket?.destroy();
    });
    try {
      await connection.connect(address.host, address.port);
      const offer = await askOffer(connection);
      if (this.#closed) throw new LinkError('closed', 'the link is closed');
      isOpen = true;
      return { connection, offer };
    } catch (error) {
      this.#connections.delete(connection);
      endConnection(connection);
      const where = `${address.host}:${address.port}`;
      if (isLate) throw new LinkError('timeout', `${where}: no answer of a Kafka broker`, { cause: error });
      throw linkErrorOf(error, where);
    } finally {
      timer.cancel();
    }
  }

  #optionsFor({ host }: BrokerAddress, purpose: Purpose): ConnectionOptions {
    const { settings, patienceMs } = this.#options;
    const { sasl } = settings;
    const tls = tlsOptionsOf(settings.tls);
    const options: ConnectionOptions = {
      connectTimeout: settings.connectTimeoutMs,
      requestTimeout: Math.max(settings.requestTimeoutMs, patienceMs[purpose] ?? 0),
      maxInflights: IN_FLIGHT_MAX,
    };
    // A server name is never an address (RFC 6066 3).
    if (tls !== null)
      options.tls = tls.servername !== undefined || isIP(host) !== 0 ? tls : { ...tls, servername: host };
    if (sasl !== undefined) {
      options.sasl = {
        mechanism: sasl.mechanism.toUpperCase() as 'PLAIN',
        username: sasl.username,
        password: sasl.password,
      };
    }
    return options;
  }

  // ------------------------------------------------------------------------------------------------- metadata

  topic(name: string): Topic | undefined {
    return this.#topics.get(name);
  }

  /**
   * Asks the first broker that answers about these topics, null for all of them, and remembers it. Throws a LinkError where none
   * answers: of what they said the first that is not about the network.
   */
  async look(names: readonly string[] | null): Promise<readonly Topic[]> {
    const failures: LinkError[] = [];
    const known = [...this.#nodes.values()];
    const isKnown = ({ host, port }: BrokerAddress): boolean =>
      known.some((each) => each.host === host && each.port === port);
    for (const address of [...known, ...this.#seeds.filter((seed) => !isKnown(seed))]) {
      try {
        return await this.#lookAt(await this.#connect(address, 'requests'), names);
      } catch (error) {
        failures.push(linkErrorOf(error, `${address.host}:${address.port}`));
        if (this.#seeds.includes(address)) this.#options.turns.failed(this.#options.bridge);
        if (this.#closed) break;
      }
    }
    throw failures.find(({ failure }) => failure !== 'unreachable' && failure !== 'closed') ?? failures[0]!;
  }

  async #lookAt(broker: Broker, names: readonly string[] | null): Promise<readonly Topic[]> {
    this.#isGateway ??= await askWhetherGateway(broker.connection, broker.offer);
    const asked = names === null ? null : [...names];
    const response = await this.request(broker, METADATA, asked, false, false).catch((error: unknown) => {
      // An unknown topic among others is an answer.
      const whole = responseOf<{ topics?: unknown }>(error);
      if (whole === null || !Array.isArray(whole.topics)) throw error;
      return whole as Awaited<ReturnType<(typeof METADATA)[number]['async']>>;
    });
    this.#clusterId = response.clusterId ?? null;
    this.#controller = response.controllerId;
    this.#nodes = new Map(response.brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]));
    const topics = response.topics.map(({ name, errorCode, isInternal, partitions }) => {
      const leaders: number[] = [];
      for (const { partitionIndex, leaderId } of partitions) leaders[partitionIndex] = leaderId;
      return { name: name ?? '', error: errorName(errorCode), isInternal, leaders };
    });
    for (const topic of topics) {
      if (topic.error === null) this.#topics.set(topic.name, topic);
      else this.#topics.delete(topic.name);
    }
    return topics;
  }

  /** Returns what the controller said of each that it did not create, by name. One that is there already is none of them. */
  async createTopics(
    names: readonly string[],
    partitions: number,
    replicationFactor: number,
  ): Promise<ReadonlyMap<string, string>> {
    const broker = await this.brokerOf(this.#controller ?? -1, 'requests');
    const wanted = names.map((name) => ({
      name,
      numPartitions: partitions,
      replicationFactor,
      assignments: [],
      configs: [],
    }));
    const timeoutMs = Math.floor(this.#options.settings.requestTimeoutMs / 2);
    const response = await this.request(broker, CREATE_TOPICS, wanted, timeoutMs, false).catch(
      (error: unknown) => {
        const whole = responseOf<{
          topics: { name: string; errorCode: number; errorMessage: string | null }[];
        }>(error);
        if (whole === null) throw error;
        return whole;
      },
    );
    const refused = new Map<string, string>();
    for (const { name, errorCode, errorMessage } of response.topics) {
      const error = errorName(errorCode);
      if (error !== null && error !== 'TOPIC_ALREADY_EXISTS') refused.set(name, errorMessage ?? error);
    }
    return refused;
  }

  // --------------------------------------------------------------------------------------------- coordinators

  /** Found once; `forgetCoordinator` after it said that it is none, or was not there. */
  async coordinatorOf(kind: keyof typeof COORDINATOR_KINDS, key: string, purpose: Purpose): Promise<Broker> {
    const name = `${kind} ${key}`;
    let address = this.#coordinators.get(name);
    if (address === undefined) {
      const broker = await this.anyBroker();
      const found = await this.request(broker, FIND_COORDINATOR, COORDINATOR_KINDS[kind], [key]);
      const coordinator = found.coordinators[0];
      if (coordinator === undefined) throw new LinkError('protocol', 'the broker names no coordinator');
      address = { host: coordinator.host, port: coordinator.port };
      this.#coordinators.set(name, address);
    }
    return this.#connect(address, purpose);
  }

  forgetCoordinator(kind: keyof typeof COORDINATOR_KINDS, key: string): void {
    this.#coordinators.delete(`${kind} ${key}`);
  }

  /** A broker that answers: one whose connection is open, otherwise the first that can be reached. */
  async anyBroker(): Promise<Broker> {
    for (const [key, opening] of this.#open) {
      if (!key.startsWith('requests ')) continue;
      const broker = await opening.catch(() => null);
      if (broker?.connection.isConnected()) return broker;
    }
    await this.look([]);
    for (const node of this.#nodes.keys()) {
      const broker = await this.brokerOf(node, 'requests').catch(() => null);
      if (broker !== null) return broker;
    }
    throw new LinkError('unreachable', 'no broker can be reached');
  }

  /** Something that was sent has its answer. */
  answered(): void {
    this.#options.bridge.answered?.();
  }

  /** What is tried again now, and why. */
  waits(error: LinkError): void {
    this.#options.bridge.waiting?.(error.message);
  }

  // ---------------------------------------------------------------------------------------------------- time

  nowMs(): number {
    return this.#options.clock.nowMs();
  }

  /** Short waits are shorter than a tick of the clock. */
  wait(ms: number): Promise<void> {
    if (ms < SHORT_WAIT_MS) return setTimeout(ms, undefined, { ref: false });
    return new Promise((resolve) => {
      this.#options.clock.after(ms, resolve);
    });
  }

  /** Every request that is under way fails. Never rejects. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const connections = [...this.#connections];
    this.#connections.clear();
    const closed = Promise.allSettled(connections.map((connection) => connection.close()));
    let late = (): void => {};
    const timer = this.#options.clock.after(CLOSE_MS_MAX, () => late());
    await Promise.race([closed, new Promise<void>((resolve) => (late = resolve))]);
    timer.cancel();
    for (const connection of connections) connection.socket?.destroy();
  }
}

/** Gives up a connection that could not be opened. */
function endConnection(connection: Connection): void {
  connection.close().catch(() => {});
  connection.socket?.destroy();
}

/** Null for none. */
export function errorName(code: number): string | null {
  return code === 0 ? null : (protocolErrorsCodesById[code] ?? `UNKNOWN_ERROR_${code}`);
}
