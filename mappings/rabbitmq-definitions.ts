/**
 * What `rabbitmqctl export_definitions` writes, as definitions of the core: exchanges, queues and bindings of one virtual
 * host, and users with the hashes of their passwords. For the HTTP API, which applies them. Pure. What has no counterpart
 * here is left out and told, item by item, and so is what cannot be read: one bad item refuses no others.
 */

import { Buffer } from 'node:buffer';
import {
  CoreError,
  type ExchangeBinding,
  type ExchangeSpec,
  type ExchangeType,
  type Header,
  type HeaderMatch,
  type QueueSpec,
  swapSeparators,
} from '../src/core/index.ts';
import { valueFromJson } from './header-values.ts';

export interface ImportedDefinitions {
  readonly exchanges: readonly ExchangeSpec[];
  readonly queues: readonly QueueSpec[];
  readonly bindings: readonly ExchangeBinding[];
  readonly users: readonly ImportedUser[];
  /** None: there are no such there. */
  readonly mappings: readonly never[];
  readonly skipped: readonly SkippedItem[];
  readonly warnings: readonly SkippedItem[];
}

export interface ImportedUser {
  readonly name: string;
  /** As in a password file. */
  readonly passwordHash: string;
  readonly groups: readonly string[];
}

export interface SkippedItem {
  /** As in the file: `queues`, `users`, … */
  readonly kind: string;
  readonly name: string;
  readonly reason: string;
}

type Json = Readonly<Record<string, unknown>>;

const TYPES: ReadonlySet<string> = new Set<ExchangeType>(['direct', 'fanout', 'topic', 'headers']);
/** Always there, and of type headers. */
const HEADERS_EXCHANGES: ReadonlySet<string> = new Set(['amq.headers', 'amq.match']);
const MODES: ReadonlySet<string> = new Set<HeaderMatch['mode']>(['all', 'any', 'all-with-x', 'any-with-x']);
/** The salt stands before the digest in one base64 text. */
const SALT_BYTES = 4;
const HASHES: Readonly<Record<string, { readonly scheme: string; readonly bytes: number }>> = {
  rabbit_password_hashing_sha256: { scheme: 'salted-sha256', bytes: 32 },
  rabbit_password_hashing_sha512: { scheme: 'salted-sha512', bytes: 64 },
};
/** Kinds of items that have no counterpart, and what to do about them. */
const UNSUPPORTED: Readonly<Record<string, string>> = {
  permissions: 'rights are patterns of addresses here, not regular expressions: make access rules',
  topic_permissions: 'rights are patterns of addresses here, not regular expressions: make access rules',
  policies: 'there are no policies: give the queues that it is for their bounds themselves',
  parameters: 'there are no such plugins here',
  global_parameters: 'there is nothing like it here',
};
const NAME_BYTES_MAX = 255;

/** Of one virtual host. Throws CoreError `invalid-argument` where it is no such file. */
export function definitionsFromRabbitmq(json: unknown, vhost = '/'): ImportedDefinitions {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new CoreError('invalid-argument', 'is no object with queues, exchanges, bindings and users');
  }
  const file = json as Json;
  const skipped: SkippedItem[] = [];
  const readAll = <Item>(kind: string, read: (item: Json) => Item | null): Item[] => {
    const found: Item[] = [];
    for (const item of itemsOf(file, kind)) {
      const skip = (reason: string): void => void skipped.push({ kind, name: nameOf(item), reason });
      if (kind !== 'users' && item.vhost !== undefined && item.vhost !== vhost) {
        skip(`belongs to virtual host ${String(item.vhost)}`);
        continue;
      }
      try {
        const result = read(item);
        if (result !== null) found.push(result);
      } catch (error) {
        if (!(error instanceof Unreadable)) throw error;
        skip(error.message);
      }
    }
    return found;
  };
  const exchanges = readAll('exchanges', exchangeFrom);
  const types = new Map(exchanges.map(({ name, type }) => [name, type]));
  const definitions = {
    exchanges,
    queues: readAll('queues', queueFrom),
    bindings: readAll('bindings', (item) => bindingFrom(item, types)),
    users: readAll('users', userFrom),
    mappings: [],
    skipped,
    warnings: [],
  };
  for (const [kind, reason] of Object.entries(UNSUPPORTED)) {
    for (const item of itemsOf(file, kind)) skipped.push({ kind, name: nameOf(item), reason });
  }
  return definitions;
}

/** Why an item is left out. */
class Unreadable extends Error {}

function itemsOf(file: Json, kind: string): Json[] {
  const items = file[kind];
  if (items === undefined) return [];
  if (!Array.isArray(items) || items.some((item) => typeof item !== 'object' || item === null)) {
    throw new CoreError('invalid-argument', 'is no list of objects', { field: `/${kind}` });
  }
  return items as Json[];
}

function nameOf(item: Json): string {
  if (typeof item.name === 'string') return item.name;
  if (typeof item.user === 'string') return item.user;
  return `${String(item.source ?? '')} → ${String(item.destination ?? '')}`;
}

function exchangeFrom(item: Json): ExchangeSpec | null {
  const name = textOf(item, 'name');
  // They are always there.
  if (name === '' || name.startsWith('amq.')) return null;
  checkLength(name);
  const type = textOf(item, 'type');
  if (!TYPES.has(type)) throw new Unreadable(`there are no exchanges of type ${type}`);
  const given = argumentsOf(item);
  return {
    name,
    type: type as ExchangeType,
    durable: flagOf(item, 'durable', true),
    autoDelete: flagOf(item, 'auto_delete', false),
    internal: flagOf(item, 'internal', false),
    alternate: textArgument(given, 'alternate-exchange'),
    arguments: given,
  };
}

