/**
 * Every method of AMQP 0-9-1 with RabbitMQ's extensions, as one table: class, number and fields in their order on
 * the wire. `method-codec.ts` decodes and encodes from it, so server and test client share it; the types of
 * arguments come from it too. AMQP 0-9-1 1.4 to 1.8.
 */

import type { Header } from '../../../src/core/index.ts';

/** Field types of AMQP 0-9-1 4.2.5; consecutive bits share bytes, the first in the lowest bit. */
export type FieldType = 'bit' | 'octet' | 'short' | 'long' | 'longlong' | 'shortstr' | 'longstr' | 'table';

interface FieldValues {
  readonly bit: boolean;
  readonly octet: number;
  readonly short: number;
  readonly long: number;
  /** Exact up to 2^53; larger ones name nothing that exists. */
  readonly longlong: number;
  readonly shortstr: string;
  readonly longstr: Uint8Array;
  readonly table: readonly Header[];
}

export interface MethodDefinition {
  readonly classId: number;
  readonly methodId: number;
  readonly fields: Readonly<Record<string, FieldType>>;
}

function define<const Fields extends Readonly<Record<string, FieldType>>>(
  classId: number,
  methodId: number,
  fields: Fields,
): { readonly classId: number; readonly methodId: number; readonly fields: Fields } {
  return { classId, methodId, fields };
}

const CLOSE = { replyCode: 'short', replyText: 'shortstr', classId: 'short', methodId: 'short' } as const;
const TUNE = { channelMax: 'short', frameMax: 'long', heartbeat: 'short' } as const;
const LIVE = { active: 'bit' } as const;
const EXCHANGE_BINDING = {
  ticket: 'short',
  destination: 'shortstr',
  source: 'shortstr',
  routingKey: 'shortstr',
  nowait: 'bit',
  arguments: 'table',
} as const;
const SETTLE = { deliveryTag: 'longlong', multiple: 'bit' } as const;

