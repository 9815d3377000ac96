/**
 * The topics under `$SYS/broker` as Mosquitto users know them. A subscriber gets their values at once, as if they were
 * retained, and then what has changed at every interval. Nothing is stored, and a value is worked out only for who
 * listens. Clients cannot publish here, and no filter that begins with a wildcard sees it `[MQTT-4.7.2-1]`. One for the
 * adapter; asked by `state/replay.ts`.
 */

import { type Core, Message, type Pattern, type Timer } from '../../../src/core/index.ts';
import type { Traffic } from '../state/traffic.ts';
import { LOAD_MINUTES, LoadAverage } from './load.ts';

const ROOT = '$SYS/broker/';
/** Sessions are counted at most so often, whoever asks. */
const COUNTED_FOR_MS = 1_000;

export interface SysOptions {
  readonly core: Core;
  readonly traffic: Traffic;
  readonly version: string;
  /** 0: there are no such topics. */
  readonly intervalSeconds: number;
  /** Clients that are connected. */
  clientCount(): number;
}

/** Over all sessions. */
interface SessionCounts {
  readonly atMs: number;
  readonly disconnected: number;
  readonly subscriptions: number;
  readonly messages: number;
}

export class SysTopics {
  readonly #options: SysOptions;
  readonly #startedMs: number;
  readonly #values: ReadonlyMap<string, () => string>;
  readonly #loads: readonly (readonly [average: LoadAverage, total: () => number])[];
  /** What subscribers were told last. */
  readonly #told = new Map<string, string>();
  #timer: Timer | null = null;
  #sampledMs: number;
  #counts: SessionCounts | null = null;

  constructor(options: SysOptions) {
    this.#options = options;
    this.#startedMs = options.core.clock.nowMs();
    this.#sampledMs = this.#startedMs;
    const { core, traffic } = options;
    const totals: readonly (readonly [name: string, total: () => number])[] = [
      ['messages/received', () => traffic.packetsReceived],
      ['messages/sent', () => traffic.packetsSent],
      ['publish/received', () => traffic.publishesReceived],
      ['publish/sent', () => traffic.publishesSent],
      ['publish/dropped', () => core.counters.dropped],
      ['bytes/received', () => traffic.bytesReceived],
      ['bytes/sent', () => traffic.bytesSent],
      ['connections', () => traffic.connections],
    ];
    const values = new Map(this.#plainValues());
    this.#loads = totals.map(([name, total]) => {
      const average = new LoadAverage();
      for (const [index, minutes] of LOAD_MINUTES.entries()) {
        values.set(`${ROOT}load/${name}/${minutes}min`, () => average.at(index).toFixed(2));
      }
      return [average, total];
    });
    this.#values = values;
  }

  start(): void {
    if (this.#options.intervalSeconds === 0) return;
    this.#sample();
    this.#wait();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** The topics under `pattern` with their values now. */
  *match(pattern: Pattern): Iterable<Message> {
    // Only a pattern that names the root leads here.
    if (this.#options.intervalSeconds === 0 || pattern.tokens[0] !== '$SYS') return;
    for (const [address, value] of this.#values) {
      if (pattern.matches(address)) yield messageOf(address, value());
    }
  }

  #wait(): void {
    const { core, intervalSeconds } = this.#options;
    this.#timer = core.clock.after(intervalSeconds * 1000, () => {
      this.#sample();
      this.#tellChanges();
      this.#wait();
    });
  }

  #sample(): void {
    const nowMs = this.#options.core.clock.nowMs();
    const seconds = (nowMs - this.#sampledMs) / 1000;
    this.#sampledMs = nowMs;
    for (const [average, total] of this.#loads) average.add(total(), seconds);
  }

  #tellChanges(): void {
    const { core } = this.#options;
    for (const [address, value] of this.#values) {
      if (core.explain(address).length === 0) {
        this.#told.delete(address);
        continue;
      }
      const text = value();
      if (this.#told.get(address) === text) continue;
      this.#told.set(address, text);
      core.announce(messageOf(address, text));
    }
  }

  /** One walk through all sessions for whoever asks within a while, as any client may at any time. */
  #countSessions(): SessionCounts {
    const { core } = this.#options;
    const nowMs = core.clock.nowMs();
    const known = this.#counts;
    if (known !== null && nowMs - known.atMs < COUNTED_FOR_MS && nowMs >= known.atMs) return known;
    let disconnected = 0;
    let subscriptions = 0;
    let messages = 0;
    for (const session of core.sessions.list()) {
      if (!session.attached) disconnected++;
      subscriptions += session.subscriptions.size;
      messages += session.queuedCount + session.unsettledCount;
    }
    this.#counts = { atMs: nowMs, disconnected, subscriptions, messages };
    return this.#counts;
  }

  *#plainValues(): Iterable<[address: string, value: () => string]> {
    const { core, traffic, version, clientCount } = this.#options;
    const { counters } = core;
    const disconnected = (): number => this.#countSessions().disconnected;
    const subscriptions = (): number => this.#countSessions().subscriptions;
    const stored = (): number => core.retained.count + core.schedule.count + this.#countSessions().messages;
    const plain: readonly (readonly [name: string, value: () => number | string])[] = [
      ['version', () => `rosettamq version ${version}`],
      ['uptime', () => `${Math.floor((core.clock.nowMs() - this.#startedMs) / 1000)} seconds`],
      ['clients/connected', clientCount],
      ['clients/active', clientCount],
      ['clients/disconnected', disconnected],
      ['clients/inactive', disconnected],
      ['clients/total', () => clientCount() + disconnected()],
      ['clients/maximum', () => traffic.clientsMax],
      ['messages/received', () => traffic.packetsReceived],
      ['messages/sent', () => traffic.packetsSent],
      ['messages/stored', stored],
      ['store/messages/count', stored],
      ['publish/messages/received', () => traffic.publishesReceived],
      ['publish/messages/sent', () => traffic.publishesSent],
      ['publish/messages/dropped', () => counters.dropped],
      ['bytes/received', () => traffic.bytesReceived],
      ['bytes/sent', () => traffic.bytesSent],
      ['subscriptions/count', subscriptions],
      ['retained messages/count', () => core.retained.count],
    ];
    for (const [name, value] of plain) yield [`${ROOT}${name}`, () => String(value())];
  }
}

/** It tells of now: who is not there misses nothing. */
function messageOf(address: string, text: string): Message {
  return new Message({ address, body: Buffer.from(text), reliability: 0 });
}
