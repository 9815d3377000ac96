/**
 * Reads a Produce request by hand: it is the only request whose number counts, and its records are left where they
 * lie. What it reads is what the table in `data-apis.ts` says, which a test holds it against:
 *
 * | versions | field                                                          |
 * |----------|----------------------------------------------------------------|
 * | 3+       | transactional id, string or null                               |
 * | 0+       | acks int16, timeout int32                                      |
 * | 0+       | topics, array of:                                              |
 * | 0-12, 13+ | name string, topic id uuid                                    |
 * | 0+       | partitions, array of: index int32, records bytes or null       |
 */

import { MalformedRequest, type Reader } from './reader.ts';

export interface ProduceRequest {
  readonly transactionalId: string | null;
  readonly acks: number;
  readonly timeoutMs: number;
  readonly topics: readonly ProduceTopic[];
}

export interface ProduceTopic {
  /** Empty where the version carries ids. */
  readonly name: string;
  /** 32 hexadecimal digits; empty where the version carries names. */
  readonly topicId: string;
  readonly partitions: readonly ProducePartition[];
}

export interface ProducePartition {
  readonly index: number;
  /** A view of the request. */
  readonly records: Buffer | null;
}

const FLEXIBLE_FROM = 9;
const TRANSACTIONAL_FROM = 3;
const IDS_FROM = 13;
const TOPIC_BYTES_MIN = 3;
const PARTITION_BYTES_MIN = 5;

export function decodeProduceRequest(version: number, reader: Reader): ProduceRequest {
  const flexible = version >= FLEXIBLE_FROM;
  const transactionalId = version >= TRANSACTIONAL_FROM ? reader.string(flexible, true) : null;
  const acks = reader.int16();
  const timeoutMs = reader.int32();
  const topics: ProduceTopic[] = [];
  for (let left = reader.count(flexible, false, TOPIC_BYTES_MIN); left > 0; left--) {
    const name = version < IDS_FROM ? (reader.string(flexible, false) as string) : '';
    const topicId = version < IDS_FROM ? '' : reader.uuid();
    const partitions: ProducePartition[] = [];
    for (let more = reader.count(flexible, false, PARTITION_BYTES_MIN); more > 0; more--) {
      const index = reader.int32();
      partitions.push({ index, records: reader.bytes(flexible, true) });
      if (flexible) reader.skipTags();
    }
    if (flexible) reader.skipTags();
    topics.push({ name, topicId, partitions });
  }
  if (flexible) reader.skipTags();
  if (reader.left > 0) throw new MalformedRequest(`${reader.left} bytes follow the request`);
  return { transactionalId, acks, timeoutMs, topics };
}
