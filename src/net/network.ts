/**
 * All listeners and connections of the process: opened by the gateway once the adapters are ready, looked at by the
 * HTTP API, drained and closed at the end. Connections are counted and each end is logged once, with its reason.
 */

import {
  type Adapter,
  CLOSE_REASONS,
  type CloseReason,
  type ConnectionHandler,
  type ListenerSpec,
  type Logger,
} from '../host.ts';
import { type BoundAddress, ListenError, type Listener } from './bind.ts';
import type { BufferedTransport } from './buffered-transport.ts';
import { Certificates } from './certificates.ts';
import type { NetContext } from './context.ts';
import { openListener } from './listener.ts';
import type { NetworkSettings } from './settings.ts';
import { SlabPool } from './slab-pool.ts';
import type { TlsSettings } from './tls-settings.ts';
import { type TurnClock, TurnOutput } from './turn-output.ts';

/** While clients settle and leave. */
const LOOK_AGAIN_MS = 20;

/** Ends that say nothing about the gateway or its clients: logged at debug level. */
const QUIET_REASONS: ReadonlySet<CloseReason> = new Set([
  'client-closed',
  'connection-lost',
  'shutting-down',
  'administrative',
]);

const NO_TLS: TlsSettings = {
  certificates: [],
  minVersion: 'TLSv1.2',
  ciphers: '',
  clientAuthoritiesFile: '',
  revocationListFile: '',
  reloadCheckMs: 1_000,
  handshakesPerSecondMax: 500,
};

export interface NetworkCounters {
  /** Connections since the start, and those turned away at the bound, by listener. */
  readonly accepted: Map<string, number>;
  readonly refused: Map<string, number>;
  readonly closed: Record<CloseReason, number>;
}

export class Network implements NetContext {
  readonly clock: TurnClock;
  readonly output: TurnOutput;
  readonly pool: SlabPool;
  readonly settings: NetworkSettings;
  readonly logger: Logger;
  readonly counters: NetworkCounters;
  readonly certificates: Certificates;
  readonly #connections = new Map<number, BufferedTransport>();
  readonly #listeners: Listener[] = [];
  #lastId = 0;
  #whenEmpty: (() => void) | null = null;
  /** While the gateway stops: those that settle still. */
  readonly #untold = new Set<BufferedTransport>();

  constructor(clock: TurnClock, settings: NetworkSettings, logger: Logger, tls: TlsSettings = NO_TLS) {
    this.clock = clock;
    this.settings = settings;
    this.logger = logger;
    this.certificates = new Certificates(tls, clock, logger);
    this.output = new TurnOutput(clock);
    this.pool = new SlabPool(clock, settings.outputPoolBytesMax);
    const closed = Object.fromEntries(CLOSE_REASONS.map((reason) => [reason, 0]));
    this.counters = {
      accepted: new Map(),
      refused: new Map(),
      closed: closed as Record<CloseReason, number>,
    };
  }

  get connections(): ReadonlyMap<number, BufferedTransport> {
    return this.#connections;
  }

  get listeners(): readonly Listener[] {
    return this.#listeners;
  }

  /** Where the listener of that name is bound, once it is. */
  listening(name: string): BoundAddress | undefined {
    return this.#listeners.find(({ spec }) => spec.name === name)?.bound;
  }

  /** Opens nothing where the listener needs a certificate and none is configured. Throws ListenError. */
  async listen(spec: ListenerSpec, adapter: Adapter): Promise<void> {
    if (spec.tls !== undefined) {
      if (!this.certificates.isConfigured) return;
      try {
        await this.certificates.open();
      } catch (error) {
        throw new ListenError((error as Error).message, { cause: error });
      }
    }
    this.counters.accepted.set(spec.name, 0);
    this.counters.refused.set(spec.name, 0);
    this.#listeners.push(await openListener(this, spec, adapter, this.certificates));
  }

  stopListening(): void {
    for (const listener of this.#listeners) listener.close();
    this.certificates.close();
  }

  /**
   * Lets every connection settle what is under way and tells its client that it must go, after `settleMs` at the latest.
   * Then waits until all are gone or `leaveMs` has passed.
   */
  async disconnectAll(leaveMs: number, settleMs = 0): Promise<void> {
    const untold = this.#untold;
    const tell = (transport: BufferedTransport): void => {
      if (untold.delete(transport)) this.disconnect(transport.id, 'shutting-down');
    };
    for (const transport of [...this.#connections.values()]) {
      untold.add(transport);
      try {
        if (settleMs === 0 || transport.handler?.settle === undefined) tell(transport);
        else transport.handler.settle(() => tell(transport));
      } catch (error) {
        untold.delete(transport);
        transport.fail(error);
      }
    }
    await this.#empty(settleMs, () => untold.size === 0);
    for (const transport of [...untold]) tell(transport);
    await this.#empty(leaveMs);
    for (const transport of [...this.#connections.values()]) transport.destroy('shutting-down');
  }

  /** Resolves when no connection is left, when `isEnough` says so, or after `waitMs`. */
  async #empty(waitMs: number, isEnough: () => boolean = () => false): Promise<void> {
    const deadline = performance.now() + waitMs;
    while (this.#connections.size > 0 && !isEnough()) {
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(leftMs, LOOK_AGAIN_MS));
        this.#whenEmpty = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** False where there is no such connection. */
  disconnect(id: number, reason: Parameters<ConnectionHandler['disconnect']>[0]): boolean {
    const transport = this.#connections.get(id);
    if (transport === undefined) return false;
    try {
      transport.handler?.disconnect(reason);
    } catch (error) {
      transport.fail(error);
    }
    return true;
  }

  nextId(): number {
    return ++this.#lastId;
  }

  add(transport: BufferedTransport): void {
    this.#connections.set(transport.id, transport);
    const { name } = transport.listener;
    this.counters.accepted.set(name, (this.counters.accepted.get(name) ?? 0) + 1);
  }

  remove(transport: BufferedTransport): void {
    this.#connections.delete(transport.id);
    this.#untold.delete(transport);
    if (this.#connections.size === 0) this.#whenEmpty?.();
  }

  countRefused(listener: string): void {
    this.counters.refused.set(listener, (this.counters.refused.get(listener) ?? 0) + 1);
  }

  logClose(transport: BufferedTransport, reason: CloseReason, detail: string | undefined): void {
    this.counters.closed[reason]++;
    const fields = { ...this.describe(transport), reason, ...(detail === undefined ? {} : { detail }) };
    if (QUIET_REASONS.has(reason)) this.logger.debug(fields, 'connection closed');
    else this.logger.info({ ...fields, ...describeClient(transport) }, 'connection closed');
  }

  describe(transport: BufferedTransport): object {
    return {
      connection: transport.id,
      listener: transport.listener.name,
      remote: `${transport.remoteAddress}:${transport.remotePort}`,
    };
  }
}

/** Who it was, as far as its protocol had come. */
function describeClient(transport: BufferedTransport): object {
  try {
    const described = transport.handler?.describe();
    return described === undefined ? {} : { client: described.clientId, user: described.user };
  } catch {
    return {};
  }
}
