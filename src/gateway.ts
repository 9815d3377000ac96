/**
 * Puts a gateway together from its settings and the parts that `src/main.ts` hands over, and takes it apart again.
 *
 * Start: storage, definitions of bridges, core, adapters, listeners, HTTP API, and then bridges begin to connect. A start
 * that fails takes back what it had begun. Stop: not ready any more, no new connections, what is under way is acknowledged,
 * clients are told to go and get a bounded time, and so do bridges to finish what is on its way, adapters, core, storage,
 * HTTP API last, so that it can tell the state until the end. Nothing here knows a protocol.
 */

import { AssertionError } from 'node:assert';
import { randomBytes, randomUUID } from 'node:crypto';
import type { Admin, AdminOptions, MetricSample, ReadinessCheck } from './admin/index.ts';
import { type OpenAccess, openAccess } from './auth/access.ts';
import type { AccessRules } from './auth/acl-rules.ts';
import { type LoginCounters, type OpenAuthentication, openAuthentication, type Users } from './auth/index.ts';
import type { BridgesParts, DriverPart } from './bridges/parts.ts';
import { type BridgeRegistry, openBridges } from './bridges/registry.ts';
import { checksOf, sampleBridges } from './bridges/samples.ts';
import { SystemClock } from './clock.ts';
import { readClusterId, readReplySeal } from './cluster-id.ts';
import type { Config } from './config/index.ts';
import { createCore } from './core/core.ts';
import type { AnyRule, BatchLogOptions, Core, CoreEvent, NativeCodec, RecordCodec } from './core/index.ts';
import type { Storage } from './core/storage.ts';
import type { Adapter, Authenticator, Host, Logger } from './host.ts';
import { type BoundAddress, explainListenError } from './net/bind.ts';
import { Network } from './net/network.ts';
import { Revocation } from './revocation.ts';
import { crc32c, decompress, openStorage } from './storage/index.ts';
import { createLogger } from './telemetry/logger.ts';

/** What makes a gateway of these particular protocols. */
export interface GatewayParts {
  readonly version: string;
  readonly adapters: readonly AdapterPart[];
  readonly records: RecordCodec;
  readonly codecs: readonly NativeCodec[];
  readonly addressFromStream: (stream: string) => string;
  readonly compileRule: (definition: unknown) => AnyRule;
  /** Clients of outside brokers, each loaded when a connection of its type is defined. */
  readonly drivers: readonly DriverPart[];
  readonly compileBridgeMapping: BridgesParts['compileMapping'];
  readonly protocols: AdminOptions['protocols'];
  readonly definitions: AdminOptions['definitions'];
  readonly messageFromJson: AdminOptions['messageFromJson'];
  readonly jsonFromMessage: AdminOptions['jsonFromMessage'];
  readonly patternFromFilter: AdminOptions['patternFromFilter'];
}

export interface AdapterPart {
  /** The section of the settings that belongs to it. */
  readonly section: string;
  /** Loads the adapter's code and makes it; called only where the section is enabled. */
  create(host: Host, settings: unknown): Promise<Adapter>;
}

export interface Gateway {
  readonly core: Core;
  /** To outside brokers. */
  readonly bridges: BridgeRegistry;
  /** Users with passwords. */
  readonly users: Users;
  /** Who may do what. */
  readonly accessRules: AccessRules;
  /** Where the protocols listen, by listener's name, such as a section's. */
  readonly listeners: ReadonlyMap<string, BoundAddress>;
  /** Where the HTTP API listens; null where it is switched off. */
  readonly http: BoundAddress | null;
  /** Reads users, rules, keys of tokens and TLS files again now. What cannot be read stays as it was, and the log says why. */
  reload(): Promise<void>;
  /** Drains and stops; the same promise for every caller. */
  stop(): Promise<void>;
}

/** Resolves when everything listens. Throws ListenError, or an Error whose message tells the operator what is wrong. */
export async function startGateway(parts: GatewayParts, config: Config): Promise<Gateway> {
  const gateway = new RunningGateway(parts, config);
  try {
    await gateway.start();
  } catch (error) {
    // What went wrong first is what the operator has to know; taking back may fail because of it.
    await gateway.stop().catch((failure: unknown) => gateway.tellFailedStop(failure));
    throw error;
  }
  return gateway;
}