export const METHODS = {
  'connection.start': define(10, 10, {
    versionMajor: 'octet',
    versionMinor: 'octet',
    serverProperties: 'table',
    mechanisms: 'longstr',
    locales: 'longstr',
  }),
  'connection.start-ok': define(10, 11, {
    clientProperties: 'table',
    mechanism: 'shortstr',
    response: 'longstr',
    locale: 'shortstr',
  }),
  'connection.secure': define(10, 20, { challenge: 'longstr' }),
  'connection.secure-ok': define(10, 21, { response: 'longstr' }),
  'connection.tune': define(10, 30, TUNE),
  'connection.tune-ok': define(10, 31, TUNE),
  'connection.open': define(10, 40, { virtualHost: 'shortstr', capabilities: 'shortstr', insist: 'bit' }),
  'connection.open-ok': define(10, 41, { knownHosts: 'shortstr' }),
  'connection.close': define(10, 50, CLOSE),
  'connection.close-ok': define(10, 51, {}),
  'connection.blocked': define(10, 60, { reason: 'shortstr' }),
  'connection.unblocked': define(10, 61, {}),
  'connection.update-secret': define(10, 70, { newSecret: 'longstr', reason: 'shortstr' }),
  'connection.update-secret-ok': define(10, 71, {}),

  'channel.open': define(20, 10, { outOfBand: 'shortstr' }),
  'channel.open-ok': define(20, 11, { channelId: 'longstr' }),
  'channel.flow': define(20, 20, LIVE),
  'channel.flow-ok': define(20, 21, LIVE),
  'channel.close': define(20, 40, CLOSE),
  'channel.close-ok': define(20, 41, {}),

  'access.request': define(30, 10, {
    realm: 'shortstr',
    exclusive: 'bit',
    passive: 'bit',
    active: 'bit',
    write: 'bit',
    read: 'bit',
  }),
  'access.request-ok': define(30, 11, { ticket: 'short' }),

  'exchange.declare': define(40, 10, {
    ticket: 'short',
    exchange: 'shortstr',
    type: 'shortstr',
    passive: 'bit',
    durable: 'bit',
    autoDelete: 'bit',
    internal: 'bit',
    nowait: 'bit',
    arguments: 'table',
  }),
  'exchange.declare-ok': define(40, 11, {}),
  'exchange.delete': define(40, 20, {
    ticket: 'short',
    exchange: 'shortstr',
    ifUnused: 'bit',
    nowait: 'bit',
  }),
  'exchange.delete-ok': define(40, 21, {}),
  'exchange.bind': define(40, 30, EXCHANGE_BINDING),
  'exchange.bind-ok': define(40, 31, {}),
  'exchange.unbind': define(40, 40, EXCHANGE_BINDING),
  'exchange.unbind-ok': define(40, 51, {}),

  'queue.declare': define(50, 10, {
    ticket: 'short',
    queue: 'shortstr',
    passive: 'bit',
    durable: 'bit',
    exclusive: 'bit',
    autoDelete: 'bit',
    nowait: 'bit',
    arguments: 'table',
  }),
  'queue.declare-ok': define(50, 11, { queue: 'shortstr', messageCount: 'long', consumerCount: 'long' }),
  'queue.bind': define(50, 20, {
    ticket: 'short',
    queue: 'shortstr',
    exchange: 'shortstr',
    routingKey: 'shortstr',
    nowait: 'bit',
    arguments: 'table',
  }),
  'queue.bind-ok': define(50, 21, {}),
  'queue.purge': define(50, 30, { ticket: 'short', queue: 'shortstr', nowait: 'bit' }),
  'queue.purge-ok': define(50, 31, { messageCount: 'long' }),
  'queue.delete': define(50, 40, {
    ticket: 'short',
    queue: 'shortstr',
    ifUnused: 'bit',
    ifEmpty: 'bit',
    nowait: 'bit',
  }),
  'queue.delete-ok': define(50, 41, { messageCount: 'long' }),
  'queue.unbind': define(50, 50, {
    ticket: 'short',
    queue: 'shortstr',
    exchange: 'shortstr',
    routingKey: 'shortstr',
    arguments: 'table',
  }),
  'queue.unbind-ok': define(50, 51, {}),

  'basic.qos': define(60, 10, { prefetchSize: 'long', prefetchCount: 'short', global: 'bit' }),
  'basic.qos-ok': define(60, 11, {}),
  'basic.consume': define(60, 20, {
    ticket: 'short',
    queue: 'shortstr',
    consumerTag: 'shortstr',
    noLocal: 'bit',
    noAck: 'bit',
    exclusive: 'bit',
    nowait: 'bit',
    arguments: 'table',
  }),
  'basic.consume-ok': define(60, 21, { consumerTag: 'shortstr' }),
  'basic.cancel': define(60, 30, { consumerTag: 'shortstr', nowait: 'bit' }),
  'basic.cancel-ok': define(60, 31, { consumerTag: 'shortstr' }),
  'basic.publish': define(60, 40, {
    ticket: 'short',
    exchange: 'shortstr',
    routingKey: 'shortstr',
    mandatory: 'bit',
    immediate: 'bit',
  }),
  'basic.return': define(60, 50, {
    replyCode: 'short',
    replyText: 'shortstr',
    exchange: 'shortstr',
    routingKey: 'shortstr',
  }),
  'basic.deliver': define(60, 60, {
    consumerTag: 'shortstr',
    deliveryTag: 'longlong',
    redelivered: 'bit',
    exchange: 'shortstr',
    routingKey: 'shortstr',
  }),
  'basic.get': define(60, 70, { ticket: 'short', queue: 'shortstr', noAck: 'bit' }),
  'basic.get-ok': define(60, 71, {
    deliveryTag: 'longlong',
    redelivered: 'bit',
    exchange: 'shortstr',
    routingKey: 'shortstr',
    messageCount: 'long',
  }),
  'basic.get-empty': define(60, 72, { clusterId: 'shortstr' }),
  'basic.ack': define(60, 80, SETTLE),
  'basic.reject': define(60, 90, { deliveryTag: 'longlong', requeue: 'bit' }),
  'basic.recover-async': define(60, 100, { requeue: 'bit' }),
  'basic.recover': define(60, 110, { requeue: 'bit' }),
  'basic.recover-ok': define(60, 111, {}),
  'basic.nack': define(60, 120, { ...SETTLE, requeue: 'bit' }),

  'confirm.select': define(85, 10, { nowait: 'bit' }),
  'confirm.select-ok': define(85, 11, {}),

  'tx.select': define(90, 10, {}),
  'tx.select-ok': define(90, 11, {}),
  'tx.commit': define(90, 20, {}),
  'tx.commit-ok': define(90, 21, {}),
  'tx.rollback': define(90, 30, {}),
  'tx.rollback-ok': define(90, 31, {}),
} satisfies Readonly<Record<string, MethodDefinition>>;

export type MethodName = keyof typeof METHODS;

export type MethodArguments<Name extends MethodName> = {
  readonly [Field in keyof (typeof METHODS)[Name]['fields']]: (typeof METHODS)[Name]['fields'][Field] extends FieldType
    ? FieldValues[(typeof METHODS)[Name]['fields'][Field]]
    : never;
};

/** Class and method in one number, as the four bytes at the start of a method frame read. */
export function methodNumber(classId: number, methodId: number): number {
  return classId * 0x1_0000 + methodId;
}

export const METHOD_NAMES: ReadonlyMap<number, MethodName> = new Map(
  (Object.keys(METHODS) as MethodName[]).map((name) => [
    methodNumber(METHODS[name].classId, METHODS[name].methodId),
    name,
  ]),
);

export const BASIC_CLASS = 60;
export const BASIC_PUBLISH = methodNumber(60, 40);
export const BASIC_ACK = methodNumber(60, 80);
