/**
 * From what a broker answers to a fetch to messages. Leaves out what stands before the wanted offset (a broker sends whole batches),
 * the marks at the end of transactions, and the records of transactions that were taken back: a broker sends those too and says
 * whose they are. Called by the link in for each partition of an answer. Pure.
 */

import type { RecordsBatch } from '@platformatic/kafka';
import { GatewayHeader } from '../../mappings/header-values.ts';
import { recordCodec } from '../../mappings/kafka.ts';
import type { Message } from '../../src/core/index.ts';
import { addressOfTopic } from './names.ts';

const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const ABORT = 0;

export interface FetchedMessage {
  readonly offset: bigint;
  readonly message: Message;
}

export interface Fetched {
  readonly messages: readonly FetchedMessage[];
  /** Where to go on. */
  readonly next: bigint;
}

/** What an answer says of a partition. */
export interface FetchedPartition {
  readonly records?: readonly RecordsBatch[] | null;
  readonly abortedTransactions:
    | readonly { readonly producerId: bigint; readonly firstOffset: bigint }[]
    | null;
}

export function messagesFromFetch(
  topic: string,
  { records, abortedTransactions }: FetchedPartition,
  from: bigint,
): Fetched {
  const aborted = [...(abortedTransactions ?? [])].sort((a, b) => (a.firstOffset < b.firstOffset ? -1 : 1));
  /** Producers whose transaction, at this place, will have been taken back. */
  const takenBack = new Set<bigint>();
  const messages: FetchedMessage[] = [];
  let begun = 0;
  let next = from;
  for (const batch of records ?? []) {
    const last = batch.firstOffset + BigInt(batch.lastOffsetDelta);
    for (let one = aborted[begun]; one !== undefined && one.firstOffset <= last; one = aborted[++begun]) {
      takenBack.add(one.producerId);
    }
    if (last >= next) next = last + 1n;
    if ((batch.attributes & CONTROL) !== 0) {
      const key = batch.records[0]?.key;
      if (key && key.length >= 4 && key.readInt16BE(2) === ABORT) takenBack.delete(batch.producerId);
      continue;
    }
    if ((batch.attributes & TRANSACTIONAL) !== 0 && takenBack.has(batch.producerId)) continue;
    for (const record of batch.records) {
      const offset = batch.firstOffset + BigInt(record.offsetDelta);
      if (offset >= from) messages.push({ offset, message: messageFrom(topic, batch, record) });
    }
  }
  return { messages, next };
}

function messageFrom(topic: string, batch: RecordsBatch, record: RecordsBatch['records'][number]): Message {
  const headers = record.headers.map(([name, value]) => ({
    name: name === null ? '' : name.toString(),
    value,
  }));
  const isAppendTime = (batch.attributes & LOG_APPEND_TIME) !== 0;
  const timestampMs = Number(
    isAppendTime ? batch.maxTimestamp : batch.firstTimestamp + record.timestampDelta,
  );
  const told = headers.findLast(({ name, value }) => name === GatewayHeader.address && value !== null)?.value;
  const address = addressOfTopic(topic, told?.toString() ?? null);
  return recordCodec.messageFromRecord(
    { key: record.key, value: record.value, headers, timestampMs },
    address,
  );
}
