/**
 * One bridge while the gateway runs: its outlet where it leads out, the link and the pump on it, its state and counters.
 * Made by the registry from a checked definition, changed in place by a new one. Nothing here waits for the other side
 * except what `link-keeper.ts` bounds.
 */

import {
  CoreError,
  type MappingCounters,
  type Message,
  newMappingCounters,
  type Outlet,
  type OutletBounds,
} from '../core/index.ts';
import type { BridgeLink, LinkEvents } from '../outside.ts';
import { Backoff } from './backoff.ts';
import { InPump } from './in-pump.ts';
import type { BridgeDefinition, BridgeStatus, BridgeView, DefinitionOrigin } from './index.ts';
import { LinkKeeper } from './link-keeper.ts';
import { type OffsetState, Offsets } from './offsets.ts';
import { OutPump, type SentSoFar } from './out-pump.ts';
import type { BridgeSurroundings } from './parts.ts';
import { arrivalOf } from './path-stamp.ts';
import type { PreparedBridge } from './prepared.ts';
import { resolved } from './secrets.ts';
import { failureOf, StatusBoard, textOf } from './status-board.ts';
import { newTally, type Tally } from './tally.ts';

/** For what is on its way when the bridge is paused or needs another link. */
const FINISH_MS_MAX = 5_000;

export interface BridgeBasis {
  readonly origin: DefinitionOrigin;
  readonly isPaused: boolean;
  readonly offsets: OffsetState;
}

export class Bridge {
  readonly name: string;
  readonly #around: BridgeSurroundings;
  /** Resolves when they are on the disk. */
  readonly #keepOffsets: (state: OffsetState) => Promise<void>;
  readonly #board: StatusBoard;
  readonly #keeper: LinkKeeper;
  readonly #linkBackoff: Backoff;
  readonly #sendBackoff: Backoff;
  readonly #sent: SentSoFar = { offset: -1, passed: new Set(), count: 0 };
  #prepared: PreparedBridge;
  #basis: BridgeBasis;
  #outlet: Outlet | null = null;
  #offsets: Offsets | null = null;
  #tally: Tally = newTally();
  #mappingCounters: readonly MappingCounters[] = [];
  #outPump: OutPump | null = null;
  #inPump: InPump | null = null;
  /** In pumps of links that are gone, while receipts are on their way. */
  #fading: InPump[] = [];
  #isStarted = false;

