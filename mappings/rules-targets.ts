/**
 * One target of a full rule, compiled: where a message goes and what it is made into on the way, in this order:
 * transform, headers, overrides, key and partition, address. Templates see the message as it came, so that no step
 * depends on the one before. Called by `rules-routing.ts`.
 */

import { Buffer } from 'node:buffer';
import {
  checkDerivedAddress,
  DEFAULT_LIMITS,
  type Header,
  type HeaderValue,
  isHistory,
  MANY,
  type Message,
  type MessageFields,
  ONE,
  Pattern,
  type Properties,
  type Reliability,
  RuleError,
  type RuleErrorPolicy,
  type RuleInput,
  type RuleTarget,
  type Token,
} from '../src/core/index.ts';
import { isReservedName } from './header-values.ts';
import { checkPartitions, checkStream } from './rules-capture.ts';
import type { Span } from './rules-captures.ts';
import { duration, knownFields, lazily, oneOf, wholeNumber } from './rules-fields.ts';
import { refuse } from './rules-syntax.ts';
import {
  comesFromAddress,
  compileTemplate,
  render,
  renderBytes,
  renderValue,
  type Template,
} from './rules-template.ts';
import { compileTransform } from './rules-transforms.ts';
import { textOf } from './rules-values.ts';
import { matchesGlob, objectAt, pointerStep } from './rules-where.ts';

/** A target, and its key's template: null where a record has the key that the message brings. */
export interface TargetParts {
  readonly target: RuleTarget;
  readonly key: Template | null;
  /** Of the address that it publishes to; null where it has none. */
  readonly topic: Template | null;
}

type Spans = ReadonlyMap<string, Span>;
type Change = (message: Message, input: RuleInput) => Message;

export const ON_ERROR_DEFAULT = 'dlq';
const DEAD_LETTERS_DEFAULT = '$dlq/mappings';
const QUEUE_BYTES_MAX = 255;
const TOPICS_MAX = 100_000;
const HEADERS_MAX = 100;
/** Of all the values that one target sets, as bytes or characters. */
const HEADERS_SIZE_MAX = 1024 * 1024;
const PRIORITY_MAX = 255;
const BRIDGE_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const FIELDS = [
  'endpoint',
  'topic',
  'key',
  'partitions',
  'partitionBy',
  'headers',
  'set',
  'transform',
  'onError',
  'maxTopics',
  'overflowTopic',
];
const SET_FIELDS = ['qos', 'retain', 'contentType', 'ttl', 'priority', 'timestamp'];
/** Marks of events' attributes in headers, as the protocols that mostly read such targets have them. */
const EVENT_PREFIXES = { core: '', queue: 'cloudEvents:', stream: 'ce_', bridge: '' };

export function compileTarget(value: unknown, spans: Spans, onError: unknown, field: string): TargetParts {
  const fields = knownFields(objectAt(value, field), FIELDS, field);
  const { kind, name } = parseEndpoint(fields.endpoint, `${field}/endpoint`);
  const only = (fieldName: string, ...kinds: readonly string[]) => {
    if (fields[fieldName] !== undefined && !kinds.includes(kind))
      refuse(`${field}/${fieldName}`, `is for targets of kind ${kinds.join(' and ')} only`);
  };
  only('partitions', 'stream');
  only('partitionBy', 'stream');
  only('maxTopics', 'core', 'bridge', 'queue');
  only('overflowTopic', 'core', 'bridge', 'queue');
  if (kind === 'stream' && fields.topic !== undefined)
    refuse(
      `${field}/topic`,
      'a record has the name of its stream; what tells records apart belongs into key',
    );
  if (kind === 'core' && fields.topic === undefined)
    refuse(
      `${field}/topic`,
      'is missing: the address that the message is published to, such as "sites/{site}"',
    );
  const parts = compileParts(fields, kind, spans, field);
  const { topic, key } = parts;
  const topicsMax =
    fields.maxTopics === undefined
      ? null
      : wholeNumber(fields.maxTopics, 0, 1, TOPICS_MAX, `${field}/maxTopics`);
  if (kind === 'queue' && topic === null && topicsMax !== null)
    refuse(`${field}/maxTopics`, 'means nothing without topic: messages keep the addresses that they have');
  const isAddressed = kind === 'core' || kind === 'bridge';
  if (isAddressed && topic !== null && topicsMax === null && !comesFromAddress(topic))
    refuse(
      `${field}/maxTopics`,
      'is missing: the topic is made of what messages say, so its number has no bound but this one',
    );
  const target: RuleTarget = {
    kind,
    name,
    partitions: checkPartitions(fields.partitions, `${field}/partitions`),
    onError: compileOnError(
      fields.onError ?? onError,
      fields.onError === undefined ? '/onError' : `${field}/onError`,
    ),
    topicsMax,
    overflowTopic: compileOverflow(fields.overflowTopic, topicsMax, `${field}/overflowTopic`),
    reach: isAddressed && topic !== null ? reachOf(topic) : null,
    make: lazily(() => makerOf(compileParts(fields, kind, spans, field), kind)),
  };
  return { target, key, topic };
}

