/**
 * One partition of a stream: an ordered log of record batches. Batches come whole from producers that speak in
 * batches (`appendBatch`), or are built here from the messages that the stream captured during one turn
 * (`gather`). Both ways keep the order of the calls. Readers get stored bytes, and wait for more with `onAppend`.
 *
 * A crash may leave a batch without what it was led to, since streams are written first. So one that stands in the log
 * since before the start is led on when its producer sends it again, unless `led-offsets.ts` knows that it was.
 */

import type { Buffer } from 'node:buffer';
import { BatchBuilder } from './batch-builder.ts';
import { validateBatch } from './batch-validation.ts';
import type { Durability } from './durability.ts';
import { CoreError } from './errors.ts';
import type { BatchAppended, Partition, ReceiptSink } from './index.ts';
import { LedOffsets } from './led-offsets.ts';
import type { Limits } from './limits.ts';
import type { ProducerState } from './producer-state.ts';
import {
  BatchField,
  batchBaseOffset,
  batchNextOffset,
  placeBatch,
  type StreamRecord,
} from './record-batch.ts';
import type { BatchLog, BatchLogOptions, Table } from './storage.ts';
import type { Gathering } from './stream-gathering.ts';
import type { RecordOutlet } from './stream-outlet.ts';

/** A gathered batch is written as soon as it holds so much, though the turn is not over. */
const GATHERED_BYTES_MAX = 256 * 1024;
const GATHERED_RECORDS_MAX = 10_000;
/** Batches after which the producers' state is stored again, so that a start reads at most so many headers. */
const SNAPSHOT_BATCHES = 8_192;
const LED_PREFIX = 'led/';

/** Of the partition whose snapshot of producers has this key. */
export function ledKeyOf(snapshotKey: string): string {
  return LED_PREFIX + snapshotKey;
}

/** What every partition of a core shares. */
export interface PartitionServices {
  readonly durability: Durability;
  readonly limits: Limits;
  readonly gathering: Gathering;
  /** Snapshots of producers, and what was led elsewhere of their batches, by partition. */
  readonly snapshots: Table;
  readonly crc32c: (bytes: Uint8Array) => number;
}

export interface PartitionParts {
  readonly index: number;
  readonly log: BatchLog;
  readonly producers: ProducerState;
  readonly outlet: RecordOutlet;
  /** Its key in the table of snapshots. */
  readonly snapshotKey: string;
}

export class StreamPartition implements Partition {
  readonly index: number;
  readonly #services: PartitionServices;
  readonly #log: BatchLog;
  readonly #producers: ProducerState;
  readonly #outlet: RecordOutlet;
  readonly #snapshotKey: string;
  readonly #builder = new BatchBuilder();
  readonly #waiters = new Set<{ readonly listener: () => void }>();
  readonly #led = new LedOffsets();
  readonly #ledKey: string;
  /** The log's end at the start. */
  #recoveredEnd = 0;
  #batchesSinceSnapshot = 0;
  #deleted = false;

  constructor(services: PartitionServices, parts: PartitionParts) {
    this.#services = services;
    this.index = parts.index;
    this.#log = parts.log;
    this.#producers = parts.producers;
    this.#outlet = parts.outlet;
    this.#snapshotKey = parts.snapshotKey;
    this.#ledKey = ledKeyOf(parts.snapshotKey);
  }

  get startOffset(): number {
    return this.#log.startOffset;
  }

  /** Of what can be read: messages gathered during this turn are not in it yet. */
  get endOffset(): number {
    return this.#log.endOffset;
  }

  get sizeBytes(): number {
    return this.#log.sizeBytes;
  }

  /** Reads what the log holds beyond the stored snapshot of producers. Called once, before anything is appended. */
  async recover(): Promise<void> {
    const log = this.#log;
    this.#recoveredEnd = log.endOffset;
    const snapshot = await this.#services.snapshots.get(this.#snapshotKey);
    const taken = this.#producers.restore(snapshot, log.endOffset);
    const from = Math.max(taken, log.startOffset);
    if (from < log.endOffset) {
      for await (const header of log.scanHeaders(from)) {
        this.#producers.appended(header, batchBaseOffset(header));
        this.#batchesSinceSnapshot++;
      }
    }
    const led = await this.#services.snapshots.get(this.#ledKey);
    this.#led.restore(led);
    // Where nothing was led yet, nothing of it is in doubt but what came after the last snapshot.
    if (led === undefined) this.#led.add(0, taken);
    const isLost = (snapshot !== undefined && taken < 0) || this.#led.end > log.endOffset;
    this.#led.cut(log.endOffset);
    this.#led.closeGaps(this.#producers.baseOffsets(), log.endOffset);
    if (!isLost) return;
    // They tell of batches that the disk lost. Left standing, they would pass for true once the log has grown again, and
    // that it does before tables are written.
    this.#storeSnapshot();
    this.#services.snapshots.put(this.#ledKey, this.#led.encode());
    await new Promise<void>((resolve, reject) => {
      this.#services.durability.whenStored((error) => (error === null ? resolve() : reject(error)));
    });
  }

