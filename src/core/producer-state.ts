/**
 * What one partition remembers of idempotent producers: for each its epoch and the sequence ranges of its last
 * batches, so that a batch sent twice is stored once and answered with its first offset, and a lost one shows as a
 * gap. `check` only looks; `appended` is called when the batch is in the log. The state is that of the log up to
 * an offset: a snapshot is stored now and then, and after a restart the headers of later batches complete it.
 *
 * Snapshot, big-endian:
 *
 * | size | field                                                                             |
 * |------|-----------------------------------------------------------------------------------|
 * |    1 | layout version, 1                                                                 |
 * |    8 | the offset up to which it holds                                                   |
 * |    4 | producer count; then for each, least recently used first:                         |
 * |    8 | producer id                                                                       |
 * |    2 | epoch                                                                             |
 * |    1 | range count, oldest first; then for each 4 first sequence, 4 record count, 8 base offset |
 */

import { Buffer } from 'node:buffer';
import { CoreError } from './errors.ts';
import { BatchField } from './record-batch.ts';

/** A producer may have this many batches under way, so a repeated one is among the last so many. */
const RANGES_MAX = 5;
const SEQUENCES = 2 ** 31;
const SNAPSHOT_VERSION = 1;
const SNAPSHOT_HEADER_BYTES = 13;
const PRODUCER_BYTES = 11;
const RANGE_BYTES = 16;

interface SequenceRange {
  readonly first: number;
  readonly count: number;
  readonly baseOffset: number;
}

interface ProducerEntry {
  epoch: number;
  /** Oldest first, at most RANGES_MAX. */
  readonly ranges: SequenceRange[];
}

export class ProducerState {
  /** In order of last use, which a Map keeps: the first is the one to forget. */
  readonly #producers = new Map<bigint, ProducerEntry>();
  readonly #producersMax: number;

  constructor(producersMax: number) {
    this.#producersMax = producersMax;
  }

  get producerCount(): number {
    return this.#producers.size;
  }