/** What a target's templates and changes are once they are compiled. */
interface Parts {
  readonly topic: Template | null;
  readonly key: Template | null;
  readonly partitionBy: ((input: RuleInput) => string | number) | null;
  readonly changes: readonly Change[];
}

function compileParts(
  fields: Readonly<Record<string, unknown>>,
  kind: RuleTarget['kind'],
  spans: Spans,
  field: string,
): Parts {
  return {
    topic: fields.topic === undefined ? null : compileTopic(fields.topic, spans, `${field}/topic`),
    key: compileKey(fields.key, kind === 'stream', spans, `${field}/key`),
    partitionBy: compilePartitionBy(fields.partitionBy, spans, `${field}/partitionBy`),
    changes: [
      compileTransform(fields.transform, { spans, eventPrefix: EVENT_PREFIXES[kind] }, `${field}/transform`),
      compileHeaders(fields.headers, spans, `${field}/headers`),
      compileSet(fields.set, spans, `${field}/set`),
    ].filter((each) => each !== null),
  };
}

function makerOf({ topic, key, partitionBy, changes }: Parts, kind: RuleTarget['kind']): RuleTarget['make'] {
  return (input) => {
    const keyBytes = key === null ? null : renderBytes(key, input);
    const from = changes.length === 0 ? input.message : withoutClaimedDeaths(input.message);
    let message = changes.reduce((before, change) => change(before, input), from);
    const made: { -readonly [Name in keyof MessageFields]?: MessageFields[Name] } = {};
    if (topic !== null) made.address = render(topic, input);
    if (keyBytes !== null && kind !== 'stream') made.key = keyBytes;
    if (made.address !== undefined || made.key !== undefined) message = message.with(made);
    if (made.address !== undefined) checkAddress(made.address);
    return {
      message,
      key: keyBytes ?? message.key,
      partitionBy: partitionBy === null ? null : partitionBy(input),
    };
  };
}

/** A history in a protocol's own encoding is what a client claims: the core writes one without. Changes decode both. */
function withoutClaimedDeaths(message: Message): Message {
  const { properties } = message;
  if (message.codec === null || !properties.headers.some(({ name }) => isHistory(name))) return message;
  const headers = properties.headers.filter(({ name }) => !isHistory(name));
  return message.with({ properties: { ...properties, headers } });
}

function parseEndpoint(value: unknown, field: string): { kind: RuleTarget['kind']; name: string } {
  const known = 'must be "core", "queue:NAME", "stream:NAME" or "bridge:NAME"';
  if (value === 'core') return { kind: 'core', name: '' };
  if (typeof value !== 'string') refuse(field, known);
  const colon = value.indexOf(':');
  const kind = value.slice(0, colon);
  const name = value.slice(colon + 1);
  if (kind !== 'queue' && kind !== 'stream' && kind !== 'bridge') refuse(field, known);
  if (/[{}]/.test(name)) refuse(field, `the name of a ${kind} has no captures; put them into key or topic`);
  if (kind === 'bridge') {
    if (!BRIDGE_NAME.test(name)) refuse(field, 'is no name of a bridge');
    return { kind, name };
  }
  if (kind === 'stream') return { kind, name: checkStream(name, field) };
  return { kind, name: checkQueue(name, field) };
}

function checkQueue(name: string, field: string): string {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0 || bytes > QUEUE_BYTES_MAX)
    refuse(field, `the name of a queue has 1 to ${QUEUE_BYTES_MAX} bytes`);
  if (name.includes('\0') || !name.isWellFormed()) refuse(field, 'holds a character that no name can');
  if (name.startsWith('amq.') || (name.startsWith('$') && !name.startsWith('$dlq/')))
    refuse(field, 'names that begin with amq. or $ belong to the gateway');
  return name;
}

function compileTopic(value: unknown, spans: Spans, field: string): Template {
  const template = compileTemplate(value, spans, field);
  if (template.parts.length === 0) refuse(field, 'must not be empty');
  const [first] = template.parts;
  if (typeof first === 'string' && first.startsWith('$'))
    refuse(
      field,
      'addresses that begin with $ belong to the gateway; for a queue write "queue:NAME" as endpoint',
    );
  for (const part of template.parts) {
    if (typeof part === 'string' && part.split('/').some((level) => level === '+' || level === '#'))
      refuse(field, '+ and # are wildcards, and no name to publish to');
  }
  return template;
}

