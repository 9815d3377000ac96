/**
 * All streams of a core: declared once, kept in a table, found again at start. Declaring, changing and deleting
 * one name happen one after the other, and a definition is on the disk before anything uses it. What is deleted
 * is marked first, so that a crash in between is finished at the next start.
 *
 * Table `streams`:
 *
 * | key              | value                                                |
 * |------------------|------------------------------------------------------|
 * | `stream/` name   | definition (`stream-definition.ts`)                  |
 * | `deleted/` id    | definition of a stream whose logs are to be removed  |
 * | `producer-ids`   | end of the block of ids in use (`producer-ids.ts`)   |
 *
 * Table `producers`: snapshots (`producer-state.ts`) by stream id and partition, and under `led/` and the same what was led
 * elsewhere (`led-offsets.ts`). Logs are named by stream id and partition as well.
 */

import { Buffer } from 'node:buffer';
import type { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import type { CoreOptions, Cursors, Stream, StreamSpec, Streams } from './index.ts';
import { ledKeyOf, StreamPartition } from './partition.ts';
import { ProducerIds } from './producer-ids.ts';
import { ProducerState } from './producer-state.ts';
import type { BatchLogOptions, Table } from './storage.ts';
import { CapturingStream } from './stream.ts';
import { checkStream, decodeStream, encodeStream } from './stream-definition.ts';
import { Gathering } from './stream-gathering.ts';
import type { OutletServices, RecordOutlet } from './stream-outlet.ts';

export interface StreamRegistryParts
  extends OutletServices,
    Pick<CoreOptions, 'storage' | 'addressFromStream' | 'crc32c' | 'randomBytes'> {
  readonly durability: Durability;
  /** A deleted stream's cursors go with it. */
  readonly cursors: Pick<Cursors, 'groups' | 'remove'>;
}

/** For streams that nobody declared with settings of his own: a week, in segments of 64 MiB. */
export const DEFAULT_STREAM_LOG: BatchLogOptions = {
  segmentBytes: 64 * 1024 * 1024,
  retentionBytes: -1,
  retentionMs: 7 * 24 * 60 * 60 * 1000,
};

const ID_BYTES = 16;
/** How often logs are asked to drop what retention no longer keeps. */
const RETENTION_CHECK_MS = 60_000;
const DEFINITION_PREFIX = 'stream/';
const DELETED_PREFIX = 'deleted/';

export class StreamRegistry implements Streams {
  readonly #parts: StreamRegistryParts;
  readonly #streams = new Map<string, CapturingStream>();
  readonly #gathering: Gathering;
  /** The last change of each name that is under way. */
  readonly #changing = new Map<string, Promise<unknown>>();
  #table: Table | null = null;
  #snapshots: Table | null = null;
  #producerIds: ProducerIds | null = null;
  #closed = false;
  #cancelRetention: () => void = () => undefined;

  constructor(parts: StreamRegistryParts) {
    this.#parts = parts;
    this.#gathering = new Gathering(parts.clock, parts.durability, parts.counters, parts.report);
  }

  /** Bytes of messages that were taken during this turn and are not in a log yet. */
  get gatheredBytes(): number {
    return this.#gathering.bytes;
  }

  /** Opens every stored stream. Called once, before the first message. */
  async load(): Promise<void> {
    const { storage, durability, randomBytes } = this.#parts;
    this.#table = await storage.openTable('streams');
    this.#snapshots = await storage.openTable('producers');
    this.#producerIds = new ProducerIds(this.#table, durability);
    await this.#producerIds.load(randomBytes);
    const deleted: { id: Uint8Array; spec: StreamSpec }[] = [];
    for await (const [, bytes] of this.#table.scan(DELETED_PREFIX)) deleted.push(decodeStream(bytes));
    for (const { id, spec } of deleted) await this.#removeLogs(id, spec);
    const stored: { id: Uint8Array; spec: StreamSpec }[] = [];
    for await (const [, bytes] of this.#table.scan(DEFINITION_PREFIX)) stored.push(decodeStream(bytes));
    for (const { id, spec } of stored) await this.#open(id, spec);
    this.#scheduleRetention();
  }

  get(name: string): CapturingStream | undefined {
    return this.#streams.get(name);
  }

  list(): Iterable<CapturingStream> {
    return this.#streams.values();
  }

  newProducerId(): bigint {
    return (this.#producerIds as ProducerIds).take();
  }

  async declare(spec: StreamSpec): Promise<Stream> {
    return this.#streams.get(spec.name) ?? this.#inTurn(spec.name, () => this.#declare(spec));
  }

  async change(
    name: string,
    changes: Partial<Pick<StreamSpec, 'partitions' | 'log' | 'settings'>>,
  ): Promise<Stream> {
    return this.#inTurn(name, async () => {
      const stream = this.#existing(name);
      const spec: StreamSpec = { ...stream.spec, ...changes };
      checkStream(spec, this.#parts.limits);
      if (spec.partitions < stream.spec.partitions) {
        throw new CoreError(
          'invalid-argument',
          `stream ${name} has ${stream.spec.partitions} partitions; they cannot become fewer`,
        );
      }
      await this.#store(stream.id, spec, stream.spec);
      for (const partition of stream.partitions) partition.configure(spec.log);
      const added = await this.#openPartitions(stream, spec, stream.partitions.length);
      stream.change(spec, [...stream.partitions, ...added]);
      return stream;
    });
  }

  async delete(name: string): Promise<void> {
    return this.#inTurn(name, async () => {
      const stream = this.#existing(name);
      if (stream.outlet.rules.length > 0)
        throw new CoreError('in-use', `a mapping rule captures for stream ${name}`);
      const { router, cursors } = this.#parts;
      for (const binding of stream.bindings) router.remove(binding);
      this.#streams.delete(name);
      const table = this.#table as Table;
      table.put(DELETED_PREFIX + hexOf(stream.id), encodeStream(stream.id, stream.spec));
      table.remove(DEFINITION_PREFIX + name);
      for (const group of [...cursors.groups()]) cursors.remove(group, name, null);
      await this.#stored();
      await Promise.all(stream.partitions.map((partition) => partition.delete()));
      table.remove(DELETED_PREFIX + hexOf(stream.id));
      this.#parts.durability.written();
    });
  }

  /** Writes what is still gathered and stores what makes the next start quick. Nothing is taken afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelRetention();
    await Promise.allSettled(this.#changing.values());
    this.#gathering.flush();
    for (const stream of this.#streams.values()) {
      for (const partition of stream.partitions) partition.storeSnapshot();
    }
  }

  async #declare(spec: StreamSpec): Promise<CapturingStream> {
    const existing = this.#streams.get(spec.name);
    if (existing !== undefined) return existing;
    const { limits, randomBytes } = this.#parts;
    checkStream(spec, limits);
    if (this.#streams.size + this.#changing.size > limits.streamsMax)
      throw new CoreError('limit-reached', `there are ${limits.streamsMax} streams already`);
    const id = randomBytes(ID_BYTES);
    await this.#store(id, spec, null);
    try {
      return await this.#open(id, spec);
    } catch (error) {
      (this.#table as Table).remove(DEFINITION_PREFIX + spec.name);
      this.#parts.durability.written();
      throw error;
    }
  }

  /** Opens a stream's logs and lets messages in. */
  async #open(id: Uint8Array, spec: StreamSpec): Promise<CapturingStream> {
    const stream = new CapturingStream(id, spec, this.#parts.addressFromStream(spec.name), this.#parts);
    stream.change(spec, await this.#openPartitions(stream, spec, 0));
    this.#streams.set(spec.name, stream);
    for (const binding of stream.bindings) this.#parts.router.add(binding);
    return stream;
  }

  async #openPartitions(
    stream: { readonly id: Uint8Array; readonly outlet: RecordOutlet },
    spec: StreamSpec,
    from: number,
  ): Promise<StreamPartition[]> {
    const { storage, limits, durability, crc32c } = this.#parts;
    const snapshots = this.#snapshots as Table;
    const services = { durability, limits, crc32c, snapshots, gathering: this.#gathering };
    const opening: Promise<StreamPartition>[] = [];
    for (let index = from; index < spec.partitions; index++) {
      const name = partitionName(stream.id, index);
      opening.push(
        storage.openBatchLog(name, spec.log).then(async (log) => {
          const producers = new ProducerState(limits.producersPerPartitionMax);
          const parts = { index, log, producers, outlet: stream.outlet, snapshotKey: name };
          const partition = new StreamPartition(services, parts);
          await partition.recover();
          return partition;
        }),
      );
    }
    return Promise.all(opening);
  }

  async #removeLogs(id: Uint8Array, spec: StreamSpec): Promise<void> {
    for (let index = 0; index < spec.partitions; index++) {
      const name = partitionName(id, index);
      const log = await this.#parts.storage.openBatchLog(name, spec.log);
      await log.delete();
      (this.#snapshots as Table).remove(name);
      (this.#snapshots as Table).remove(ledKeyOf(name));
    }
    (this.#table as Table).remove(DELETED_PREFIX + hexOf(id));
    this.#parts.durability.written();
  }

  /** Puts a definition on the disk; takes it back where the disk refuses. */
  async #store(id: Uint8Array, spec: StreamSpec, before: StreamSpec | null): Promise<void> {
    const table = this.#table as Table;
    const key = DEFINITION_PREFIX + spec.name;
    table.put(key, encodeStream(id, spec));
    try {
      await this.#stored();
    } catch (error) {
      if (before === null) table.remove(key);
      else table.put(key, encodeStream(id, before));
      throw error;
    }
  }

  #stored(): Promise<void> {
    const { durability } = this.#parts;
    durability.written();
    return new Promise((resolve, reject) => {
      durability.whenStored((error) => (error === null ? resolve() : reject(error)));
    });
  }

  /** Runs `task` when earlier changes of this name are done, whether or not they succeeded. */
  async #inTurn<T>(name: string, task: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new CoreError('shutting-down', 'no stream is changed any more');
    const running = (this.#changing.get(name) ?? Promise.resolve()).then(task, task);
    this.#changing.set(name, running);
    try {
      return await running;
    } finally {
      if (this.#changing.get(name) === running) this.#changing.delete(name);
    }
  }

  #existing(name: string): CapturingStream {
    const stream = this.#streams.get(name);
    if (stream === undefined) throw new CoreError('not-found', `there is no stream ${name}`);
    return stream;
  }

  #scheduleRetention(): void {
    const { clock } = this.#parts;
    const timer = clock.after(RETENTION_CHECK_MS, () => {
      for (const stream of this.#streams.values()) {
        for (const partition of stream.partitions) partition.expire(clock.nowMs());
      }
      this.#scheduleRetention();
    });
    this.#cancelRetention = () => timer.cancel();
  }
}

function hexOf(id: Uint8Array): string {
  return Buffer.from(id).toString('hex');
}

function partitionName(id: Uint8Array, index: number): string {
  return `${hexOf(id)}-${index}`;
}