  /** Where the batches begin that a producer could send again, as far as is known. */
  *baseOffsets(): Iterable<number> {
    for (const { ranges } of this.#producers.values()) for (const { baseOffset } of ranges) yield baseOffset;
  }

  /**
   * The offset at which this very batch was appended before, or -1 for a new batch that may be appended. Throws
   * CoreError `out-of-order-sequence` or `stale-producer`.
   */
  check(batch: Buffer): number {
    if (batch.readInt32BE(BatchField.producerId) < 0) return -1;
    const id = batch.readBigInt64BE(BatchField.producerId);
    const entry = this.#producers.get(id);
    // Nothing is known of it, or no longer: it may begin anywhere.
    if (entry === undefined) return -1;
    const epoch = batch.readInt16BE(BatchField.producerEpoch);
    const first = batch.readInt32BE(BatchField.baseSequence);
    if (epoch < entry.epoch)
      throw new CoreError('stale-producer', `producer ${id} has epoch ${entry.epoch}, this batch ${epoch}`);
    if (epoch > entry.epoch) {
      if (first === 0) return -1;
      throw new CoreError(
        'out-of-order-sequence',
        `producer ${id} begins epoch ${epoch} with ${first}, not 0`,
      );
    }
    const count = batch.readInt32BE(BatchField.recordCount);
    for (const range of entry.ranges) {
      if (range.first === first && range.count === count) return range.baseOffset;
    }
    const last = entry.ranges.at(-1) as SequenceRange;
    const expected = (last.first + last.count) % SEQUENCES;
    if (first === expected) return -1;
    throw new CoreError('out-of-order-sequence', `producer ${id} sent ${first} where ${expected} comes next`);
  }

  /** Remembers a batch that was appended at `baseOffset`. Only the batch's header is read. */
  appended(header: Buffer, baseOffset: number): void {
    if (header.readInt32BE(BatchField.producerId) < 0) return;
    const id = header.readBigInt64BE(BatchField.producerId);
    const epoch = header.readInt16BE(BatchField.producerEpoch);
    const range = {
      first: header.readInt32BE(BatchField.baseSequence),
      count: header.readInt32BE(BatchField.recordCount),
      baseOffset,
    };
    let entry = this.#producers.get(id);
    if (entry === undefined || entry.epoch !== epoch) entry = { epoch, ranges: [] };
    entry.ranges.push(range);
    if (entry.ranges.length > RANGES_MAX) entry.ranges.shift();
    this.#use(id, entry);
  }

  /** The whole state as bytes; `offset` is the end of the log that it belongs to. */
  snapshot(offset: number): Uint8Array {
    let bytes = SNAPSHOT_HEADER_BYTES;
    for (const entry of this.#producers.values()) bytes += PRODUCER_BYTES + entry.ranges.length * RANGE_BYTES;
    const snapshot = Buffer.allocUnsafe(bytes);
    let at = snapshot.writeUInt8(SNAPSHOT_VERSION, 0);
    at = snapshot.writeBigInt64BE(BigInt(offset), at);
    at = snapshot.writeInt32BE(this.#producers.size, at);
    for (const [id, entry] of this.#producers) {
      at = snapshot.writeBigInt64BE(id, at);
      at = snapshot.writeInt16BE(entry.epoch, at);
      at = snapshot.writeUInt8(entry.ranges.length, at);
      for (const range of entry.ranges) {
        at = snapshot.writeInt32BE(range.first, at);
        at = snapshot.writeInt32BE(range.count, at);
        at = snapshot.writeBigInt64BE(BigInt(range.baseOffset), at);
      }
    }
    return snapshot;
  }

  /**
   * Takes over a snapshot and returns the offset from which headers must be read to complete it, or -1 where it
   * cannot be used: it is damaged, or reaches past `endOffset` because the log lost its tail.
   */
  restore(bytes: Uint8Array | undefined, endOffset: number): number {
    this.#producers.clear();
    if (bytes === undefined || bytes.length < SNAPSHOT_HEADER_BYTES) return -1;
    const snapshot = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const offset = Number(snapshot.readBigInt64BE(1));
    if (snapshot[0] !== SNAPSHOT_VERSION || offset < 0 || offset > endOffset) return -1;
    let at = SNAPSHOT_HEADER_BYTES;
    for (let left = snapshot.readInt32BE(9); left > 0; left--) {
      at = this.#restoreProducer(snapshot, at);
      if (at < 0) {
        this.#producers.clear();
        return -1;
      }
    }
    return offset;
  }

  /** Returns the place after the producer, or -1 where the bytes end too soon. */
  #restoreProducer(snapshot: Buffer, start: number): number {
    if (start + PRODUCER_BYTES > snapshot.length) return -1;
    const id = snapshot.readBigInt64BE(start);
    const epoch = snapshot.readInt16BE(start + 8);
    const rangeCount = snapshot.readUInt8(start + 10);
    let at = start + PRODUCER_BYTES;
    if (rangeCount === 0 || at + rangeCount * RANGE_BYTES > snapshot.length) return -1;
    const ranges: SequenceRange[] = [];
    for (let i = 0; i < rangeCount; i++, at += RANGE_BYTES) {
      ranges.push({
        first: snapshot.readInt32BE(at),
        count: snapshot.readInt32BE(at + 4),
        baseOffset: Number(snapshot.readBigInt64BE(at + 8)),
      });
    }
    this.#use(id, { epoch, ranges });
    return at;
  }

  #use(id: bigint, entry: ProducerEntry): void {
    this.#producers.delete(id);
    this.#producers.set(id, entry);
    if (this.#producers.size <= this.#producersMax) return;
    const oldest = this.#producers.keys().next();
    if (!oldest.done) this.#producers.delete(oldest.value);
  }
}
