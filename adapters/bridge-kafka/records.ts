/**
 * Messages as records of an outside Kafka, and batches of them. Called by the producer for each batch of the bridge. What is
 * written into a record is decided by `mappings/kafka.ts`, so that another gateway, or this one, makes the same message of it again.
 * Pure.
 */

import type { MessageRecord } from '@platformatic/kafka';
import { kafkaFromAddress, recordCodec } from '../../mappings/kafka.ts';
import type { Message } from '../../src/core/index.ts';
import { partitionOfKey } from './partitioner.ts';

/** A broker closes the connection over a larger request (`socket.request.max.bytes`). */
export const RECORD_BYTES_MAX = 96 * 1024 * 1024;
/** Kafka's batch header. */
const BATCH_BYTES = 61;
/** Lengths, offset and time of a record, at most. */
const RECORD_BYTES = 32;
const HEADER_BYTES = 10;

/** One message of the batch that the bridge gave, as a record. */
export interface OutRecord {
  /** Its place in the batch. */
  readonly index: number;
  readonly topic: string;
  /** What decides its partition; null: any. */
  readonly routing: Uint8Array | null;
  /** About as many as it takes uncompressed. */
  readonly bytes: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: Map<Buffer, Buffer>;
  readonly timestampMs: number;
}

/** Null: no topic name stands for its address. */
export function recordFrom(message: Message, index: number, keyless: 'address' | 'spread'): OutRecord | null {
  const { address } = message;
  if (address === '' || address.includes('\u0000')) return null;
  const topic = kafkaFromAddress(address);
  const { key, value, headers, timestampMs } = recordCodec.recordFromMessage(message, topic, null);
  // Each name is an object of its own, so that a map keeps names that repeat, in their order.
  const named = new Map<Buffer, Buffer>();
  let bytes = RECORD_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
  for (const header of headers) {
    const name = Buffer.from(header.name);
    bytes += HEADER_BYTES + name.length + (header.value?.length ?? 0);
    named.set(name, header.value as Buffer);
  }
  const routing = key ?? (keyless === 'address' ? Buffer.from(address) : null);
  const timeMs = timeThatFits(timestampMs) ?? timeThatFits(message.timestampMs) ?? 0;
  return { index, topic, routing, bytes, key, value, headers: named, timestampMs: timeMs };
}

/** A publisher may say any time; one that cannot be written must not hold up what comes after it. */
function timeThatFits(ms: number): number | null {
  const whole = Math.trunc(ms);
  return Number.isSafeInteger(whole) && whole >= 0 ? whole : null;
}

/** Records of one partition that are sent as one batch. */
export interface Chunk {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly OutRecord[];
}

/** Which partition comes next for records that may go to any, by topic. */
export type Spread = Map<string, number>;

/**
 * Places records in partitions, in their order, and cuts each partition's into chunks of at most `bytesMax`. `partitionsOf` tells how
 * many a topic has.
 */
export function chunksOf(
  records: readonly OutRecord[],
  partitionsOf: (topic: string) => number,
  spread: Spread,
  bytesMax: number,
): Chunk[][] {
  const open = new Map<string, { chunk: OutRecord[]; bytes: number; chunks: Chunk[] }>();
  const turns = new Map<string, number>();
  for (const record of records) {
    const { topic, routing, bytes } = record;
    let partition: number;
    if (routing !== null) partition = partitionOfKey(routing, partitionsOf(topic));
    else {
      let turn = turns.get(topic);
      if (turn === undefined) {
        turn = spread.get(topic) ?? 0;
        spread.set(topic, turn + 1);
        turns.set(topic, turn);
      }
      partition = turn % partitionsOf(topic);
    }
    const name = `${topic}:${partition}`;
    let lane = open.get(name);
    if (lane === undefined) {
      lane = { chunk: [], bytes: BATCH_BYTES, chunks: [] };
      open.set(name, lane);
    }
    if (lane.chunk.length === 0 || lane.bytes + bytes > bytesMax) {
      lane.chunk = [];
      lane.bytes = BATCH_BYTES;
      lane.chunks.push({ topic, partition, records: lane.chunk });
    }
    lane.chunk.push(record);
    lane.bytes += bytes;
  }
  return [...open.values()].map(({ chunks }) => chunks);
}

/** In two, so that what is refused for one record is found in a few steps. */
export function halvesOf(chunk: Chunk): [Chunk, Chunk] {
  const middle = chunk.records.length >> 1;
  return [
    { ...chunk, records: chunk.records.slice(0, middle) },
    { ...chunk, records: chunk.records.slice(middle) },
  ];
}

/** As the library takes them. */
export function messagesOf(chunk: Chunk): MessageRecord[] {
  const { topic, partition } = chunk;
  return chunk.records.map(({ key, value, headers, timestampMs }) => ({
    topic,
    partition,
    timestamp: BigInt(timestampMs),
    headers,
    // Null is a record without a value, which the library writes and its types leave out.
    value: value as Buffer,
    ...(key === null ? {} : { key: key as Buffer }),
  }));
}
