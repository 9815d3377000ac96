/**
 * What becomes of a message that could not be given to anybody, for queues, mapping rules and bridges.
 *
 * Where messages go that nobody consumed: to an exchange named by the queue, with a history in the header
 * `x-death` (newest first, one entry for each queue and reason, with a count). They are published in the same
 * commit that removes them from the queue, so that a crash between the two cannot lose them.
 *
 * Only histories that the core wrote are believed: they say where a dead letter is sent back to, and which ones go in
 * circles. What the core wrote has no encoded form of a protocol (`codec`); what clients publish either has one or
 * lost its claims on the way in (`withoutHistory`).
 */

import { Buffer } from 'node:buffer';
import { bufferName, exchangeAddress, originOf, swapSeparators } from './address.ts';
import type { DiscardReason } from './group-context.ts';
import type { QueueSpec } from './index.ts';
import type { Header, HeaderValue, Message } from './message.ts';

export const DEATH_HEADER = 'x-death';
const FIRST_DEATH_PREFIX = 'x-first-death-';
/** Written beside the others by other brokers. */
const LAST_DEATH_PREFIX = 'x-last-death-';
const FIRST_DEATH_QUEUE = `${FIRST_DEATH_PREFIX}queue`;

const REASONS: Record<DiscardReason, string> = {
  rejected: 'rejected',
  expired: 'expired',
  overflow: 'maxlen',
  failed: 'delivery_limit',
};

/** Why a message died, and where it goes where its queue names no exchange for that. */
export interface Death {
  readonly reason: DiscardReason;
  /** What a consumer said of it; empty where nobody said anything. */
  readonly note: string;
  /** Null: nowhere. */
  readonly address: string | null;
}

/**
 * The message as its dead-letter exchange gets it, or null where the queue has none or it has been here before
 * for the same reason without anybody rejecting it: such a circle would never end.
 */
export function deadLetterOf(
  message: Message,
  via: string | null,
  queue: QueueSpec,
  death: Death,
  nowMs: number,
): Message | null {
  const target = queue.deadLetter;
  const { reason, note } = death;
  if (target === null && death.address === null) return null;
  const origin = originOf(message.address, via);
  const headers = believedHeaders(message);
  const deaths = deathsOf(headers);
  if (reason !== 'rejected' && isCircle(deaths, queue.name)) return null;
  const text = REASONS[reason];
  const same = deaths.findIndex((d) => textOf(d, 'queue') === queue.name && textOf(d, 'reason') === text);
  const count = same < 0 ? 1n : countOf(deaths[same] as readonly Header[]) + 1n;
  const entry = deathOf(count, text, ['queue', queue.name], note, origin, nowMs);
  const history = historyOf([entry, ...deaths.filter((_, i) => i !== same)]);
  return message.with({
    address:
      target === null
        ? (death.address as string)
        : exchangeAddress(target.exchange, target.key ?? origin.key),
    // What has no other place than a queue of dead letters is kept there whatever its publisher asked.
    reliability: target === null && message.reliability === 0 ? 1 : message.reliability,
    expiresAtMs: 0,
    retain: false,
    properties: {
      ...message.properties,
      headers: [
        { name: DEATH_HEADER, value: history },
        ...headers.filter(({ name }) => !isHistory(name)),
        ...firstDeath(headers, text, queue.name, origin.exchange),
      ],
    },
    body: Buffer.from(message.body.buffer, message.body.byteOffset, message.body.length),
  });
}

/**
 * The message as the queue of dead letters gets it that a mapping rule could not make something of, or that the other
 * side of a bridge does not want. Its address stays.
 */
export function undeliverable(
  message: Message,
  by: { readonly kind: 'mapping' | 'bridge'; readonly name: string },
  reason: string,
  detail: string,
  nowMs: number,
): Message {
  const headers = believedHeaders(message);
  const origin = originOf(message.address, null);
  const entry = deathOf(1n, reason, [by.kind, by.name], detail, origin, nowMs);
  return message.with({
    // Kept there whatever its publisher asked: somebody has to look at it.
    reliability: message.reliability === 0 ? 1 : message.reliability,
    expiresAtMs: 0,
    retain: false,
    properties: {
      ...message.properties,
      headers: [
        { name: DEATH_HEADER, value: historyOf([entry, ...deathsOf(headers)]) },
        ...headers.filter(({ name }) => name !== DEATH_HEADER),
      ],
    },
  });
}

/** One entry of a history. `by`: what gave the message up, and its name. */
function deathOf(
  count: bigint,
  reason: string,
  by: readonly [kind: string, name: string],
  detail: string,
  origin: { readonly exchange: string; readonly key: string },
  nowMs: number,
): Header[] {
  const entry: Header[] = [
    { name: 'count', value: { kind: 'i64', value: count } },
    { name: 'reason', value: { kind: 'string', value: reason } },
    { name: by[0], value: { kind: 'string', value: by[1] } },
    { name: 'time', value: { kind: 'timestamp', value: nowMs, seconds: true } },
    { name: 'exchange', value: { kind: 'string', value: origin.exchange } },
    {
      name: 'routing-keys',
      value: { kind: 'list', value: [{ kind: 'string', value: swapSeparators(origin.key) }] },
    },
  ];
  if (detail !== '') entry.push({ name: 'detail', value: { kind: 'string', value: detail } });
  return entry;
}

function historyOf(deaths: readonly (readonly Header[])[]): HeaderValue {
  return { kind: 'list', value: deaths.map((value) => ({ kind: 'map', value })) };
}

