/**
 * The way of records from a stream to everybody else: a batch that a producer appended is read once, and each of
 * its records is published to its address. Batches are not decoded while nobody else could want their records; with a
 * codec that has a `retainMarker` they are searched for it, and decompressed for that.
 * Belongs to one stream; its partitions ask `open` before they append a batch, so that one whose records are
 * malformed is refused while that is still possible, and call `publish` after it.
 */

import { Buffer } from 'node:buffer';
import { iterateBatches, RecordReader, recordArea } from './batch-records.ts';
import type { Clock } from './clock.ts';
import { CoreError } from './errors.ts';
import type { CoreCounters, CoreEvent, RecordCodec, StreamMessages } from './index.ts';
import type { Limits } from './limits.ts';
import type { MappingRule } from './mapping-rule.ts';
import type { Message } from './message.ts';
import { Pattern } from './pattern.ts';
import { BatchField, batchBaseOffset, batchNextOffset } from './record-batch.ts';
import type { Destination, Router } from './router.ts';

/** What an outlet needs of the core. */
export interface OutletServices {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly router: Router;
  readonly counters: CoreCounters;
  readonly records: RecordCodec;
  readonly decompress: (codec: number, bytes: Uint8Array, bytesMax: number) => Uint8Array;
  readonly report: (event: CoreEvent) => void;
  /**
   * Routes a record's message to every destination but `except` and remembers it where it asks for that. Returns
   * whether something durable may have been written. Must not throw CoreError: the record stands in its stream already.
   */
  readonly publishRecord: (message: Message, except: Destination) => boolean;
}

/** That somebody wants records is believed for so long without asking again: being wrong costs only a decode. */
const WANTED_BELIEVED_MS = 1_000;

/** With more rules than that, asking who wants what they lead to costs more than decoding in vain. */
const RULES_ASKED_MAX = 64;

/** Attribute of a batch that holds marks of transactions and no records of anybody. */
const CONTROL_BATCH = 32;

export class RecordOutlet {
  readonly #services: OutletServices;
  readonly #stream: Destination;
  /** Where records belong that no rule leads elsewhere. */
  readonly #address: string;
  readonly #addressPattern: Pattern;
  #rules: readonly MappingRule[] = [];
  #wanted = false;
  #generation = -1;
  #believedUntilMs = 0;
  #failureReported = false;

  constructor(services: OutletServices, stream: Destination, address: string) {
    this.#services = services;
    this.#stream = stream;
    this.#address = address;
    this.#addressPattern = Pattern.of(address);
  }

  get rules(): readonly MappingRule[] {
    return this.#rules;
  }

  /** The rules that capture for this stream, in the order in which they are asked for an address. */
  setRules(rules: readonly MappingRule[]): void {
    this.#rules = rules;
    this.#generation = -1;
    this.#believedUntilMs = 0;
  }

  /** The batch's records, checked and decompressed, or null where nobody wants them. Throws `corrupt-batch`. */
  open(batch: Buffer): Uint8Array | null {
    const { decompress, limits, records } = this.#services;
    const wanted = this.#isWanted();
    const { retainMarker } = records;
    if (!wanted && retainMarker === undefined) return null;
    const area = recordArea(batch, { decompress, bytesMax: limits.decompressedBytesMax });
    // Addresses remember whether or not anybody listens, so a record may be wanted by nobody and still count. The
    // search costs next to nothing; the decompression above, some milliseconds for a MiB, is what the promise costs.
    if (!wanted && retainMarker !== undefined && !holds(area, retainMarker)) return null;
    new RecordReader(batch, area).check();
    return area;
  }

  /** As `open`, of a batch that the stream has: it was perhaps taken unread, so what cannot be read is counted and passed over. */
  reopen(batch: Buffer): Uint8Array | null {
    try {
      return this.open(batch);
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      this.#services.counters.dropped++;
      this.#reportOnce(error, batchBaseOffset(batch));
      return null;
    }
  }

  /** Publishes each record of a batch that `open` has checked. Returns whether something durable may have been written. */
  publish(batch: Buffer, area: Uint8Array): boolean {
    const { records, limits, publishRecord, counters } = this.#services;
    const reader = new RecordReader(batch, area);
    let isWritten = false;
    for (let record = reader.next(); record !== null; record = reader.next()) {
      // Keys and headers may hold anything at all. The batch is appended, so what one record does must not stop
      // the ones after it.
      try {
        const address = this.#addressOf(record.key);
        if (address.length > limits.addressBytesMax) counters.dropped++;
        else if (publishRecord(records.messageFromRecord(record, address), this.#stream)) isWritten = true;
      } catch (error) {
        counters.dropped++;
        this.#reportOnce(error as Error, record.offset);
      }
    }
    return isWritten;
  }

  /** The messages of stored batches from `offset` on. What cannot be read is passed over and counted. */
  messagesOf(batches: Buffer, offset: number): StreamMessages {
    const { records, limits, decompress, counters } = this.#services;
    const messages: { offset: number; timestampMs: number; message: Message }[] = [];
    let nextOffset = offset;
    for (const batch of iterateBatches(batches)) {
      nextOffset = Math.max(nextOffset, batchNextOffset(batch));
      if ((batch.readInt16BE(BatchField.attributes) & CONTROL_BATCH) !== 0) continue;
      try {
        const reader = new RecordReader(
          batch,
          recordArea(batch, { decompress, bytesMax: limits.decompressedBytesMax }),
        );
        for (let record = reader.next(); record !== null; record = reader.next()) {
          if (record.offset < offset) continue;
          const message = records.messageFromRecord(record, this.#addressOf(record.key));
          messages.push({ offset: record.offset, timestampMs: record.timestampMs, message });
        }
      } catch (error) {
        counters.dropped++;
        this.#reportOnce(error as Error, nextOffset - 1);
      }
    }
    return { messages, nextOffset };
  }

  #addressOf(key: Uint8Array | null): string {
    for (const rule of this.#rules) {
      const address = rule.addressOf(key);
      if (address !== null) return address;
    }
    return this.#address;
  }

  #isWanted(): boolean {
    const { router, clock } = this.#services;
    if (router.generation === this.#generation) return this.#wanted;
    if (this.#wanted && clock.nowMs() < this.#believedUntilMs) return true;
    this.#generation = router.generation;
    this.#wanted =
      router.wanted(this.#addressPattern, this.#stream) ||
      this.#rules.length > RULES_ASKED_MAX ||
      this.#rules.some((rule) => router.wanted(rule.pattern, this.#stream));
    this.#believedUntilMs = clock.nowMs() + WANTED_BELIEVED_MS;
    return this.#wanted;
  }

  #reportOnce(error: Error, offset: number): void {
    if (this.#failureReported) return;
    this.#failureReported = true;
    this.#services.report({
      level: 'warn',
      text: 'a record could not be published to its address; further ones of this stream are only counted',
      details: { stream: this.#stream.name, offset, cause: error.message },
    });
  }
}

function holds(bytes: Uint8Array, sought: string): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(sought);
}
