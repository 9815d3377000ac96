/**
 * Writes a Fetch response as a list of pieces: small ones with the fields, and between them the stored batches, which
 * are neither copied nor looked into. What it writes is what the table in `data-apis.ts` says, which a test holds it
 * against. Fields that this server never sets (aborted transactions, diverging epochs, other replicas) are written as
 * the protocol says that nothing is.
 */

import { Writer } from './writer.ts';

export interface FetchedTopic {
  /** Versions up to 12. */
  readonly topic: string;
  /** Versions from 13 on: 32 hexadecimal digits. */
  readonly topicId: string;
  readonly partitions: readonly FetchedPartition[];
}

export interface FetchedPartition {
  readonly partition: number;
  readonly errorCode: number;
  readonly highWatermark: number;
  readonly logStartOffset: number;
  /** Whole batches; empty for none. */
  readonly records: Buffer;
}

const FLEXIBLE_FROM = 12;
const IDS_FROM = 13;
const SESSIONS_FROM = 7;
const LOG_START_FROM = 5;
const REPLICA_FROM = 11;
const NO_REPLICA = -1;

export interface FetchResponse {
  readonly errorCode: number;
  readonly sessionId: number;
  readonly topics: readonly FetchedTopic[];
}

/** The whole frame, in the order of sending. */
export function encodeFetchResponse(
  version: number,
  correlationId: number,
  response: FetchResponse,
): Uint8Array[] {
  const flexible = version >= FLEXIBLE_FROM;
  const length = Buffer.allocUnsafe(4);
  const pieces: Uint8Array[] = [length];
  let bytes = 0;
  const writer = new Writer();
  writer.int32(correlationId);
  if (flexible) writer.uvarint(0);
  writer.int32(0); // throttle time
  if (version >= SESSIONS_FROM) {
    writer.int16(response.errorCode);
    writer.int32(response.sessionId);
  }
  writer.count(response.topics.length, flexible);
  for (const { topic, topicId, partitions } of response.topics) {
    if (version < IDS_FROM) writer.string(topic, flexible);
    else writer.uuid(topicId);
    writer.count(partitions.length, flexible);
    for (const each of partitions) {
      writePartition(writer, version, flexible, each);
      if (each.records.length > 0) {
        const fields = writer.cut();
        pieces.push(fields, each.records);
        bytes += fields.length + each.records.length;
      }
      if (flexible) writer.uvarint(0);
    }
    if (flexible) writer.uvarint(0);
  }
  if (flexible) writer.uvarint(0);
  const rest = writer.cut();
  pieces.push(rest);
  length.writeInt32BE(bytes + rest.length, 0);
  return pieces;
}

function writePartition(writer: Writer, version: number, flexible: boolean, each: FetchedPartition): void {
  writer.int32(each.partition);
  writer.int16(each.errorCode);
  writer.int64(each.highWatermark);
  writer.int64(each.highWatermark); // nothing here is ever part of an unfinished transaction
  if (version >= LOG_START_FROM) writer.int64(each.logStartOffset);
  writer.count(-1, flexible); // no list of aborted transactions
  if (version >= REPLICA_FROM) writer.int32(NO_REPLICA);
  writer.bytesLength(each.records.length, flexible);
}