  constructor(
    around: BridgeSurroundings,
    prepared: PreparedBridge,
    basis: BridgeBasis,
    keepOffsets: (state: OffsetState) => Promise<void>,
  ) {
    this.name = prepared.name;
    this.#keepOffsets = keepOffsets;
    this.#around = around;
    this.#prepared = prepared;
    this.#basis = basis;
    const { clock, logger, random } = around;
    this.#board = new StatusBoard(this.name, clock, logger);
    const { retry } = prepared.definition;
    this.#linkBackoff = new Backoff(retry, random);
    this.#sendBackoff = new Backoff(retry, random);
    this.#keeper = new LinkKeeper({
      clock,
      backoff: this.#linkBackoff,
      open: (signal, events) =>
        openLink(this.#around, this.#prepared, signal, {
          ...events,
          answered: () => this.#outPump?.answered(),
        }),
      opened: (link, isCurrent) => this.#begin(link, isCurrent),
      finish: () => this.#outPump?.finish() ?? null,
      released: () => this.#end(),
      connecting: () => {
        this.#board.attempts++;
        this.#board.retryAtMs = null;
        if (this.#board.state !== 'disconnected' || this.#board.attempts === 1) this.#board.set('connecting');
      },
      connected: () => {
        this.#board.attempts = 0;
        this.#board.set('connected');
      },
      failed: (error, retryAtMs) => {
        const text = textOf(error);
        this.#board.note(text);
        this.#board.retryAtMs = retryAtMs;
        this.#board.set('disconnected', text, failureOf(error));
      },
    });
    this.#adopt(prepared);
  }

  get prepared(): PreparedBridge {
    return this.#prepared;
  }

  get basis(): BridgeBasis {
    return this.#basis;
  }

  get definition(): BridgeDefinition {
    return { ...this.#prepared.definition, paused: this.#basis.isPaused };
  }

  /** Of the buffer that it has now, to be kept with the definition; null where it has none. */
  get offsets(): OffsetState | null {
    return this.#offsets?.state ?? null;
  }

  start(): void {
    this.#isStarted = true;
    if (!this.#isResting()) this.#connect();
  }

  /** What is on its way is finished, if that ends in time; what has no answer then stays in the buffer. */
  async stop(graceMs: number): Promise<void> {
    this.#isStarted = false;
    const closing = this.#keeper.stop(graceMs);
    this.#board.retryAtMs = null;
    await closing;
  }

  /** Everything of it goes: its rules and what waits in its buffer. Not to be used any more. */
  async remove(): Promise<void> {
    const closing = this.stop(0);
    this.#outlet?.close(true);
    this.#outlet = null;
    await closing;
  }

  /**
   * Another definition takes the place of the one before, in the same direction. Messages meet one or the other; the link
   * is only opened anew where it has to be.
   */
  change(prepared: PreparedBridge, basis: BridgeBasis): void {
    const before = this.#prepared;
    const wasPaused = this.#basis.isPaused;
    this.#basis = basis;
    this.#adopt(prepared);
    if (!this.#isStarted) return;
    if (basis.isPaused !== wasPaused || before.fault !== prepared.fault) this.#pauseOrResume();
    else if (!basis.isPaused && needsNewLink(before, prepared)) this.reconnect();
  }

  /**
   * From now on all that comes is kept on the disk, as exactly once needs it. Throws CoreError where something waits that
   * is not: it has no offset there.
   */
  keepAll(): void {
    if (this.#outlet === null) return;
    if (this.#outlet.hasUnkept || this.#outPump?.holdsUnkept === true)
      throw new CoreError(
        'in-use',
        'messages wait in memory alone, which cannot be sent exactly once: let them be sent first, or reset the bridge',
        { field: '/delivery' },
      );
    this.#outlet.change({ ...boundsOf(this.#prepared.definition), keepsAll: true });
  }

  reconnect(): void {
    if (!this.#isStarted || this.#isResting()) return;
    void this.#keeper.stop(FINISH_MS_MAX);
    this.#connect();
  }

  setPaused(isPaused: boolean): void {
    if (this.#basis.isPaused === isPaused) return;
    this.#basis = { ...this.#basis, isPaused };
    if (this.#isStarted) this.#pauseOrResume();
  }

  /** Returns how many messages went. */
  reset(): number {
    void this.#keeper.stop(0);
    const count = this.#outlet?.purge() ?? 0;
    this.#tally = newTally();
    this.#sent.passed.clear();
    this.#fading = [];
    for (const counters of this.#mappingCounters) Object.assign(counters, newMappingCounters());
    if (this.#outlet !== null) {
      this.#outlet.counters.overflow = 0;
      this.#outlet.counters.expired = 0;
    }
    this.#board.forget();
    if (this.#isStarted && !this.#isResting()) this.#connect();
    return count;
  }

  view(): BridgeView {
    return {
      name: this.name,
      origin: this.#basis.origin,
      definition: this.definition,
      status: this.status(),
      mappings: this.#mappingCounters,
    };
  }

  status(): BridgeStatus {
    const outlet = this.#outlet;
    const tally = this.#tally;
    const { dropped } = tally;
    const inFlight = [this.#inPump, ...this.#fading].reduce((sum, each) => sum + (each?.inFlight ?? 0), 0);
    const counted = outlet?.counters;
    const messages = outlet === null ? inFlight : outlet.messageCount + (this.#outPump?.unanswered ?? 0);
    const oldestMs = this.#outPump?.oldestMs ?? outlet?.oldestMs ?? 0;
    const ageMs = oldestMs === 0 || messages === 0 ? 0 : this.#around.clock.nowMs() - oldestMs;
    return {
      ...this.#board.shown(),
      lag: {
        messages,
        bytes: outlet === null ? 0 : outlet.waitingBytes + (this.#outPump?.heldBytes ?? 0),
        seconds: Math.max(0, ageMs) / 1_000,
      },
      counters: {
        taken: counted?.taken ?? tally.taken,
        done: tally.done,
        doneBytes: tally.doneBytes,
        repeated: tally.repeated,
        deadLettered: tally.deadLettered,
        refused: tally.refused,
        dropped: {
          ...dropped,
          overflow: dropped.overflow + (counted?.overflow ?? 0),
          expired: dropped.expired + (counted?.expired ?? 0),
        },
      },
    };
  }

  /** Takes over what the definition says of outlet, rules and pauses. Runs without waiting. */
  #adopt(prepared: PreparedBridge): void {
    const { definition } = prepared;
    this.#mappingCounters = prepared.mappings.map((_, index) => {
      const known = this.#mappingCounters[index];
      const before = this.#prepared.definition.mappings[index];
      const isSame = JSON.stringify(before) === JSON.stringify(definition.mappings[index]);
      return known !== undefined && isSame ? known : newMappingCounters();
    });
    this.#prepared = prepared;
    this.#linkBackoff.change(definition.retry);
    this.#sendBackoff.change(definition.retry);
    if (definition.direction === 'in') return;
    const bounds = boundsOf(definition);
    if (this.#outlet === null) {
      this.#outlet = this.#around.core.outlets.open(this.name, bounds);
      this.#offsets = new Offsets(this.#basis.offsets, this.#outlet, this.#around.clock.nowMs());
    } else this.#outlet.change(bounds);
    const counters = this.#mappingCounters;
    this.#outlet.lead(
      prepared.mappings.map(({ rule }, index) => ({ rule, counters: counters[index] as MappingCounters })),
    );
  }

  #connect(): void {
    this.#board.attempts = 0;
    this.#keeper.start();
  }

  #pauseOrResume(): void {
    if (!this.#isResting()) {
      this.#connect();
      return;
    }
    void this.#keeper.stop(FINISH_MS_MAX);
    this.#board.retryAtMs = null;
  }

  /** It is not to connect, and its state says why. */
  #isResting(): boolean {
    const { fault } = this.#prepared;
    if (fault !== null) this.#board.set('failed', fault);
    else if (this.#basis.isPaused) this.#board.set('paused');
    else return false;
    return true;
  }

  async #begin(link: BridgeLink, isCurrent: () => boolean): Promise<void> {
    const { core, clock, gatewayId, logger, newId } = this.#around;
    const { definition, mappings, sources } = this.#prepared;
    if (this.#outlet !== null && this.#offsets !== null) {
      const isExact = definition.delivery === 'exactly-once';
      if (isExact && this.#offsets.compare(link.markOffset ?? link.sentOffset, clock.nowMs())) {
        const said =
          'the other side remembers more than was ever sent from here: was the data folder put back from a backup?';
        logger.warn({ bridge: this.name }, `${said} What is published from now on is numbered anew`);
        await this.#keepOffsets(this.#offsets.state);
        // The link may be gone meanwhile, and another one there.
        if (!isCurrent()) return;
      }
      this.#outPump = new OutPump({
        name: this.name,
        core,
        clock,
        gatewayId,
        link,
        outlet: this.#outlet,
        delivery: definition.delivery,
        batch: definition.batch,
        offsets: this.#offsets,
        backoff: this.#sendBackoff,
        tally: this.#tally,
        sent: this.#sent,
        isBack: (message) => this.#isBack(message),
        degraded: (reason) => this.#degrade(reason),
        // Nobody waits for what an earlier link still has to say.
        failed: (error) => {
          if (isCurrent()) this.#keeper.fail(error);
        },
      });
      this.#outPump.start();
      return;
    }
    const counters = this.#mappingCounters;
    this.#inPump = new InPump({
      name: this.name,
      core,
      clock,
      gatewayId,
      peer: link.peer,
      mappings: mappings.map((mapping, index) => ({ mapping, counters: counters[index] as MappingCounters })),
      inFlightMax: definition.inFlightMax,
      tally: this.#tally,
      newId,
      degraded: (reason) => this.#degrade(reason),
    });
    await link.receive(sources, this.#inPump);
  }

  /** It came in over the same connection, where it would be again what it was. */
  #isBack(message: Message): boolean {
    const arrival = arrivalOf(message);
    if (arrival === null) return false;
    const { connection, definition } = this.#prepared;
    if (this.#around.connectionOf(arrival.bridge) !== connection.name) return false;
    const { driver } = connection;
    const { address } = message;
    const there =
      driver.comesBackAs === undefined ? address : driver.comesBackAs(address, definition.options);
    return there === arrival.address;
  }

  /** The link is of no use any more. */
  #end(): void {
    this.#outPump?.stop();
    this.#outPump = null;
    const pump = this.#inPump;
    this.#inPump = null;
    if (pump === null) return;
    pump.stop();
    this.#fading = [...this.#fading, pump].filter(({ inFlight }) => inFlight > 0);
  }

  #degrade(reason: string | null): void {
    const { state } = this.#board;
    if (reason === null) {
      if (state === 'degraded') this.#board.set('connected');
      return;
    }
    this.#board.note(reason);
    if (state === 'connected' || state === 'degraded') this.#board.set('degraded', reason);
  }
}

