/**
 * Durable queues, and streams read like them, in MQTT's words: which queue and which part of it a topic filter names, which topics settle a delivery
 * and what they settle, and the user properties that a delivery carries so that it can be settled. Pure; used by the
 * adapter's `queues/`. The rules for users are in docs/queues.md.
 *
 * | topic or filter                         | meaning                                              |
 * |-----------------------------------------|------------------------------------------------------|
 * | `$queue/<queue>[/<filter>]`, also `$q/` | the queue, or of it what the filter matches          |
 * | `$dlq/<queue>[/<filter>]`               | the dead letters of that queue                       |
 * | …`/$ack`, …`/$nack`, …`/$reject`        | to publish to: settles what the properties name      |
 */

import { Buffer } from 'node:buffer';
import {
  DEAD_LETTER_ROOT,
  MANY,
  type Outcome,
  Pattern,
  QUEUE_ROOT,
  queueNameFromAddress,
  type Token,
} from '../src/core/index.ts';
import { mqtt5Codec } from './mqtt.ts';
import { MessageProperty, PROPERTY_BY_ID } from './mqtt-properties.ts';
import {
  addressFromTopic,
  explainInvalidFilter,
  filterFromPattern,
  patternFromFilter,
} from './mqtt-topics.ts';

/** A queue and what is wanted of it. */
export interface QueueFilter {
  readonly queue: string;
  /** Relative to the queue; all of it where the filter says no more. */
  readonly tokens: readonly Token[];
  /** The filter with the root spelled out: for rights, and to tell whether two filters are the same. */
  readonly filter: string;
}

/** What a publish to a control topic asks for. */
export interface Settlement {
  readonly queue: string;
  readonly outcome: Outcome;
}

/** What a delivery of a queue says of itself. */
export interface QueueDelivery {
  readonly queue: string;
  /** Empty where no group was named. */
  readonly group: string;
  readonly offset: number;
  /** From 1. */
  readonly attempt: number;
}

const ALIAS = '$q/';
const OUTCOMES: Readonly<Record<string, Outcome>> = {
  $ack: 'accepted',
  $nack: 'modified',
  $reject: 'rejected',
};

/** User properties of queue deliveries. What a publisher sent under these names is shown under `x-source-…`. */
const NAMES = {
  messageId: 'message-id',
  groupId: 'group-id',
  queue: 'queue',
  offset: 'offset',
  attempt: 'delivery-attempt',
} as const;
const OWN_NAMES: ReadonlySet<string> = new Set(Object.values(NAMES));
const SOURCE_PREFIX = 'x-source-';

/** The topic or filter with its root spelled out. */
export function expandQueueAlias(topic: string): string {
  return topic.startsWith(ALIAS) ? `${QUEUE_ROOT}/${topic.slice(ALIAS.length)}` : topic;
}

/** Whether the topic or filter belongs to a queue, rightly or not. */
export function isQueueTopic(topic: string): boolean {
  if (topic.charCodeAt(0) !== 0x24) return false;
  const slash = topic.indexOf('/');
  const root = slash < 0 ? topic : topic.slice(0, slash);
  return root === QUEUE_ROOT || root === '$q' || root === DEAD_LETTER_ROOT;
}

/** The queue and filter of a subscription, or why it is none. The filter is one of `isQueueTopic`. */
export function queueFilterFromFilter(text: string): QueueFilter | string {
  const filter = expandQueueAlias(text);
  const invalid = explainInvalidFilter(filter);
  if (invalid !== null) return invalid;
  const pattern = patternFromFilter(filter);
  const level = pattern?.tokens[1];
  if (pattern === null || typeof level !== 'string') return 'a queue is named by one level without wildcards';
  const queue = queueNameFromAddress(`${pattern.tokens[0] as string}/${level}`);
  if (queue === null) return 'a queue has a name';
  if (pattern.tokens.some((token) => typeof token === 'string' && Object.hasOwn(OUTCOMES, token))) {
    return 'control topics are to publish to';
  }
  const tokens: readonly Token[] = pattern.tokens.length === 2 ? [MANY] : pattern.tokens.slice(2);
  return { queue, tokens, filter: filterFromPattern(pattern) as string };
}

/** What a publish to this topic settles; null for a topic of messages, text for one that is neither. */
export function settlementFromTopic(topic: string): Settlement | string | null {
  if (!topic.includes('/$') || !isQueueTopic(topic)) return null;
  const levels = topic.split('/');
  const at = levels.findIndex((level) => Object.hasOwn(OUTCOMES, level));
  if (at < 2) return null;
  if (at !== levels.length - 1) return `${levels[at] as string} is the last level`;
  const queue = queueNameFromAddress(addressFromTopic(expandQueueAlias(topic)));
  return queue === null
    ? 'a queue has a name'
    : { queue, outcome: OUTCOMES[levels[at] as string] as Outcome };
}