function queueFrom(item: Json): QueueSpec {
  const name = textOf(item, 'name');
  if (name === '') throw new Unreadable('has no name');
  checkLength(name);
  if (name.startsWith('$')) throw new Unreadable('names that begin with $ belong to the gateway');
  const given = argumentsOf(item);
  const type = textArgument(given, 'x-queue-type') ?? 'classic';
  if (type !== 'classic' && type !== 'quorum') {
    throw new Unreadable(`there are no queues of type ${type}${type === 'stream' ? ': make a stream' : ''}`);
  }
  const exchange = textArgument(given, 'x-dead-letter-exchange');
  const key = textArgument(given, 'x-dead-letter-routing-key');
  const overflow = textArgument(given, 'x-overflow') ?? 'drop-head';
  return {
    name,
    durable: flagOf(item, 'durable', true),
    autoDelete: flagOf(item, 'auto_delete', false),
    owner: null,
    messagesMax: numberArgument(given, 'x-max-length'),
    bytesMax: numberArgument(given, 'x-max-length-bytes'),
    overflow: overflow === 'drop-head' ? 'drop-oldest' : 'reject',
    messageTtlMs: numberArgument(given, 'x-message-ttl'),
    expiresMs: numberArgument(given, 'x-expires'),
    deadLetter: exchange === null ? null : { exchange, key: key === null ? null : swapSeparators(key) },
    arguments: given,
  };
}

function bindingFrom(item: Json, types: ReadonlyMap<string, ExchangeType>): ExchangeBinding | null {
  const exchange = textOf(item, 'source');
  // Every queue is bound there by its name.
  if (exchange === '') return null;
  checkLength(exchange);
  const kind = textOf(item, 'destination_type');
  if (kind !== 'queue' && kind !== 'exchange') throw new Unreadable(`leads to a ${kind}`);
  const given = argumentsOf(item);
  const type = HEADERS_EXCHANGES.has(exchange) ? 'headers' : types.get(exchange);
  return {
    exchange,
    target: { kind, name: textOf(item, 'destination') },
    key: swapSeparators(textOf(item, 'routing_key')),
    match: type === 'headers' ? matchFrom(given) : null,
    arguments: given,
  };
}

function matchFrom(given: readonly Header[]): HeaderMatch {
  const mode = textArgument(given, 'x-match') ?? 'all';
  if (!MODES.has(mode)) throw new Unreadable(`x-match cannot be ${mode}`);
  return { mode: mode as HeaderMatch['mode'], headers: given.filter(({ name }) => name !== 'x-match') };
}

function userFrom(item: Json): ImportedUser {
  const name = textOf(item, 'name');
  const text = textOf(item, 'password_hash');
  if (text === '')
    throw new Unreadable('has no password: it comes in by a certificate or an outside service');
  const algorithm = textOf(item, 'hashing_algorithm', 'rabbit_password_hashing_sha256');
  const hash = Object.hasOwn(HASHES, algorithm) ? HASHES[algorithm] : undefined;
  if (hash === undefined) throw new Unreadable(`its password is hashed with ${algorithm}: give it a new one`);
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length !== SALT_BYTES + hash.bytes) throw new Unreadable('its password hash has another length');
  const [salt, digest] = [bytes.subarray(0, SALT_BYTES), bytes.subarray(SALT_BYTES)];
  return {
    name,
    passwordHash: `$${hash.scheme}$${salt.toString('base64')}$${digest.toString('base64')}`,
    groups: tagsOf(item),
  };
}

/** A list since RabbitMQ 3.9, before that one text with commas. */
function tagsOf({ tags }: Json): string[] {
  const list: readonly unknown[] = Array.isArray(tags)
    ? tags
    : typeof tags === 'string'
      ? tags.split(',')
      : [];
  return list
    .filter((tag): tag is string => typeof tag === 'string' && tag.trim() !== '')
    .map((tag) => tag.trim());
}

function textOf(item: Json, field: string, otherwise = ''): string {
  const value = item[field] ?? otherwise;
  if (typeof value !== 'string') throw new Unreadable(`${field} is no text`);
  return value;
}

function flagOf(item: Json, field: string, otherwise: boolean): boolean {
  const value = item[field] ?? otherwise;
  if (typeof value !== 'boolean') throw new Unreadable(`${field} is neither true nor false`);
  return value;
}

function checkLength(name: string): void {
  if (Buffer.byteLength(name) > NAME_BYTES_MAX)
    throw new Unreadable(`its name has more than ${NAME_BYTES_MAX} bytes`);
}

function argumentsOf({ arguments: given = {} }: Json): Header[] {
  if (typeof given !== 'object' || given === null) throw new Unreadable('arguments are no object');
  // An empty table is written as a list.
  if (Array.isArray(given)) return [];
  return Object.entries(given).map(([name, json]) => {
    const value = Number.isSafeInteger(json)
      ? ({ kind: 'i64', value: BigInt(json as number) } as const)
      : valueFromJson(json);
    if (value === null) throw new Unreadable(`argument ${name} cannot be read`);
    return { name, value };
  });
}

function textArgument(given: readonly Header[], name: string): string | null {
  const value = given.find((argument) => argument.name === name)?.value;
  if (value === undefined) return null;
  if (value.kind !== 'string') throw new Unreadable(`argument ${name} is no text`);
  return value.value;
}

/** -1: it is not there. */
function numberArgument(given: readonly Header[], name: string): number {
  const value = given.find((argument) => argument.name === name)?.value;
  if (value === undefined) return -1;
  if (value.kind !== 'i64' || value.value < 0n)
    throw new Unreadable(`argument ${name} is no whole number above -1`);
  return Number(value.value);
}