class RunningGateway implements Gateway {
  readonly #parts: GatewayParts;
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #clock: SystemClock;
  readonly #network: Network;
  readonly #adapters: Adapter[] = [];
  #storage: Storage | null = null;
  #authentication: OpenAuthentication | null = null;
  #access: OpenAccess | null = null;
  #revocation: Revocation | null = null;
  #core: Core | null = null;
  #bridges: BridgeRegistry | null = null;
  #admin: Admin | null = null;
  #isListening = false;
  #isDraining = false;
  #stopping: Promise<void> | null = null;

  constructor(parts: GatewayParts, config: Config) {
    this.#parts = parts;
    this.#config = config;
    this.#logger = createLogger(config.host.log);
    this.#clock = new SystemClock((error) => this.#taskFailed(error));
    this.#network = new Network(this.#clock, config.host.network, this.#logger, config.host.tls);
  }

  /** A broken invariant ends the process, for nobody knows what is true any more; other mistakes cost what threw. */
  #taskFailed(error: unknown): void {
    this.#logger.error({ err: error }, 'a task failed');
    if (error instanceof AssertionError) throw error;
  }

  tellFailedStop(error: unknown): void {
    this.#logger.error({ err: error }, 'the start failed, and so did taking it back');
  }

  get #streamLog(): BatchLogOptions {
    const { streamSegmentBytes, streamRetentionBytes, streamRetentionMs } = this.#config.host.storage;
    return {
      segmentBytes: streamSegmentBytes,
      retentionBytes: streamRetentionBytes,
      retentionMs: streamRetentionMs,
    };
  }

  get core(): Core {
    if (this.#core === null) throw new Error('the gateway has not started');
    return this.#core;
  }

  get bridges(): BridgeRegistry {
    if (this.#bridges === null) throw new Error('the gateway has not started');
    return this.#bridges;
  }

  get users(): Users {
    if (this.#authentication === null) throw new Error('the gateway has not started');
    return this.#authentication.users;
  }

  get accessRules(): AccessRules {
    if (this.#access === null) throw new Error('the gateway has not started');
    return this.#access.rules;
  }

  get listeners(): ReadonlyMap<string, BoundAddress> {
    return new Map(this.#network.listeners.map(({ spec, bound }) => [spec.name, bound]));
  }

  get http(): BoundAddress | null {
    return this.#admin?.address ?? null;
  }

  async start(): Promise<void> {
    const { storage: stored, auth, limits } = this.#config.host;
    const report = (event: CoreEvent): void => this.#logger[event.level](event.details, event.text);
    this.#storage = await openStorage({
      folder: stored.folder,
      durability: stored.durability,
      tailBytesMax: stored.tailBytesMax,
      checkpointBytes: stored.checkpointBytes,
      report,
    });
    this.#authentication = await openAuthentication(
      auth,
      this.#storage,
      this.#clock,
      this.#logger,
      this.#network.certificates.clientTrust,
    );
    const { authenticator } = this.#authentication;
    this.#revocation = new Revocation(authenticator, this.#network, this.#clock);
    this.#access = await openAccess(auth.acl, this.#storage, this.#clock, this.#logger);
    const clusterId = await readClusterId(this.#storage);
    const sealReply = await readReplySeal(this.#storage);
    const { records, codecs, addressFromStream, compileRule } = this.#parts;
    this.#bridges = await this.#openBridges(this.#storage, clusterId);
    this.#core = await createCore({
      storage: this.#storage,
      clock: this.#clock,
      limits,
      access: this.#access.access,
      records,
      codecs,
      addressFromStream,
      compileRule,
      streamLog: this.#streamLog,
      crc32c,
      decompress,
      randomBytes,
      sealReply,
      report,
    });
    // In this turn: what was due while it was stopped is published in the next.
    this.#bridges.attach(this.#core);
    await this.#startAdapters({
      core: this.#core,
      clock: this.#clock,
      logger: this.#logger,
      authenticator,
      clusterId,
      version: this.#parts.version,
      isDraining: () => this.#isDraining,
      listening: (name) => this.#network.listening(name),
    });
    this.#isListening = true;
    await this.#startAdmin(this.#core, authenticator);
    this.#bridges.start();
    this.#logger.info(
      {
        version: this.#parts.version,
        folder: stored.folder,
        durability: stored.durability,
        listeners: Object.fromEntries([...this.listeners].map(([name, bound]) => [name, showAddress(bound)])),
        http: this.http === null ? 'off' : showAddress(this.http),
      },
      'ready',
    );
  }

  #openBridges(storage: Storage, clusterId: Uint8Array): Promise<BridgeRegistry> {
    const { connections, bridges, limits } = this.#config.host;
    return openBridges({
      storage,
      clock: this.#clock,
      logger: this.#logger,
      gatewayId: Buffer.from(clusterId).toString('hex'),
      drivers: this.#parts.drivers,
      compileMapping: this.#parts.compileBridgeMapping,
      configured: { connections, bridges },
      limits,
      environment: process.env,
      random: Math.random,
      newId: randomUUID,
    });
  }

  async #startAdapters(host: Host): Promise<void> {
    for (const part of this.#parts.adapters) {
      const settings = this.#config.sections[part.section];
      if ((settings as { readonly enabled?: boolean }).enabled === false) continue;
      const adapter = await part.create(host, settings);
      await adapter.start();
      this.#adapters.push(adapter);
    }
    // All adapters first: a client that connects finds everything there.
    for (const adapter of this.#adapters) {
      for (const spec of adapter.listeners) await this.#network.listen(spec, adapter);
    }
  }

  async #startAdmin(core: Core, authenticator: Authenticator): Promise<void> {
    const settings = this.#config.host.http;
    if (!settings.enabled) return;
    const { createAdmin } = await import('./admin/index.ts');
    const network = this.#network;
    this.#admin = createAdmin({
      core,
      settings,
      clock: this.#clock,
      logger: this.#logger,
      version: this.#parts.version,
      users: this.users,
      authenticator,
      accessRules: this.accessRules,
      bridges: this.bridges,
      protocols: this.#parts.protocols,
      definitions: this.#parts.definitions,
      streamLog: this.#streamLog,
      compileRule: this.#parts.compileRule,
      messageFromJson: this.#parts.messageFromJson,
      jsonFromMessage: this.#parts.jsonFromMessage,
      patternFromFilter: this.#parts.patternFromFilter,
      clients: function* () {
        for (const {
          id,
          listener,
          remoteAddress,
          remotePort,
          connectedAtMs,
          handler,
        } of network.connections.values()) {
          if (handler === null) continue;
          const description = handler.describe();
          yield { id, listener: listener.name, remoteAddress, remotePort, connectedAtMs, description };
        }
      },
      disconnect: (id) => network.disconnect(id, 'administrative'),
      settingsShown: () => this.#config.shown(),
      readiness: () => this.#checkReadiness(),
      samples: () => this.#sample(),
    });
    try {
      await this.#admin.start();
    } catch (error) {
      const refusal = error as NodeJS.ErrnoException;
      throw refusal.syscall === 'listen' || refusal.syscall === 'getaddrinfo'
        ? explainListenError(refusal, { name: 'http', host: settings.host, port: settings.port })
        : error;
    }
  }

  *#sample(): Generator<MetricSample> {
    yield* sampleNetwork(this.#network);
    if (this.#authentication !== null) yield* sampleLogins(this.#authentication.counters);
    if (this.#bridges !== null) yield* sampleBridges(this.#bridges.list());
  }

  #checkReadiness(): ReadinessCheck[] {
    const refusal = this.#core?.storageRefusal()?.message;
    return [
      {
        name: 'storage',
        ok: this.#storage !== null && refusal === undefined,
        ...(refusal === undefined ? {} : { detail: refusal }),
      },
      { name: 'listeners', ok: this.#isListening },
      { name: 'draining', ok: !this.#isDraining },
      ...(this.#bridges === null ? [] : checksOf(this.#bridges.list())),
    ];
  }

  async reload(): Promise<void> {
    const { certificates } = this.#network;
    const read = async (what: string, task: () => Promise<unknown> | undefined): Promise<void> => {
      try {
        await task();
      } catch (error) {
        this.#logger.error({ what, detail: (error as Error).message }, 'could not be read again; it stays');
      }
    };
    await Promise.all([
      read('users', () => this.#authentication?.reload()),
      read('rules', () => this.#access?.reload()),
      read('certificates', () => (certificates.isConfigured ? certificates.reload() : undefined)),
    ]);
    this.#logger.info({}, 'files were read again');
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { drainMs, settleMs, unreadyMs } = this.#config.host.gateway;
    const network = this.#network;
    this.#isDraining = true;
    if (this.#isListening) {
      this.#logger.info({ connections: network.connections.size }, 'stopping');
      if (unreadyMs > 0) await new Promise((resolve) => setTimeout(resolve, unreadyMs));
    }
    network.stopListening();
    // One that fails keeps nobody else from giving back what it holds, least of all the data folder.
    let failure: unknown = null;
    const attempt = async (task: () => Promise<void> | void | undefined): Promise<void> => {
      try {
        await task();
      } catch (error) {
        failure ??= error;
      }
    };
    // Beside each other: what clients still publish waits in the buffers of the bridges.
    await Promise.all([
      attempt(() => network.disconnectAll(drainMs, settleMs)),
      attempt(() => this.#bridges?.stop(drainMs)),
    ]);
    for (const adapter of this.#adapters.reverse()) await attempt(() => adapter.stop());
    // Until here it tells that the gateway drains. It publishes as well: what it answers has to be stored.
    await attempt(() => this.#admin?.stop());
    this.#revocation?.close();
    this.#authentication?.close();
    this.#access?.close();
    await attempt(() => this.#core?.close());
    await attempt(() => this.#storage?.close());
    this.#storage = null;
    this.#clock.stop();
    if (failure !== null) throw failure;
    if (this.#isListening) this.#logger.info({}, 'stopped');
  }
}

function showAddress({ host, port }: BoundAddress): string {
  if (host.startsWith('/') || host.startsWith('.')) return `unix:${host}`;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function* sampleNetwork(network: Network): Generator<MetricSample> {
  const { accepted, refused, closed } = network.counters;
  const open = new Map<string, number>();
  for (const { listener } of network.connections.values()) {
    open.set(listener.name, (open.get(listener.name) ?? 0) + 1);
  }
  for (const [listener, value] of accepted) {
    const labels = { listener };
    yield {
      name: 'connections',
      help: 'Open connections',
      kind: 'gauge',
      labels,
      value: open.get(listener) ?? 0,
    };
    yield {
      name: 'connections_accepted_total',
      help: 'Connections since the start',
      kind: 'counter',
      labels,
      value,
    };
    const turnedAway = refused.get(listener) ?? 0;
    const help = 'Connections turned away before they were one';
    yield { name: 'connections_refused_total', help, kind: 'counter', labels, value: turnedAway };
  }
  for (const [reason, value] of Object.entries(closed)) {
    const help = 'Connections that ended, by reason';
    yield { name: 'connections_closed_total', help, kind: 'counter', labels: { reason }, value };
  }
}

function* sampleLogins({ accepted, refused, limited }: LoginCounters): Generator<MetricSample> {
  const help = 'Logins with credentials that were checked, by outcome';
  for (const [outcome, value] of Object.entries({ accepted, refused })) {
    yield { name: 'logins_total', help, kind: 'counter', labels: { outcome }, value };
  }
  for (const [by, value] of Object.entries(limited)) {
    const text = 'Logins refused unasked after too many failures, by what they were counted by';
    yield { name: 'logins_limited_total', help: text, kind: 'counter', labels: { by }, value };
  }
}