/** One entry of a dead letter's history. */
export interface PastDeath {
  /** Empty where it was not a queue that it died in. */
  readonly queue: string;
  /** The mapping rule that could not lead it on; empty elsewhere. */
  readonly mapping: string;
  /** The bridge that gave it up; empty elsewhere. */
  readonly bridge: string;
  readonly reason: string;
  readonly count: number;
  /** Milliseconds since 1970 of the last time; 0 where it is not known. */
  readonly timeMs: number;
  /** Where it was published, with its keys as publishers of that exchange write them. */
  readonly exchange: string;
  readonly keys: readonly string[];
  /** What a consumer said of it, or empty. */
  readonly note: string;
}

/** What its history says, newest first; none for a message that is no dead letter. */
export function pastDeathsOf(message: Message): PastDeath[] {
  return deathsOf(believedHeaders(message)).map((death) => {
    const time = death.find(({ name }) => name === 'time')?.value;
    const keys = death.find(({ name }) => name === 'routing-keys')?.value;
    return {
      queue: textOf(death, 'queue'),
      mapping: textOf(death, 'mapping'),
      bridge: textOf(death, 'bridge'),
      reason: textOf(death, 'reason'),
      count: Number(countOf(death)),
      timeMs: time?.kind === 'timestamp' ? time.value : 0,
      exchange: textOf(death, 'exchange'),
      keys:
        keys?.kind === 'list' ? keys.value.flatMap((key) => (key.kind === 'string' ? [key.value] : [])) : [],
      note: textOf(death, 'detail'),
    };
  });
}

/** Where a dead letter comes from. */
export interface DeathOrigin {
  /**
   * The queue in which it first died, or the buffer of the bridge that gave it up; null where a mapping rule could not
   * lead it on: it was published, then.
   */
  readonly queue: string | null;
  /** The bridge that brought it in and could make nothing of it: there is no way back to that. Null elsewhere. */
  readonly cameInBy: string | null;
  /** The exchange by which it came there; null for none. */
  readonly via: string | null;
  /** It as it was there, without its history: what dies again begins a new one. */
  readonly message: Message;
}

/** Null for a message that has no history. */
export function originOfDeath(message: Message): DeathOrigin | null {
  const headers = believedHeaders(message);
  const deaths = pastDeathsOf(message);
  const firstQueue = headers.find(({ name }) => name === FIRST_DEATH_QUEUE)?.value;
  const known = firstQueue?.kind === 'string' ? firstQueue.value : null;
  const first = deaths.findLast(({ queue }) => queue === known) ?? deaths.at(-1);
  if (first === undefined) return null;
  const bare = { ...message.properties, headers: headers.filter(({ name }) => !isHistory(name)) };
  if (first.queue === '' && first.mapping === '') {
    const { bridge, reason } = first;
    if (bridge === '') return null;
    // What a bridge gave up has the address that it was to have on the other side, or that it came with from there.
    const as = { via: null, message: message.with({ properties: bare }) };
    return reason === REASONS.rejected
      ? { ...as, queue: bufferName(bridge), cameInBy: null }
      : { ...as, queue: null, cameInBy: bridge };
  }
  const { exchange, keys } = first;
  // Rules put it into their queue under its own address.
  const isAsItWas = first.queue === '' && first === deaths[0];
  return {
    queue: first.queue === '' ? null : first.queue,
    cameInBy: null,
    via: exchange === '' ? null : exchange,
    message: message.with({
      address: isAsItWas ? message.address : exchangeAddress(exchange, swapSeparators(keys[0] ?? '')),
      properties: bare,
    }),
  };
}

/** The message without what it says of deaths; itself where it says nothing. */
export function withoutHistory(message: Message): Message {
  const { properties } = message;
  if (!properties.headers.some(({ name }) => isHistory(name))) return message;
  return message.with({ properties: { ...properties, headers: withoutDeaths(properties.headers) } });
}

/** Its headers, with a history only where the core wrote that. */
export function believedHeaders(message: Message): readonly Header[] {
  const { headers } = message.properties;
  return message.codec === null ? headers : withoutDeaths(headers);
}

/** Whether a header of this name tells how a message died. Without it a circle of dead letters would not end. */
export function isHistory(name: string): boolean {
  return name === DEATH_HEADER || name.startsWith(FIRST_DEATH_PREFIX) || name.startsWith(LAST_DEATH_PREFIX);
}

function withoutDeaths(headers: readonly Header[]): readonly Header[] {
  return headers.filter(({ name }) => !isHistory(name));
}

function firstDeath(
  headers: readonly Header[],
  reason: string,
  queue: string,
  exchange: string,
): readonly Header[] {
  const known = headers.filter((header) => header.name.startsWith(FIRST_DEATH_PREFIX));
  if (known.length > 0) return known;
  return [
    { name: 'x-first-death-reason', value: { kind: 'string', value: reason } },
    { name: FIRST_DEATH_QUEUE, value: { kind: 'string', value: queue } },
    { name: 'x-first-death-exchange', value: { kind: 'string', value: exchange } },
  ];
}

function deathsOf(headers: readonly Header[]): (readonly Header[])[] {
  const value = headers.find((header) => header.name === DEATH_HEADER)?.value;
  if (value?.kind !== 'list') return [];
  return value.value.flatMap((item) => (item.kind === 'map' ? [item.value] : []));
}

function isCircle(deaths: readonly (readonly Header[])[], queue: string): boolean {
  const here = deaths.some((death) => textOf(death, 'queue') === queue);
  return here && deaths.every((death) => textOf(death, 'reason') !== REASONS.rejected);
}

function textOf(death: readonly Header[], name: string): string {
  const value = death.find((header) => header.name === name)?.value;
  return value?.kind === 'string' ? value.value : '';
}

function countOf(death: readonly Header[]): bigint {
  const value = death.find((header) => header.name === 'count')?.value;
  return value?.kind === 'i64' ? value.value : 1n;
}
