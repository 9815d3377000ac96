/**
 * The words in which the tables of this folder describe Kafka's requests and responses: a field has a name, a type
 * and the versions that carry it; some may be null from a version on, some travel as tagged fields of flexible
 * versions (KIP-482). The tables (`*-apis.ts`) are plain data; `compile.ts` makes decoders and encoders of them, and
 * the shapes of decoded values are inferred from them, so that a handler cannot name a field that is not there.
 */

export type WireType =
  | 'bool'
  | 'int8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'int64'
  | 'string'
  | 'bytes'
  /** Record batches: bytes that are never looked into here. */
  | 'records'
  | 'uuid'
  | 'struct'
  | 'array';

export interface Field<Name extends string = string, Value = unknown> {
  readonly name: Name;
  readonly type: WireType;
  /** The versions that carry it, both included. */
  readonly from: number;
  readonly to: number;
  /** From this version on it may be null. */
  readonly nullableFrom: number;
  /** Its number among the tagged fields, or -1. */
  readonly tag: number;
  /** What a decoder gives where the version does not carry it, and an encoder writes where it was not given. */
  readonly initial: unknown;
  /** Elements of an array. */
  readonly element: WireType | null;
  /** Of a struct or of an array of structs. */
  readonly fields: readonly Field[] | null;
  /** Never there: carries the type of its value. */
  readonly value?: Value;
}

/** What a decoder makes of these fields: every name is there, whatever the version. */
export type Shape<Fields extends readonly Field[]> = {
  readonly [F in Fields[number] as F['name']]: F extends Field<string, infer Value> ? Value : never;
};

/** What an encoder takes: what is left out has its initial value. */
export type Draft<Value> = Value extends Uint8Array
  ? Value
  : Value extends readonly (infer Element)[]
    ? readonly Draft<Element>[]
    : Value extends object
      ? { readonly [Name in keyof Value]?: Draft<Value[Name]> }
      : Value;

/** Versions as text: `3+`, `0-4`, `7`. */
type Versions = string;

interface Options<Value> {
  /** Versions, always open-ended, from which the value may be null. */
  readonly nullable?: Versions;
  readonly tag?: number;
  readonly initial?: Value;
}

function parseVersions(versions: Versions): readonly [from: number, to: number] {
  const dash = versions.indexOf('-');
  if (versions.endsWith('+')) return [Number(versions.slice(0, -1)), Number.POSITIVE_INFINITY];
  if (dash < 0) return [Number(versions), Number(versions)];
  return [Number(versions.slice(0, dash)), Number(versions.slice(dash + 1))];
}

function define<Name extends string, Value>(
  name: Name,
  type: WireType,
  versions: Versions,
  options: Options<unknown>,
  initial: unknown,
  parts: { readonly element?: WireType; readonly fields?: readonly Field[] } = {},
): Field<Name, Value> {
  const [from, to] = parseVersions(versions);
  return {
    name,
    type,
    from,
    to,
    nullableFrom:
      options.nullable === undefined ? Number.POSITIVE_INFINITY : parseVersions(options.nullable)[0],
    tag: options.tag ?? -1,
    initial: options.initial === undefined ? initial : options.initial,
    element: parts.element ?? null,
    fields: parts.fields ?? null,
  };
}

type Scalar<Value> = <const Name extends string>(
  name: Name,
  versions: Versions,
  options?: Options<Value>,
) => Field<Name, Value>;

function scalar<Value>(type: WireType, initial: Value): Scalar<Value> {
  return (name, versions, options = {}) => define(name, type, versions, options, initial);
}

export const bool = scalar<boolean>('bool', false);
export const int8 = scalar<number>('int8', 0);
export const int16 = scalar<number>('int16', 0);
export const uint16 = scalar<number>('uint16', 0);
export const int32 = scalar<number>('int32', 0);
/** Numbers beyond 2^53 are rounded: offsets, times and producer ids of this server are smaller. */
export const int64 = scalar<number>('int64', 0);
export const string = scalar<string>('string', '');
export const nullableString = scalar<string | null>('string', '');
const EMPTY_BYTES = Buffer.alloc(0);
export const bytes = scalar<Buffer>('bytes', EMPTY_BYTES);
export const nullableBytes = scalar<Buffer | null>('bytes', null);
export const records = scalar<Buffer | null>('records', null);
/** 32 hexadecimal digits. */
export const uuid = scalar<string>('uuid', '0'.repeat(32));

export function struct<const Name extends string, const Fields extends readonly Field[]>(
  name: Name,
  versions: Versions,
  options: Options<null>,
  fields: Fields,
): Field<Name, Shape<Fields> | null> {
  return define(name, 'struct', versions, options, null, { fields });
}

export function array<const Name extends string, const Fields extends readonly Field[]>(
  name: Name,
  versions: Versions,
  fields: Fields,
  options: Options<readonly []> = {},
): Field<Name, readonly Shape<Fields>[]> {
  return define(name, 'array', versions, options, [], { element: 'struct', fields });
}

export function nullableArray<const Name extends string, const Fields extends readonly Field[]>(
  name: Name,
  versions: Versions,
  fields: Fields,
  options: Options<null>,
): Field<Name, readonly Shape<Fields>[] | null> {
  return define(name, 'array', versions, options, [], { element: 'struct', fields });
}

interface ElementValues {
  readonly int8: number;
  readonly int32: number;
  readonly int64: number;
  readonly string: string;
  readonly uuid: string;
}

export function list<const Name extends string, const Element extends keyof ElementValues>(
  name: Name,
  versions: Versions,
  element: Element,
): Field<Name, readonly ElementValues[Element][]> {
  return define(name, 'array', versions, {}, [], { element });
}

export function nullableList<const Name extends string, const Element extends keyof ElementValues>(
  name: Name,
  versions: Versions,
  element: Element,
  options: Options<null>,
): Field<Name, readonly ElementValues[Element][] | null> {
  return define(name, 'array', versions, options, [], { element });
}

export interface Api<
  Request extends readonly Field[] = readonly Field[],
  Response extends readonly Field[] = readonly Field[],
> {
  readonly key: number;
  readonly name: string;
  /** What is decoded and answered, both included. */
  readonly versionMin: number;
  readonly versionMax: number;
  /** The first version with compact types and tagged fields. */
  readonly flexibleFrom: number;
  readonly request: Request;
  readonly response: Response;
}

export type RequestOf<A extends Api> = Shape<A['request']>;
export type ResponseOf<A extends Api> = Shape<A['response']>;
export type ResponseDraft<A extends Api> = Draft<ResponseOf<A>>;

export function defineApi<const Request extends readonly Field[], const Response extends readonly Field[]>(
  key: number,
  name: string,
  versions: Versions,
  flexible: Versions | 'none',
  request: Request,
  response: Response,
): Api<Request, Response> {
  const [versionMin, versionMax] = parseVersions(versions);
  const flexibleFrom = flexible === 'none' ? Number.POSITIVE_INFINITY : parseVersions(flexible)[0];
  return { key, name, versionMin, versionMax, flexibleFrom, request, response };
}
