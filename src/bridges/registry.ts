/**
 * All connections and bridges of a gateway. `openBridges` reads and checks what is defined before the core is there, so
 * that `attach` can put everything in its place in one turn: nothing is published before its bridge takes it. Bridges
 * connect from `start` on and nobody waits for them.
 *
 * What is put is stored before it takes effect, and changes happen one after the other; tries of connections, which may
 * take long, happen beside them.
 */

import type { Core } from '../core/index.ts';
import { CoreError, isRouting } from '../core/index.ts';
import { Bridge, type BridgeBasis } from './bridge.ts';
import { Connections, refuseConfigured } from './connections.ts';
import { bridgeSchema, checked, checkName } from './definitions.ts';
import type { BridgeDefinition, Bridges, BridgeView, ProbeResult, PutResult } from './index.ts';
import type { BridgeSurroundings, BridgesParts } from './parts.ts';
import {
  checkCircles,
  Drivers,
  type PreparedBridge,
  type PreparedConnection,
  prepareBridge,
  prepareConnection,
  prepareFailed,
  prepareUnusable,
} from './prepared.ts';
import { bareBridge, probe } from './probe.ts';
import { type BridgeState, BridgeStore } from './store.ts';

const PROBES_MAX = 8;
const NO_STATE: BridgeState = { offsetBase: null, paused: null };

/** Rejects with an Error for people where the configuration is wrong; what was stored and is wrong is told. */
export async function openBridges(parts: BridgesParts): Promise<BridgeRegistry> {
  const registry = new BridgeRegistry(parts, await BridgeStore.open(parts.storage));
  await registry.load();
  return registry;
}

export class BridgeRegistry implements Bridges {
  readonly connections: Bridges['connections'];
  readonly #parts: BridgesParts;
  readonly #store: BridgeStore;
  readonly #drivers: Drivers;
  readonly #connections: Connections;
  readonly #bridges = new Map<string, Bridge>();
  /** Read and checked, until the core is there. */
  #loaded: { readonly prepared: PreparedBridge; readonly basis: BridgeBasis }[] = [];
  #states = new Map<string, BridgeState>();
  #around: BridgeSurroundings | null = null;
  #changing: Promise<unknown> = Promise.resolve();
  #probes = 0;
  #isStarted = false;
  #isStopped = false;

