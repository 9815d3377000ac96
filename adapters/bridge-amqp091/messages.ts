/**
 * Messages of a bridge ⇔ what is published to and delivered by an outside broker of AMQP 0-9-1, with the same mappings as the
 * server's. Called by `outbound.ts` and `inbound.ts` for each message; keeps nothing.
 */

import { Buffer } from 'node:buffer';
import type { ConsumeMessage } from 'amqplib';
import {
  amqp091FromMessage,
  ContentFacts,
  contentFromMessage,
  encodeRoute,
  isLongRoute,
  messageFromAmqp091,
  nativeFromParts,
  routeBytes,
  scanContent,
  withoutClaims,
} from '../../mappings/amqp091.ts';
import { type Message, type Properties, ROOT_EXCHANGE, swapSeparators } from '../../src/core/index.ts';
import { routeOf } from './routes.ts';
import { type InOptions, NAME_BYTES_MAX } from './settings.ts';
import { contentOf } from './wire.ts';

export interface Outgoing {
  readonly exchange: string;
  readonly key: string;
  /** Both, as in a publish. */
  readonly route: Buffer;
  readonly content: Buffer;
}

export interface OutgoingRules {
  readonly exchange: string;
  /** Whose user-id is passed on; null: anybody's. */
  readonly user: string | null;
  readonly contentBytesMax: number;
}

/** Null where the address is too long for a key of this exchange. */
export function outgoingFrom(message: Message, rules: OutgoingRules, nowMs: number): Outgoing | null {
  const { exchange, key, long } = routeOf(message.address, rules.exchange);
  if (Buffer.byteLength(exchange) > NAME_BYTES_MAX || Buffer.byteLength(key) > NAME_BYTES_MAX) return null;
  const told = withoutForeignUser(message, rules.user);
  const content = long
    ? contentFromMessage(told, true, nowMs, rules.contentBytesMax)
    : amqp091FromMessage(told, ROOT_EXCHANGE, nowMs, rules.contentBytesMax).content;
  return { exchange, key, route: encodeRoute(exchange, key), content };
}

function withoutForeignUser(message: Message, user: string | null): Message {
  if (user === null) return message;
  const { userId, ...others } = message.properties;
  if (userId === undefined || userId === user) return message;
  return message.with({ properties: others satisfies Properties });
}

const facts = new ContentFacts();

/** Throws MalformedTableError, or an Error where the properties were not kept. */
export function messageFromDelivery(
  delivery: ConsumeMessage,
  queue: string,
  addressFrom: InOptions['addressFrom'],
  nowMs: number,
): Message {
  const content = contentOf(delivery);
  if (content === null) throw new Error('the properties are not there');
  const came = nativeFromParts(delivery.fields.exchange, delivery.fields.routingKey, content);
  const contentAt = routeBytes(came);
  scanContent(came, contentAt, came.length, facts);
  const native = facts.special ? withoutClaims(came, contentAt, isLongRoute(came)) : came;
  const message = messageFromAmqp091(native, delivery.content, nowMs);
  const byQueue = addressFrom === 'queue' || message.address === '';
  return byQueue ? message.with({ address: swapSeparators(queue) }) : message;
}