  appendBatch(batch: Buffer, sink: ReceiptSink | null, token: number): BatchAppended {
    this.#assertThere();
    const { limits, crc32c, durability } = this.#services;
    validateBatch(batch, limits.messageBytesMax, crc32c);
    const before = this.#producers.check(batch);
    // Its first copy may itself still wait for the disk, so the receipt of a duplicate waits like any other.
    if (before < 0) this.#appendNew(batch);
    else if (before < this.#recoveredEnd && !this.#led.has(before)) this.#leadAgain(batch, before);
    if (sink !== null) durability.wait(sink, token);
    return before < 0
      ? { baseOffset: batchBaseOffset(batch), duplicate: false }
      : { baseOffset: before, duplicate: true };
  }

  /** Takes one message of this turn, after everything that was appended before. */
  gather(record: StreamRecord): void {
    const builder = this.#builder;
    const { gathering, limits } = this.#services;
    if (builder.count === 0) gathering.began(this);
    gathering.bytes += builder.add(record);
    if (gathering.bytes > limits.uncommittedBytesMax) gathering.flush();
    if (builder.bytes >= GATHERED_BYTES_MAX || builder.count >= GATHERED_RECORDS_MAX) this.flush();
  }

  /** Writes what was gathered as one batch. A refusal of the disk is kept for those who wait for the commit. */
  flush(): void {
    const builder = this.#builder;
    if (builder.count === 0) return;
    const { gathering, crc32c } = this.#services;
    const count = builder.count;
    const bytesBefore = builder.bytes;
    const batch = builder.build(crc32c);
    gathering.bytes -= bytesBefore - builder.bytes;
    try {
      this.#log.append(batch);
    } catch (error) {
      gathering.failed(error as Error, count);
      return;
    }
    gathering.succeeded();
    this.#appended();
  }

  async read(offset: number, bytesMax: number): Promise<Buffer> {
    this.#assertThere();
    return this.#log.read(offset, bytesMax);
  }

  async offsetAt(timeMs: number): Promise<{ readonly offset: number; readonly timeMs: number } | null> {
    this.#assertThere();
    return this.#log.offsetAt(timeMs);
  }

  onAppend(listener: () => void): () => void {
    const waiter = { listener };
    this.#waiters.add(waiter);
    return () => this.#waiters.delete(waiter);
  }

  truncateBefore(offset: number): void {
    this.#assertThere();
    this.flush();
    if (offset > this.#log.endOffset || offset < 0) {
      throw new CoreError('offset-out-of-range', `offset ${offset} is past the end, ${this.#log.endOffset}`);
    }
    this.#log.truncateBefore(offset);
    this.#services.durability.written();
  }

  configure(options: BatchLogOptions): void {
    this.#log.configure(options);
  }

  expire(nowMs: number): void {
    this.#log.expire(nowMs);
  }

  /** Stores the producers' state as it is now. Nothing to do where nothing was appended since. */
  storeSnapshot(): void {
    if (this.#batchesSinceSnapshot > 0 && !this.#deleted) this.#storeSnapshot();
  }

  #storeSnapshot(): void {
    this.#batchesSinceSnapshot = 0;
    const { snapshots, durability } = this.#services;
    snapshots.put(this.#snapshotKey, this.#producers.snapshot(this.#log.endOffset));
    if (this.#producers.producerCount > 0) this.#storeLed(this.#log.endOffset);
    durability.written();
  }

  /** Everything that was appended since the start, up to `end`, was led on. */
  #storeLed(end: number): void {
    this.#led.add(this.#recoveredEnd, end);
    this.#services.snapshots.put(this.#ledKey, this.#led.encode());
  }

  /** From now on nothing is taken; whoever waits is woken to see it. */
  async delete(): Promise<void> {
    this.#deleted = true;
    this.#services.gathering.bytes -= this.#builder.clear();
    this.#services.snapshots.remove(this.#snapshotKey);
    this.#services.snapshots.remove(this.#ledKey);
    this.#wake();
    await this.#log.delete();
  }

  #appendNew(batch: Buffer): void {
    const records = this.#outlet.open(batch);
    this.flush();
    const baseOffset = this.#log.append(batch);
    this.#producers.appended(batch, baseOffset);
    this.#services.durability.written();
    const isLed = records !== null && this.#outlet.publish(batch, records);
    // In one commit with what it was led to. A batch that nobody wanted may be led on again as well.
    if (isLed && batch.readInt32BE(BatchField.producerId) >= 0) this.#storeLed(batchNextOffset(batch));
    this.#appended();
  }

  /** It may be that only the stream has it, so everybody else gets it now, and some perhaps a second time. */
  #leadAgain(batch: Buffer, baseOffset: number): void {
    placeBatch(batch, baseOffset);
    const records = this.#outlet.reopen(batch);
    this.#led.add(baseOffset, batchNextOffset(batch));
    if (records === null || !this.#outlet.publish(batch, records)) return;
    this.#services.snapshots.put(this.#ledKey, this.#led.encode());
    this.#services.durability.written();
  }

  #appended(): void {
    if (++this.#batchesSinceSnapshot >= SNAPSHOT_BATCHES) this.storeSnapshot();
    if (this.#waiters.size > 0) this.#wake();
  }

  #wake(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.listener();
  }

  #assertThere(): void {
    if (this.#deleted) throw new CoreError('not-found', 'the stream was deleted');
  }
}