  constructor(parts: BridgesParts, store: BridgeStore) {
    this.#parts = parts;
    this.#store = store;
    this.#drivers = new Drivers(parts.drivers);
    this.#connections = new Connections(this.#drivers, parts.limits.outsideConnectionsMax);
    const connections = this.#connections;
    const view = (name: string) =>
      connections.view(
        name,
        [...this.#usersOf(name)].map((bridge) => bridge.name),
      );
    this.connections = {
      list: () => connections.names().flatMap((name) => view(name) ?? []),
      get: view,
      put: (name, definition, options) => this.#putConnection(name, definition, options.dryRun),
      remove: (name, options) => this.#inTurn(() => this.#removeConnection(name, options?.dryRun === true)),
      probe: (name) => {
        const known = connections.get(name);
        if (known === undefined) throw new CoreError('not-found', `there is no connection ${name}`);
        return this.#probe(this.#bare(known.prepared));
      },
    };
  }

  async load(): Promise<void> {
    const { configured, logger } = this.#parts;
    for (const [name, definition] of Object.entries(configured.connections)) {
      await asConfigured(`connections.${name}`, async () => {
        checkName('connection', name);
        this.#connections.set(await prepareConnection(this.#drivers, name, definition), 'configuration');
      });
    }
    for (const [name, definition] of await this.#store.connections()) {
      if (this.#connections.get(name) !== undefined) continue;
      try {
        this.#connections.set(await prepareConnection(this.#drivers, name, definition), 'stored');
      } catch (error) {
        logger.error(
          { connection: name, cause: (error as Error).message },
          'a stored connection cannot be used and is left out',
        );
      }
    }
    this.#states = await this.#store.states();
    const taken = new Set<string>();
    const known = () => this.#loaded.map(({ prepared }) => prepared);
    for (const [name, definition] of Object.entries(configured.bridges)) {
      await asConfigured(`bridges.${name}`, async () => {
        checkName('bridge', name);
        const prepared = this.#prepare(name, definition, known());
        this.#loaded.push({ prepared, basis: this.#basisOf(prepared, 'configuration') });
      });
      taken.add(name);
    }
    for (const [name, definition] of await this.#store.bridges()) {
      if (taken.has(name)) continue;
      const prepared = this.#prepareStored(name, definition, known());
      this.#loaded.push({ prepared, basis: this.#basisOf(prepared, 'stored') });
    }
  }

  /** Runs without waiting, in the turn in which the core is made. */
  attach(core: Core): void {
    const { clock, logger, gatewayId, environment, random, newId } = this.#parts;
    const connectionOf = (bridge: string) => this.#bridges.get(bridge)?.prepared.connection.name;
    this.#around = { core, clock, logger, gatewayId, environment, random, newId, connectionOf };
    for (const { prepared, basis } of this.#loaded) this.#add(prepared, basis);
    this.#loaded = [];
    core.outlets.knowBy((name) => this.#bridges.get(name)?.definition.direction === 'out');
    for (const bridge of core.outlets.unopened())
      logger.warn({ bridge }, 'messages wait for a bridge that is not defined any more, and are kept');
  }

  start(): void {
    this.#isStarted = true;
    for (const bridge of this.#bridges.values()) bridge.start();
  }

  /** Nothing is sent or received any more when it resolves, which it does little after `graceMs` at the latest. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopped = true;
    await Promise.all([...this.#bridges.values()].map((bridge) => bridge.stop(graceMs)));
  }

  *list(): Iterable<BridgeView> {
    for (const name of [...this.#bridges.keys()].sort()) yield (this.#bridges.get(name) as Bridge).view();
  }

  get(name: string): BridgeView | undefined {
    return this.#bridges.get(name)?.view();
  }

  async put(name: string, definition: unknown, { dryRun }: { readonly dryRun: boolean }): Promise<PutResult> {
    if (!dryRun) return this.#inTurn(() => this.#put(name, definition));
    const prepared = this.#checkPut(name, definition);
    return { created: !this.#bridges.has(name), probe: await this.#probe(prepared) };
  }

  remove(name: string, options?: { readonly dryRun: boolean }): Promise<void> {
    return this.#inTurn(async () => {
      const bridge = this.#found(name);
      refuseConfigured('bridge', name, bridge.basis.origin);
      this.#refuseUsed(name);
      if (options?.dryRun === true) return;
      await this.#store.remove('bridge', name);
      this.#bridges.delete(name);
      this.#states.delete(name);
      this.#store.removeState(name);
      await bridge.remove();
      await this.#store.stored();
    });
  }

  async probe(name: string): Promise<ProbeResult> {
    return this.#probe(this.#found(name).prepared);
  }

  pause(name: string): Promise<void> {
    return this.#inTurn(() => this.#setPaused(name, true));
  }

  resume(name: string): Promise<void> {
    return this.#inTurn(() => this.#setPaused(name, false));
  }

  reset(name: string): Promise<number> {
    return this.#inTurn(async () => this.#found(name).reset());
  }

  async #put(name: string, definition: unknown): Promise<PutResult> {
    const prepared = this.#checkPut(name, definition);
    const before = this.#bridges.get(name);
    const { delivery } = prepared.definition;
    // Before anything else is waited for, so that nothing comes in between.
    if (delivery === 'exactly-once' && before?.definition.delivery !== delivery) before?.keepAll();
    await this.#store.put('bridge', name, prepared.given, before?.prepared.given);
    const basis = this.#basisOf(prepared, 'stored');
    if (before === undefined) {
      this.#add(prepared, basis);
    } else if (before.definition.direction === prepared.definition.direction) before.change(prepared, basis);
    else {
      await before.remove();
      this.#add(prepared, basis);
    }
    await this.#store.stored();
    return { created: before === undefined };
  }

  #checkPut(name: string, definition: unknown): PreparedBridge {
    if (this.#isStopped) throw new CoreError('shutting-down', 'the gateway stops');
    checkName('bridge', name);
    const before = this.#bridges.get(name);
    const { bridgesMax } = this.#parts.limits;
    if (before !== undefined) refuseConfigured('bridge', name, before.basis.origin);
    else if (this.#bridges.size >= bridgesMax)
      throw new CoreError('limit-reached', `more than ${bridgesMax} bridges (bridgesMax)`);
    const others = [...this.#bridges.values()].map((bridge) => bridge.prepared);
    const prepared = this.#prepare(name, definition, others);
    if (before?.definition.direction === 'out' && prepared.definition.direction === 'in')
      this.#refuseUsed(name);
    return prepared;
  }

  #prepare(name: string, definition: unknown, others: readonly PreparedBridge[]): PreparedBridge {
    const prepared = prepareBridge(
      this.#parts,
      name,
      definition,
      (connection) => this.#connections.get(connection)?.prepared,
    );
    checkCircles(prepared, others);
    return prepared;
  }

  /**
   * Where it cannot be used, nothing passes it: what it would lead out waits until it can. Where even that is impossible,
   * because its mappings say nothing that can be followed, it has failed.
   */
  #prepareStored(name: string, definition: unknown, others: readonly PreparedBridge[]): PreparedBridge {
    try {
      return this.#prepare(name, definition, others);
    } catch (error) {
      const { logger } = this.#parts;
      try {
        const cause = causeOf(error);
        const prepared = prepareUnusable(this.#parts, name, definition, cause);
        logger.error(
          { bridge: name, cause },
          'a stored bridge cannot be used: it connects to nothing, and what it would lead out waits',
        );
        return prepared;
      } catch (fault) {
        const cause = causeOf(fault);
        logger.error(
          { bridge: name, cause },
          'a stored bridge cannot be read: its mappings take nothing until it is put again, and what waits in its buffer is kept',
        );
        return prepareFailed(name, definition, cause);
      }
    }
  }

  #basisOf({ name, definition }: PreparedBridge, origin: BridgeBasis['origin']): BridgeBasis {
    const { paused, ...offsets } = this.#states.get(name) ?? NO_STATE;
    const isPaused = origin === 'configuration' ? (paused ?? definition.paused) : definition.paused;
    return { origin, isPaused, offsets };
  }

  #add(prepared: PreparedBridge, basis: BridgeBasis): void {
    const { name } = prepared;
    const bridge = new Bridge(this.#known(), prepared, basis, (offsets) => {
      this.#keep(name, offsets);
      return this.#store.stored();
    });
    this.#bridges.set(name, bridge);
    // In one commit with its buffer, so that no offset is given twice.
    const { offsets } = bridge;
    if (offsets !== null && offsets.offsetBase !== basis.offsets.offsetBase) this.#keep(name, offsets);
    // A change that was under way when the gateway began to stop: nobody would stop this bridge.
    if (this.#isStarted && !this.#isStopped) bridge.start();
  }

  #keep(name: string, changes: Partial<BridgeState>): void {
    const state = { ...(this.#states.get(name) ?? NO_STATE), ...changes };
    this.#states.set(name, state);
    this.#store.putState(name, state);
  }

  async #setPaused(name: string, paused: boolean): Promise<void> {
    const bridge = this.#found(name);
    if (bridge.basis.origin === 'configuration') {
      this.#keep(name, { paused });
      await this.#store.stored();
      bridge.setPaused(paused);
      return;
    }
    if (bridge.prepared.fault !== null)
      throw new CoreError('in-use', `bridge ${name} has failed: put it again, or remove it`);
    const given = { ...bridge.prepared.given, paused };
    await this.#store.put('bridge', name, given, bridge.prepared.given);
    const { prepared, basis } = bridge;
    const definition: BridgeDefinition = { ...prepared.definition, paused };
    bridge.change({ ...prepared, given, definition }, { ...basis, isPaused: paused });
  }

  async #putConnection(name: string, definition: unknown, dryRun: boolean): Promise<PutResult> {
    if (dryRun) {
      const prepared = await this.#connections.prepare(name, definition);
      const created = this.#connections.get(name) === undefined;
      return { created, probe: await this.#probe(this.#bare(prepared)) };
    }
    return this.#inTurn(async () => {
      const prepared = await this.#connections.prepare(name, definition);
      const before = this.#connections.get(name)?.prepared;
      const changed = this.#preparedAnew(prepared);
      await this.#store.put('connection', name, prepared.definition, before?.definition);
      this.#connections.set(prepared, 'stored');
      for (const [bridge, anew] of changed) bridge.change(anew, bridge.basis);
      return { created: before === undefined };
    });
  }

  /** The bridges of a connection as they are when that is changed. Throws where one could not use it. */
  #preparedAnew(connection: PreparedConnection): Map<Bridge, PreparedBridge> {
    const changed = new Map<Bridge, PreparedBridge>();
    const others = [...this.#bridges.values()].map((bridge) => bridge.prepared);
    for (const bridge of this.#usersOf(connection.name)) {
      if (bridge.prepared.fault !== null) continue;
      try {
        const anew = prepareBridge(this.#parts, bridge.name, bridge.prepared.given, () => connection);
        const same = others.map((each) =>
          each.connection.name === connection.name ? { ...each, connection } : each,
        );
        checkCircles(anew, same);
        changed.set(bridge, anew);
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
        const text = `bridge ${bridge.name} could not use it: ${error.field ?? ''} ${error.message}`;
        throw new CoreError('invalid-argument', text, { field: '', cause: error });
      }
    }
    return changed;
  }

  async #removeConnection(name: string, dryRun: boolean): Promise<void> {
    this.#connections.stored(name);
    const users = [...this.#usersOf(name)].map((bridge) => bridge.name);
    if (users.length > 0) throw new CoreError('in-use', `bridges use the connection: ${users.join(', ')}`);
    if (dryRun) return;
    await this.#store.remove('connection', name);
    this.#connections.delete(name);
  }

  #bare(connection: PreparedConnection): PreparedBridge {
    const nothing = { connection: connection.name, direction: 'out', mappings: [{}] };
    return bareBridge(connection, checked(bridgeSchema, nothing) as BridgeDefinition);
  }

  async #probe(prepared: PreparedBridge): Promise<ProbeResult> {
    if (this.#probes >= PROBES_MAX)
      throw new CoreError('limit-reached', `${PROBES_MAX} connections are being tried at this moment`);
    this.#probes++;
    try {
      return await probe(this.#known(), prepared);
    } finally {
      this.#probes--;
    }
  }

  *#usersOf(connection: string): Iterable<Bridge> {
    for (const bridge of this.#bridges.values())
      if (bridge.prepared.connection.name === connection) yield bridge;
  }

  /** Throws CoreError `in-use` where a mapping rule leads to the bridge. */
  #refuseUsed(name: string): void {
    for (const [mapping, { rule }] of this.#known().core.rules.list()) {
      if (!isRouting(rule)) continue;
      if (rule.targets.some((target) => target.kind === 'bridge' && target.name === name))
        throw new CoreError('in-use', `mapping ${mapping} leads to bridge ${name}`);
    }
  }

  #found(name: string): Bridge {
    const bridge = this.#bridges.get(name);
    if (bridge === undefined) throw new CoreError('not-found', `there is no bridge ${name}`);
    return bridge;
  }

  #known(): BridgeSurroundings {
    if (this.#around === null) throw new CoreError('shutting-down', 'the gateway starts');
    return this.#around;
  }

  #inTurn<Result>(task: () => Promise<Result>): Promise<Result> {
    const running = this.#changing.then(task, task);
    this.#changing = running.catch(() => undefined);
    return running;
  }
}

/** For people, with the place that it is about. */
function causeOf(error: unknown): string {
  const { field, message } = error as CoreError;
  return field === undefined || field === '' ? message : `${field} ${message}`;
}

async function asConfigured(path: string, task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    if (!(error instanceof CoreError)) throw error;
    const place = (error.field ?? '').replaceAll('/', '.');
    throw new Error(`${path}${place} in the configuration: ${error.message}`, { cause: error });
  }
}