/** Secrets are read anew each time. */
export async function openLink(
  around: BridgeSurroundings,
  { name, definition, connection }: PreparedBridge,
  signal: AbortSignal,
  events: LinkEvents,
  isTrial = false,
): Promise<BridgeLink> {
  const { clock, logger, gatewayId, environment } = around;
  const { driver, settings } = connection;
  const plain = await resolved(driver.connectionSchema, settings, { environment });
  signal.throwIfAborted();
  return driver.open({
    name,
    connection: plain,
    options: definition.options,
    direction: definition.direction,
    delivery: definition.delivery,
    gatewayId,
    inFlightMax: definition.inFlightMax,
    clock,
    logger,
    signal,
    isTrial,
    ...events,
  });
}

function boundsOf({ buffer, delivery }: BridgeDefinition): OutletBounds {
  const { messagesMax, bytesMax, overflow } = buffer;
  return { messagesMax, bytesMax, overflow, keepsAll: delivery !== 'at-most-once' };
}

/** Mappings of what leads out, its buffer and its rank are exchanged under the link. */
function needsNewLink(before: PreparedBridge, after: PreparedBridge): boolean {
  const withoutThose = ({ definition }: PreparedBridge): unknown => ({
    ...definition,
    ...(definition.direction === 'out' ? { mappings: null } : {}),
    buffer: null,
    required: null,
    paused: null,
    retry: null,
  });
  if (before.connection !== after.connection) return true;
  return JSON.stringify(withoutThose(before)) !== JSON.stringify(withoutThose(after));
}