/** The delivery that the MQTT 5 properties of a settlement name, or why they name none. */
export function settledFromProperties(
  native: Uint8Array,
  queue: string,
): { readonly group: string; readonly offset: number; readonly note: string } | string {
  const { messageId, groupId, headers } = mqtt5Codec.decode(native);
  const text = messageId !== undefined && 'value' in messageId ? String(messageId.value) : '';
  const colon = text.lastIndexOf(':');
  if (colon >= 0 && text.slice(0, colon) !== queue) return `message-id '${text}' is not of queue '${queue}'`;
  const offset = text.slice(colon + 1);
  if (!/^-?\d{1,15}$/.test(offset)) return `message-id '${text}' is not <queue>:<offset>`;
  const reason = headers.find(({ name }) => name === 'reason')?.value;
  const note = reason?.kind === 'string' ? reason.value : '';
  return { group: groupId ?? '', offset: Number(offset), note };
}

/** The MQTT 5 properties of a delivery: its own first, then those of the message. */
export function mqttPropertiesFromQueueDelivery(native: Uint8Array, delivery: QueueDelivery): Uint8Array {
  const { queue, group, offset, attempt } = delivery;
  const pieces: Uint8Array[] = [];
  if (group !== '') {
    pushPair(pieces, NAMES.messageId, `${queue}:${offset}`);
    pushPair(pieces, NAMES.groupId, group);
  }
  pushPair(pieces, NAMES.queue, queue);
  pushPair(pieces, NAMES.offset, String(offset));
  pushPair(pieces, NAMES.attempt, String(attempt));
  pushRenamed(pieces, native);
  return Buffer.concat(pieces);
}

/** A stream and what is wanted of it. */
export interface StreamFilter {
  readonly stream: string;
  /** Of whole addresses; null: everything. */
  readonly pattern: Pattern | null;
  /** With the root spelled out. */
  readonly filter: string;
}

/** Where a reader begins. `at` is an offset, or with `time` milliseconds since 1970. */
export type StreamStart = 'earliest' | 'latest' | { readonly at: number; readonly time: boolean };

const STREAM_ROOT = '$stream/';
const STREAM_ALIAS = '$s/';

/** The stream and filter of a subscription to `$stream/<stream>[/<filter>]`, or why it is none. */
export function streamFilterFromFilter(text: string): StreamFilter | string {
  const filter = text.startsWith(STREAM_ALIAS) ? STREAM_ROOT + text.slice(STREAM_ALIAS.length) : text;
  const pattern = patternFromFilter(filter);
  if (pattern === null) return explainInvalidFilter(filter) ?? 'not a topic filter';
  const [, stream, ...rest] = pattern.tokens;
  if (typeof stream !== 'string' || stream === '') return 'a stream is named by one level without wildcards';
  const isEverything = rest.length === 0 || (rest.length === 1 && rest[0] === MANY);
  return { stream, pattern: isEverything ? null : new Pattern(rest), filter };
}

/** What the user property `offset` asks for; null for text that is none of it. */
export function streamStartFromText(text: string): StreamStart | null {
  if (text === '' || text === 'latest') return 'latest';
  if (text === 'earliest') return 'earliest';
  const number = /^(ts=)?(\d{1,15})$/.exec(text);
  return number === null ? null : { at: Number(number[2]), time: number[1] !== undefined };
}

/** The MQTT 5 properties of a stream's record: where it stands, and then its own. */
export function mqttPropertiesFromStreamRecord(
  native: Uint8Array,
  record: { readonly partition: number; readonly offset: number; readonly timestampMs: number },
): Uint8Array {
  const pieces: Uint8Array[] = [];
  pushPair(pieces, 'x-stream-offset', String(record.offset));
  pushPair(pieces, 'x-stream-partition', String(record.partition));
  pushPair(pieces, 'x-stream-timestamp', String(record.timestampMs));
  return Buffer.concat([...pieces, native]);
}

/** The properties as they are, but for user properties whose names are the delivery's own. */
function pushRenamed(pieces: Uint8Array[], native: Uint8Array): void {
  const buffer = Buffer.from(native.buffer, native.byteOffset, native.byteLength);
  let from = 0;
  let at = 0;
  while (at < buffer.length) {
    const start = at;
    const definition = PROPERTY_BY_ID[buffer[at++] as number];
    if (definition === undefined) break;
    if (definition.type === 'byte') at += 1;
    else if (definition.type === 'u16') at += 2;
    else if (definition.type === 'u32') at += 4;
    else if (definition.type === 'varint') while (((buffer[at++] ?? 0) & 0x80) !== 0);
    else if (definition.type === 'pair') {
      const nameEnd = at + 2 + lengthAt(buffer, at);
      const end = nameEnd + 2 + lengthAt(buffer, nameEnd);
      const name = buffer.toString('utf8', at + 2, nameEnd);
      at = end;
      if (!OWN_NAMES.has(name)) continue;
      pieces.push(buffer.subarray(from, start));
      pushPair(pieces, SOURCE_PREFIX + name, buffer.toString('utf8', nameEnd + 2, end));
      from = end;
    } else at += 2 + lengthAt(buffer, at);
  }
  pieces.push(buffer.subarray(from));
}

function lengthAt(buffer: Buffer, at: number): number {
  return ((buffer[at] ?? 0) << 8) | (buffer[at + 1] ?? 0);
}

function pushPair(pieces: Uint8Array[], name: string, value: string): void {
  pieces.push(Buffer.from([MessageProperty.userProperty]), textPiece(name), textPiece(value));
}

function textPiece(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8').subarray(0, 0xffff);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}
