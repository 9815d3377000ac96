/**
 * A stream as a destination of the router: it takes each message that one of its patterns or mapping rules
 * captures, once, chooses key and partition, and hands the record to the partition. Made by `streams.ts`. One key
 * stays in one partition as long as the number of partitions does.
 */

import { Buffer } from 'node:buffer';
import { CoreError } from './errors.ts';
import type { RecordCodec, Stream, StreamMessages, StreamSpec } from './index.ts';
import { isRouting, type MappingCounters } from './mapping-rule.ts';
import type { Message } from './message.ts';
import type { StreamPartition } from './partition.ts';
import type { Acceptance, Binding, Destination, Route } from './router.ts';
import { WRITTEN } from './router.ts';
import { type OutletServices, RecordOutlet } from './stream-outlet.ts';
import { partitionOf } from './stream-partitioner.ts';

export class CapturingStream implements Stream, Destination {
  readonly kind = 'stream';
  readonly name: string;
  readonly id: Uint8Array;
  /** Its captures in the router; those of mapping rules belong to the rules. */
  readonly bindings: readonly Binding[];
  readonly outlet: RecordOutlet;
  readonly #records: RecordCodec;
  #spec: StreamSpec;
  #partitions: readonly StreamPartition[] = [];
  // Messages of one address come in runs, so the key is worked out once a run.
  #lastAddress = '';
  #lastRoute: Route | null = null;
  #lastKey: Uint8Array | null = null;
  #lastPartition = 0;
  #lastRuled = false;
  #lastCounters: MappingCounters | null = null;

  constructor(id: Uint8Array, spec: StreamSpec, address: string, services: OutletServices) {
    this.name = spec.name;
    this.id = id;
    this.#spec = spec;
    this.#records = services.records;
    this.outlet = new RecordOutlet(services, this, address);
    this.bindings = spec.captures.map((pattern) => ({
      pattern,
      destination: this,
      options: null,
      via: null,
      match: null,
      rule: null,
    }));
  }

  get spec(): StreamSpec {
    return this.#spec;
  }

  get partitions(): readonly StreamPartition[] {
    return this.#partitions;
  }

  async readMessages(index: number, offset: number, bytesMax: number): Promise<StreamMessages> {
    const partition = this.#partitions[index];
    if (partition === undefined) {
      throw new CoreError('not-found', `stream '${this.name}' has no partition ${index}`);
    }
    return this.outlet.messagesOf(await partition.read(offset, bytesMax), offset);
  }

  /** A changed definition with the partitions that it asks for: those that were there, in their order, and new ones. */
  change(spec: StreamSpec, partitions: readonly StreamPartition[]): void {
    this.#spec = spec;
    this.#partitions = partitions;
    this.#lastRoute = null;
  }

  accept(message: Message, route: Route): Acceptance {
    const partitions = this.#partitions;
    if (route !== this.#lastRoute || message.address !== this.#lastAddress)
      this.#place(message.address, route);
    let key = this.#lastKey;
    let index = this.#lastPartition;
    // A rule's key leads back to the address, so it goes before a key that the message brought.
    if (message.key !== null && !this.#lastRuled) {
      key = message.key;
      index = partitionOf(key, partitions.length);
    }
    const record = this.#records.recordFromMessage(message, this.name, key);
    (partitions[index] as StreamPartition).gather(record);
    if (this.#lastCounters !== null) {
      this.#lastCounters.in++;
      this.#lastCounters.out++;
    }
    return WRITTEN;
  }

  /** Takes what a routing rule made. `partitionBy`: a text's hash or a number itself; null: the key, or the address. */
  append(message: Message, key: Uint8Array | null, partitionBy: string | number | null): void {
    const partitions = this.#partitions;
    const index =
      typeof partitionBy === 'number'
        ? partitionBy % partitions.length
        : partitionOf(partitionBy ?? key ?? message.address, partitions.length);
    const record = this.#records.recordFromMessage(message, this.name, key);
    (partitions[index] as StreamPartition).gather(record);
  }

  #place(address: string, route: Route): void {
    const key = keyOf(address, route.bindings);
    this.#lastAddress = address;
    this.#lastRoute = route;
    this.#lastKey = key;
    this.#lastCounters = route.bindings.find((binding) => binding.rule !== null)?.counters ?? null;
    this.#lastRuled = key !== null && route.bindings.some((binding) => binding.rule !== null);
    this.#lastPartition = partitionOf(key ?? address, this.#partitions.length);
  }
}

/**
 * The key of a message that brought none. A rule knows it, or knows that there is none. Without a rule it is the
 * address where the stream captures many, so that each keeps its order; a stream of one address needs no key.
 */
function keyOf(address: string, bindings: readonly Binding[]): Uint8Array | null {
  let wildcard = false;
  for (const binding of bindings) {
    if (binding.rule !== null && !isRouting(binding.rule)) return binding.rule.keyOf(address);
    if (binding.pattern.literal === null) wildcard = true;
  }
  return wildcard ? Buffer.from(address, 'utf8') : null;
}