function compileOverflow(value: unknown, topicsMax: number | null, field: string): string | null {
  if (value === undefined) return null;
  if (topicsMax === null) refuse(field, 'means nothing without maxTopics');
  const { parts } = compileTopic(value, new Map(), field);
  if (parts.some((part) => typeof part !== 'string')) refuse(field, 'has no variables: it is one address');
  return parts.join('');
}

function compileKey(value: unknown, isStream: boolean, spans: Spans, field: string): Template | null {
  if (value === undefined) return isStream ? compileTemplate('{address}', spans, field) : null;
  if (value === null) return null;
  const template = compileTemplate(value, spans, field);
  if (template.parts.length === 0) refuse(field, 'must not be empty; null is no key');
  return template;
}

function compilePartitionBy(
  value: unknown,
  spans: Spans,
  field: string,
): ((input: RuleInput) => string | number) | null {
  if (value === undefined) return null;
  if (typeof value !== 'string')
    refuse(
      field,
      'must be text: address, client, level:N, header:NAME, explicit:N, or a template such as "{line}"',
    );
  const template = (text: string) => {
    const compiled = compileTemplate(text, spans, field);
    return (input: RuleInput) => render(compiled, input);
  };
  const explicit = /^explicit:(\d{1,6})$/.exec(value);
  if (explicit !== null) return () => Number(explicit[1]);
  const level = /^level:(-?\d{1,3})$/.exec(value);
  if (level !== null) return template(`{address[${level[1]}]}`);
  if (value === 'address') return template('{address}');
  if (value === 'client') return template('{client.id|default("")}');
  if (value.startsWith('header:')) return template(`{header.${value.slice('header:'.length)}|default("")}`);
  if (value.startsWith('var:')) return template(value.slice('var:'.length));
  if (value === 'roundRobin') refuse(field, 'there is no such turn; write "{uuid}" to spread records');
  if (!value.includes('{'))
    refuse(
      field,
      'must be address, client, level:N, header:NAME, explicit:N, or a template such as "{line}"',
    );
  return template(value);
}

export function compileOnError(value: unknown, field: string): RuleErrorPolicy {
  if (value === 'drop') return { kind: 'drop' };
  if (value === 'nack-source') return { kind: 'refuse' };
  if (value === 'dlq') return { kind: 'dead-letter', queue: DEAD_LETTERS_DEFAULT };
  if (typeof value === 'string' && value.startsWith('dlq:'))
    return { kind: 'dead-letter', queue: checkQueue(value.slice('dlq:'.length), field) };
  return refuse(field, 'must be "dlq", "dlq:QUEUE", "drop" or "nack-source"');
}

function compileHeaders(value: unknown, spans: Spans, field: string): Change | null {
  if (value === undefined) return null;
  const fields = knownFields(objectAt(value, field), ['copy', 'drop', 'rename', 'set'], field);
  const copy = globs(fields.copy ?? '*', `${field}/copy`);
  const drop = globs(fields.drop ?? [], `${field}/drop`);
  const rename = new Map<string, string>();
  for (const [name, to] of entriesAt(fields.rename, `${field}/rename`))
    rename.set(name, headerName(to, `${field}/rename/${pointerStep(name)}`));
  const set = entriesAt(fields.set, `${field}/set`).map(([name, text]) => {
    const at = `${field}/set/${pointerStep(name)}`;
    return [headerName(name, at), compileTemplate(text, spans, at)] as const;
  });
  const names = new Set(set.map(([name]) => name));
  return (message, input) => {
    const { properties } = message;
    const headers: Header[] = [];
    for (const header of properties.headers) {
      const { name } = header;
      // What belongs to the gateway is not the rule's to change; without its deaths a dead letter could circle for ever.
      const isKept = isReservedName(name) || isHistory(name);
      if (
        !isKept &&
        (!copy.some((each) => matchesGlob(each, name)) || drop.some((each) => matchesGlob(each, name)))
      )
        continue;
      const to = isKept ? name : (rename.get(name) ?? name);
      if (isKept || !names.has(to)) headers.push(to === name ? header : { name: to, value: header.value });
    }
    let size = 0;
    for (const [name, template] of set) {
      const value = headerFrom(renderValue(template, input));
      if (value.kind === 'string' || value.kind === 'bytes') size += value.value.length;
      if (size > HEADERS_SIZE_MAX)
        throw new RuleError('too-large', `the headers that are set have more than ${HEADERS_SIZE_MAX} bytes`);
      headers.push({ name, value });
    }
    return message.with({ properties: { ...properties, headers } });
  };
}

function globs(value: unknown, field: string): readonly string[] {
  const patterns = Array.isArray(value) ? value : [value];
  if (
    patterns.length > HEADERS_MAX ||
    patterns.some((each) => typeof each !== 'string' || each.length > QUEUE_BYTES_MAX)
  )
    refuse(field, `must be a name, * for anything in it, or at most ${HEADERS_MAX} of them`);
  return patterns;
}

