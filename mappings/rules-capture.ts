/**
 * The short form of a mapping rule, compiled: addresses ⇔ records of one stream with a key. Called by `rules.ts`, and
 * by `rules-routing.ts` for the way back of its streams. The result is pure. `keyOf` runs once for each message of a matched address,
 * so it finds captures by counting separators and neither splits nor uses regular expressions. The inverse is made
 * automatically where the key tells every capture apart; otherwise `oneWayReason` says what stands in the way.
 * Format, table of checks and examples: docs/mappings.md.
 *
 *     {"match": "devices/{device}/telemetry", "stream": "telemetry", "key": "{device}", "partitions": 6}
 */

import { Buffer, isUtf8 } from 'node:buffer';
import { DEFAULT_LIMITS, type MappingRule, type Pattern } from '../src/core/index.ts';
import {
  acceptsFromSpans,
  capturedText,
  patternFromLevels,
  type Span,
  spansFromLevels,
} from './rules-captures.ts';
import { addressFromCaptures, capturesFromKey, oneWayReason } from './rules-inverse.ts';
import {
  ADDRESS_VARIABLE,
  type Level,
  parseKey,
  parseMatch,
  refuse,
  type TemplatePart,
} from './rules-syntax.ts';

const FIELDS: ReadonlySet<string> = new Set(['match', 'stream', 'key', 'partitions']);
interface RuleFields {
  readonly match?: unknown;
  readonly stream?: unknown;
  readonly key?: unknown;
  readonly partitions?: unknown;
}

/** What every protocol accepts as the name of a stream. */
const STREAM_NAME = /^[A-Za-z0-9._-]{1,249}$/;
const PARTITIONS_DEFAULT = 1;
const KEY_DEFAULT = `{${ADDRESS_VARIABLE}}`;

/**
 * Checks and compiles a rule's definition. Throws CoreError `invalid-argument` whose `field` is a JSON pointer to
 * what is wrong in it.
 */
export function compileCapture(definition: unknown): MappingRule {
  const fields = checkFields(definition);
  const stream = checkStream(fields.stream);
  const partitions = checkPartitions(fields.partitions);
  const match = fields.match;
  if (typeof match !== 'string') refuse('/match', 'must be text, such as "devices/{device}/telemetry"');
  const levels = parseMatch(match);
  const key = fields.key === undefined ? KEY_DEFAULT : fields.key;
  if (key !== null && typeof key !== 'string')
    refuse('/key', 'must be text, such as "{device}", or null for no key');
  const names = new Set(levels.flatMap((level) => (level.kind === 'literal' ? [] : [level.name])));
  return new CompiledCapture(levels, stream, partitions, key === null ? null : parseKey(key, names));
}

function checkFields(definition: unknown): RuleFields {
  if (typeof definition !== 'object' || definition === null || Array.isArray(definition)) {
    refuse(
      '',
      'a mapping is an object with match, stream, and optionally key and partitions, or one with from and to',
    );
  }
  for (const name of Object.keys(definition)) {
    if (!FIELDS.has(name)) {
      const pointer = `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
      refuse(pointer, `unknown field; a mapping has ${[...FIELDS].join(', ')}, or from and to`);
    }
  }
  return definition;
}

export function checkStream(stream: unknown, field = '/stream'): string {
  if (typeof stream !== 'string') refuse(field, 'must be text, the name of a stream');
  if (!STREAM_NAME.test(stream))
    refuse(field, '1 to 249 letters, digits, `.`, `_` and `-`, as every protocol takes');
  if (stream === '.' || stream === '..') refuse(field, '`.` and `..` are no names of streams');
  if (stream.startsWith('__'))
    refuse(field, 'names that begin with __ are kept for Kafka clients’ internal topics');
  return stream;
}

export function checkPartitions(partitions: unknown, field = '/partitions'): number {
  const max = DEFAULT_LIMITS.partitionsPerStreamMax;
  if (partitions === undefined) return PARTITIONS_DEFAULT;
  if (typeof partitions !== 'number' || !Number.isInteger(partitions) || partitions < 1 || partitions > max) {
    refuse(field, `must be a whole number from 1 to ${max}`);
  }
  return partitions;
}

type KeyPart = string | Span | typeof WHOLE;
/** The whole address, in a key. */
const WHOLE = 0;

export class CompiledCapture implements MappingRule {
  readonly pattern: Pattern;
  readonly stream: string;
  readonly partitions: number;
  readonly oneWayReason?: string;
  readonly accepts?: (address: string) => boolean;
  readonly #levels: readonly Level[];
  readonly #template: readonly TemplatePart[] | null;
  readonly #key: readonly KeyPart[];

  constructor(
    levels: readonly Level[],
    stream: string,
    partitions: number,
    template: readonly TemplatePart[] | null,
  ) {
    this.stream = stream;
    this.partitions = partitions;
    this.#levels = levels;
    this.#template = template;
    this.pattern = patternFromLevels(levels);
    const spans = spansFromLevels(levels);
    this.#key = (template ?? []).map((part) => {
      if (part.kind === 'text') return part.text;
      return part.name === ADDRESS_VARIABLE ? WHOLE : spans.get(part.name)!;
    });
    const accepts = acceptsFromSpans(spans);
    if (accepts !== null) this.accepts = accepts;
    const reason = oneWayReason(levels, template);
    if (reason !== null) this.oneWayReason = reason;
  }

  keyOf(address: string): Uint8Array | null {
    if (this.#template === null) return null;
    let text = '';
    for (const part of this.#key) {
      text += typeof part === 'string' ? part : part === WHOLE ? address : capturedText(address, part);
    }
    return Buffer.from(text);
  }

  addressOf(key: Uint8Array | null): string | null {
    // Without captures every record of the stream belongs to the one address, whatever its key.
    if (this.pattern.literal !== null) return this.pattern.literal;
    if (this.oneWayReason !== undefined || key === null || !isUtf8(key)) return null;
    if (key.length > DEFAULT_LIMITS.addressBytesMax || key.includes(0)) return null;
    const text = Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString();
    const captures = capturesFromKey(this.#template!, this.#levels, text);
    const address = captures === null ? null : addressFromCaptures(this.#levels, captures);
    // What a client made up may look like a key and still lead elsewhere: only an address that has this key counts.
    if (address === null || !this.pattern.matches(address) || this.accepts?.(address) === false) return null;
    if (Buffer.byteLength(address) > DEFAULT_LIMITS.addressBytesMax) return null;
    return Buffer.compare(this.keyOf(address)!, key) === 0 ? address : null;
  }
}
