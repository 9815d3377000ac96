/**
 * The Kafka receiver of the load generator: reads one partition by long polling with Fetch version 4, the same on every
 * broker, and hands each record's value on from its first byte. Requests: u32 size, i16 key, i16 version, i32
 * correlation, client id. Records follow the layout of record batches version 2, uncompressed.
 */
import type { PayloadListener } from './mqtt-client.ts';
import { WireClient } from './wire.ts';

const FETCH = 1;
const METADATA = 3;
const BATCH_HEAD_BYTES = 61;

const text = (value: string): Buffer => {
  const utf8 = Buffer.from(value);
  return Buffer.concat([Buffer.from([utf8.length >> 8, utf8.length & 255]), utf8]);
};

const int32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeInt32BE(value, index * 4);
  return bytes;
};

function request(key: number, version: number, ...body: Uint8Array[]): Buffer {
  const content = Buffer.concat([Buffer.from([0, key, 0, version]), int32(0), text('bench'), ...body]);
  return Buffer.concat([int32(content.length), content]);
}

export class KafkaReceiver extends WireClient {
  readonly #onPayload: PayloadListener;
  readonly #topic: string;
  #fetch: Buffer = Buffer.alloc(0);
  #offsetAt = 0;
  #offset = 0n;
  #next: ((body: Buffer) => void) | null = null;
  /** Place of the record that is being decoded. */
  #at = 0;

  constructor(port: number, onPayload: PayloadListener, topic: string) {
    super(port);
    this.#onPayload = onPayload;
    this.#topic = topic;
  }

  /** Makes the topic exist, then reads it from its first record on for ever. */
  async receive(): Promise<void> {
    await this.opened;
    for (let attempt = 0; ; attempt++) {
      const answer = await this.#ask(request(METADATA, 4, int32(1), text(this.#topic), Buffer.from([1])));
      if (answer.includes(this.#topic) && this.#isReady(answer)) break;
      if (attempt === 50) throw new Error(`topic ${this.#topic} does not appear`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const head = Buffer.concat([int32(-1, 500, 1, 32 << 20), Buffer.from([0]), int32(1), text(this.#topic)]);
    const partition = Buffer.concat([int32(1, 0), Buffer.alloc(8), int32(16 << 20)]);
    this.#fetch = request(FETCH, 4, head, partition);
    this.#offsetAt = this.#fetch.length - 12;
    this.#poll();
  }

  /** The topic's error code stands two bytes before its name: 0 when it can be read. */
  #isReady(metadata: Buffer): boolean {
    return metadata.readInt16BE(metadata.lastIndexOf(this.#topic) - 4) === 0;
  }

  #ask(bytes: Uint8Array): Promise<Buffer> {
    return new Promise((resolve) => {
      this.#next = (body) => resolve(Buffer.from(body));
      this.send(bytes);
      this.flush();
    });
  }

  #poll(): void {
    this.#fetch.writeBigInt64BE(this.#offset, this.#offsetAt);
    this.#next = (body) => {
      this.#takeFetch(body);
      this.#poll();
    };
    this.send(this.#fetch);
  }

  protected feed(bytes: Buffer, end: number): number {
    let at = 0;
    while (end - at >= 4) {
      const size = bytes.readInt32BE(at);
      if (at + 4 + size > end) break;
      this.#next?.(bytes.subarray(at + 8, at + 4 + size));
      at += 4 + size;
    }
    return at;
  }

  /** Response: throttle i32, topics [name, partitions [i32, error i16, 2 offsets i64, aborted array, records bytes]]. */
  #takeFetch(body: Buffer): void {
    let at = 8 + 2 + Buffer.byteLength(this.#topic) + 4 + 4;
    const error = body.readInt16BE(at);
    if (error !== 0) throw new Error(`fetch answered with error ${error}`);
    at += 2 + 16;
    const aborted = body.readInt32BE(at);
    at += 4 + Math.max(0, aborted) * 16;
    const end = at + 4 + Math.max(0, body.readInt32BE(at));
    at += 4;
    while (end - at >= BATCH_HEAD_BYTES) {
      const batchEnd = at + 12 + body.readInt32BE(at + 8);
      if (batchEnd > end) break;
      const base = body.readBigInt64BE(at);
      if (base >= this.#offset) this.#takeRecords(body, at);
      this.#offset = base + BigInt(body.readInt32BE(at + 23)) + 1n;
      at = batchEnd;
    }
  }

  #takeRecords(body: Buffer, batch: number): void {
    this.#at = batch + BATCH_HEAD_BYTES;
    for (let left = body.readInt32BE(batch + 57); left > 0; left--) {
      const length = this.#readVarint(body);
      const end = this.#at + length;
      this.#at++; // attributes
      this.#readVarint(body); // timestamp
      this.#readVarint(body); // offset
      const keyBytes = this.#readVarint(body);
      if (keyBytes > 0) this.#at += keyBytes;
      this.#readVarint(body); // length of the value
      this.#onPayload(body, this.#at);
      this.#at = end;
    }
  }

  #readVarint(body: Buffer): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = body[this.#at++]!;
      value |= (byte & 127) << shift;
      if (byte < 128) return (value >>> 1) ^ -(value & 1);
    }
  }
}
