/**
 * Arguments of declarations (`x-message-ttl` and the like): reading, checking and naming them in error texts. Used
 * by the handlers of exchanges, queues and consumers.
 */

import { CoreError, type Header, type HeaderValue } from '../../../src/core/index.ts';
import { channelError, explain } from '../errors.ts';

/** RabbitMQ drops line ends from the names of what is declared. */
export function nameWithoutLineEnds(name: string): string {
  return /[\r\n]/.test(name) ? name.replace(/[\r\n]/g, '') : name;
}

export function findArgument(headers: readonly Header[], name: string): HeaderValue | undefined {
  return headers.find((header) => header.name === name)?.value;
}

/** What the value of an argument is, whatever its width: 1 and 1 are equal as a byte and as a long. */
export function integerOf(value: HeaderValue): number | null {
  switch (value.kind) {
    case 'i8':
    case 'u8':
    case 'i16':
    case 'u16':
    case 'i32':
    case 'u32':
      return value.value;
    case 'i64':
    case 'u64':
      return Number(value.value);
    default:
      return null;
  }
}

export function stringArgument(
  headers: readonly Header[],
  name: string,
  kind: 'queue' | 'exchange',
  entity: string,
): string | null {
  const value = findArgument(headers, name);
  if (value === undefined || value.kind === 'null') return null;
  if (value.kind === 'string') {
    if (value.value.includes('\u0000')) throw invalid(name, kind, entity, 'it contains U+0000');
    return value.value;
  }
  throw invalid(name, kind, entity, `expected a string, got ${typeName(value)}`);
}

/** -1 where it is absent. */
export function integerArgument(
  headers: readonly Header[],
  name: string,
  entity: string,
  min: number,
): number {
  const value = findArgument(headers, name);
  if (value === undefined) return -1;
  const integer = integerOf(value);
  if (integer === null) throw invalid(name, 'queue', entity, `expected an integer, got ${typeName(value)}`);
  if (integer < min || !Number.isSafeInteger(integer)) {
    throw invalid(name, 'queue', entity, `${integer} is not between ${min} and ${Number.MAX_SAFE_INTEGER}`);
  }
  return integer;
}

export function invalid(name: string, kind: 'queue' | 'exchange', entity: string, reason: string): Error {
  return channelError('precondition-failed', explain.invalidArgument(name, kind, entity, reason));
}

/** RabbitMQ's words for the types of values. */
function typeName(value: HeaderValue): string {
  switch (value.kind) {
    case 'string':
      return 'longstr';
    case 'bool':
      return 'bool';
    case 'i8':
      return 'byte';
    case 'u8':
      return 'unsignedbyte';
    case 'i16':
      return 'short';
    case 'u16':
      return 'unsignedshort';
    case 'i32':
      return 'signedint';
    case 'u32':
      return 'unsignedint';
    case 'i64':
    case 'u64':
      return 'long';
    case 'f32':
      return 'float';
    case 'f64':
      return 'double';
    case 'null':
      return 'void';
    case 'list':
      return 'array';
    case 'map':
      return 'table';
    case 'bytes':
      return 'binary';
    default:
      return value.kind;
  }
}

/** As error texts show an argument: its value and type, or that there is none. */
export function describeValue(headers: readonly Header[], name: string): string {
  const value = findArgument(headers, name);
  if (value === undefined) return 'none';
  const shown = 'value' in value && typeof value.value !== 'object' ? String(value.value) : typeName(value);
  return `the value '${shown}' of type '${typeName(value)}'`;
}

/** Whether both say the same under this name: integers by value, all else as text of the same type. */
export function isSameArgument(a: readonly Header[], b: readonly Header[], name: string): boolean {
  const x = findArgument(a, name);
  const y = findArgument(b, name);
  if (x === undefined || y === undefined) return x === y;
  const integer = integerOf(x);
  if (integer !== null) return integer === integerOf(y);
  return describeValue(a, name) === describeValue(b, name);
}

/** Does what the core may refuse, with RabbitMQ's words for the refusal. */
export function explained<Result>(kind: 'queue' | 'exchange', name: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    if (error instanceof CoreError && error.code === 'in-use') {
      throw channelError('precondition-failed', explain.inUse(kind, name));
    }
    if (error instanceof CoreError && error.code === 'not-empty') {
      throw channelError('precondition-failed', explain.notEmpty(name));
    }
    throw error;
  }
}