function entriesAt(value: unknown, field: string): [name: string, value: unknown][] {
  if (value === undefined) return [];
  const entries = Object.entries(objectAt(value, field));
  if (entries.length > HEADERS_MAX) refuse(field, `at most ${HEADERS_MAX} headers`);
  return entries;
}

function headerName(name: unknown, field: string): string {
  if (typeof name !== 'string' || name === '') refuse(field, 'must be the name of a header');
  if (Buffer.byteLength(name) > QUEUE_BYTES_MAX)
    refuse(field, `a header's name has at most ${QUEUE_BYTES_MAX} bytes`);
  if (isReservedName(name)) refuse(field, 'names that begin with x-gw- belong to the gateway');
  if (isHistory(name)) refuse(field, 'the history of dead letters belongs to the gateway');
  if (name.includes('\0') || !name.isWellFormed()) refuse(field, 'holds a character that no name can');
  return name;
}

function headerFrom(value: unknown): HeaderValue {
  if (typeof value === 'boolean') return { kind: 'bool', value };
  if (typeof value === 'bigint') return { kind: 'i64', value: BigInt.asIntN(64, value) };
  if (typeof value === 'number')
    return Number.isSafeInteger(value) ? { kind: 'i64', value: BigInt(value) } : { kind: 'f64', value };
  if (value instanceof Uint8Array) return { kind: 'bytes', value };
  return { kind: 'string', value: textOf(value) };
}

function compileSet(value: unknown, spans: Spans, field: string): Change | null {
  if (value === undefined) return null;
  const fields = knownFields(objectAt(value, field), SET_FIELDS, field);
  const made: { -readonly [Name in keyof MessageFields]?: MessageFields[Name] } = {};
  if (fields.qos !== undefined)
    made.reliability = wholeNumber(fields.qos, 0, 0, 2, `${field}/qos`) as Reliability;
  if (fields.retain !== undefined) made.retain = oneOf(fields.retain, [false, true], `${field}/retain`);
  if (fields.priority !== undefined)
    made.priority = wholeNumber(fields.priority, 0, 0, PRIORITY_MAX, `${field}/priority`);
  const ttlMs = fields.ttl === undefined || fields.ttl === null ? null : duration(fields.ttl, `${field}/ttl`);
  const template = (name: string) =>
    fields[name] === undefined ? null : compileTemplate(fields[name], spans, `${field}/${name}`);
  const contentType = template('contentType');
  const timestamp = template('timestamp');
  return (message, input) => {
    const properties: { -readonly [Name in keyof Properties]: Properties[Name] } = { ...message.properties };
    if (contentType !== null) properties.contentType = render(contentType, input);
    if (timestamp !== null) {
      const ms = Number(render(timestamp, input));
      if (!Number.isSafeInteger(ms))
        throw new RuleError('payload', 'the timestamp is no number of milliseconds');
      properties.timestampMs = ms;
    }
    // Said explicitly, so that no protocol finds what the publisher had said in its own encoding.
    const changed = message.with({ ...made, properties });
    if (ttlMs !== null) return changed.with({ expiresAtMs: input.nowMs + ttlMs });
    return fields.ttl === null ? changed.with({ expiresAtMs: 0 }) : changed;
  };
}

/** The addresses that a template may make. A level with something in it is any level; what may hold `/` is any number. */
function reachOf(template: Template): Pattern {
  const levels: Token[][] = [['']];
  for (const part of template.parts) {
    if (typeof part !== 'string') levels.at(-1)!.push(part.manyLevels ? MANY : ONE);
    else {
      const [first, ...others] = part.split('/');
      levels.at(-1)!.push(first!);
      for (const other of others) levels.push([other]);
    }
  }
  return new Pattern(
    levels.flatMap((level): Token[] => {
      if (level.includes(MANY)) return [ONE, MANY];
      return level.includes(ONE) ? [ONE] : [level.join('')];
    }),
  );
}

/** Of targets of every kind: what waits in a queue may be published at its own address again, as dead letters are. */
function checkAddress(address: string): void {
  checkDerivedAddress(address);
  const { addressBytesMax, addressLevelsMax } = DEFAULT_LIMITS;
  if (address.includes('\0') || !address.isWellFormed())
    throw new RuleError('address', 'the topic holds a character that no address can');
  if (Buffer.byteLength(address) > addressBytesMax)
    throw new RuleError('address', `the topic has more than ${addressBytesMax} bytes`);
  if (address.split('/').length > addressLevelsMax)
    throw new RuleError('address', `the topic has more than ${addressLevelsMax} levels`);
}
