/**
 * Makes decoders and encoders of the tables: for each API and version one list of steps, in which versions, compact
 * types and nullability are already decided. Made on first use and kept. The server decodes requests and encodes
 * responses; the mirror pair exists for tests, which hold all four against other implementations.
 */

import { MalformedRequest, Reader } from './reader.ts';
import type { Api, Field, RequestOf, ResponseDraft, ResponseOf, Shape } from './schema.ts';
import { Writer } from './writer.ts';

type Values = Record<string, unknown>;
type Decode = (reader: Reader) => unknown;
type Encode = (writer: Writer, value: never) => void;

const MISSING: unique symbol = Symbol('missing');

/** Bytes that a value of these fields has at least, to bound array counts. */
function leastBytes(fields: readonly Field[], version: number, flexible: boolean): number {
  let bytes = flexible ? 1 : 0;
  for (const field of fields) {
    if (!isCarried(field, version) || (flexible && field.tag >= 0)) continue;
    bytes += leastBytesOf(field, version, flexible);
  }
  return bytes;
}

function leastBytesOf(field: Field, version: number, flexible: boolean): number {
  switch (field.type) {
    case 'bool':
    case 'int8':
      return 1;
    case 'int16':
    case 'uint16':
      return 2;
    case 'int32':
      return 4;
    case 'int64':
      return 8;
    case 'uuid':
      return 16;
    case 'string':
      return flexible ? 1 : 2;
    case 'struct':
      return field.nullableFrom <= version ? 1 : leastBytes(field.fields ?? [], version, flexible);
    default:
      return flexible ? 1 : 4;
  }
}

function isCarried(field: Field, version: number): boolean {
  return field.from <= version && version <= field.to;
}

// ------------------------------------------------------------------------------------------------- decoding

function decoderOfFields(
  fields: readonly Field[],
  version: number,
  flexible: boolean,
): (reader: Reader) => Values {
  const names = fields.map((field) => field.name);
  const initials = fields.map((field) => field.initial);
  const inline: (readonly [name: string, decode: Decode])[] = [];
  const tagged = new Map<number, readonly [name: string, decode: Decode]>();
  for (const field of fields) {
    if (!isCarried(field, version)) continue;
    const step = [field.name, decoderOf(field, version, flexible)] as const;
    if (flexible && field.tag >= 0) tagged.set(field.tag, step);
    else inline.push(step);
  }
  return (reader) => {
    const values: Values = {};
    for (let i = 0; i < names.length; i++) values[names[i] as string] = initials[i];
    for (const [name, decode] of inline) values[name] = decode(reader);
    if (flexible) readTags(reader, tagged, values);
    return values;
  };
}

/** Unknown tags are skipped, as every reader must (KIP-482). */
function readTags(
  reader: Reader,
  tagged: ReadonlyMap<number, readonly [name: string, decode: Decode]>,
  values: Values,
): void {
  for (let left = reader.uvarint(); left > 0; left--) {
    const step = tagged.get(reader.uvarint());
    const size = reader.uvarint();
    const at = reader.take(size);
    if (step !== undefined) values[step[0]] = step[1](new Reader(reader.buffer, at, at + size));
  }
}

function decoderOf(field: Field, version: number, flexible: boolean): Decode {
  const nullable = field.nullableFrom <= version;
  switch (field.type) {
    case 'bool':
      return (reader) => reader.bool();
    case 'int8':
      return (reader) => reader.int8();
    case 'int16':
      return (reader) => reader.int16();
    case 'uint16':
      return (reader) => reader.uint16();
    case 'int32':
      return (reader) => reader.int32();
    case 'int64':
      return (reader) => reader.int64();
    case 'uuid':
      return (reader) => reader.uuid();
    case 'string':
      return (reader) => reader.string(flexible, nullable);
    case 'bytes':
    case 'records':
      return (reader) => reader.bytes(flexible, nullable || field.type === 'records');
    case 'struct': {
      const decode = decoderOfFields(field.fields ?? [], version, flexible);
      return nullable ? (reader) => (reader.int8() < 0 ? null : decode(reader)) : decode;
    }
    case 'array':
      return decoderOfArray(field, version, flexible, nullable);
  }
}

function decoderOfArray(field: Field, version: number, flexible: boolean, nullable: boolean): Decode {
  const { fields } = field;
  const element = elementOf(field);
  const decode =
    fields === null ? decoderOf(element, version, flexible) : decoderOfFields(fields, version, flexible);
  const bytesMin =
    fields === null ? leastBytesOf(element, version, flexible) : leastBytes(fields, version, flexible);
  return (reader) => {
    const count = reader.count(flexible, nullable, bytesMin);
    if (count < 0) return null;
    const values: unknown[] = [];
    for (let i = 0; i < count; i++) values.push(decode(reader));
    return values;
  };
}

/** An array's element as a field of its own. */
function elementOf(field: Field): Field {
  return {
    ...field,
    type: field.element ?? 'struct',
    element: null,
    from: 0,
    to: Number.POSITIVE_INFINITY,
    nullableFrom: Number.POSITIVE_INFINITY,
  };
}

// ------------------------------------------------------------------------------------------------- encoding

type EncodeFields = (writer: Writer, values: Values) => void;

function encoderOfFields(fields: readonly Field[], version: number, flexible: boolean): EncodeFields {
  const inline: (readonly [field: Field, encode: Encode])[] = [];
  const tagged: (readonly [field: Field, encode: Encode])[] = [];
  for (const field of fields) {
    if (!isCarried(field, version)) continue;
    const step = [field, encoderOf(field, version, flexible)] as const;
    if (flexible && field.tag >= 0) tagged.push(step);
    else inline.push(step);
  }
  tagged.sort(([a], [b]) => a.tag - b.tag);
  return (writer, values) => {
    for (const [field, encode] of inline) encode(writer, givenOrInitial(values, field) as never);
    if (flexible) writeTags(writer, tagged, values);
  };
}

function givenOrInitial(values: Values, field: Field): unknown {
  const value = values[field.name];
  return value === undefined ? field.initial : value;
}

/** What has its initial value is left out. */
function writeTags(
  writer: Writer,
  tagged: readonly (readonly [field: Field, encode: Encode])[],
  values: Values,
): void {
  const given = tagged.filter(([field]) => isGiven(values[field.name] ?? MISSING, field.initial));
  writer.uvarint(given.length);
  for (const [field, encode] of given) {
    const content = new Writer();
    encode(content, values[field.name] as never);
    const bytes = content.cut();
    writer.uvarint(field.tag);
    writer.uvarint(bytes.length);
    writer.raw(bytes);
  }
}

function isGiven(value: unknown, initial: unknown): boolean {
  if (value === MISSING || value === initial) return false;
  return !(Array.isArray(value) && value.length === 0);
}

function encoderOf(field: Field, version: number, flexible: boolean): Encode {
  switch (field.type) {
    case 'bool':
      return (writer, value: boolean) => writer.bool(value);
    case 'int8':
      return (writer, value: number) => writer.int8(value);
    case 'int16':
      return (writer, value: number) => writer.int16(value);
    case 'uint16':
      return (writer, value: number) => writer.uint16(value);
    case 'int32':
      return (writer, value: number) => writer.int32(value);
    case 'int64':
      return (writer, value: number) => writer.int64(value);
    case 'uuid':
      return (writer, value: string) => writer.uuid(value);
    case 'string':
      return (writer, value: string | null) => writer.string(value, flexible);
    case 'bytes':
    case 'records':
      return (writer, value: Uint8Array | null) => writer.bytes(value, flexible);
    case 'struct': {
      const encode = encoderOfFields(field.fields ?? [], version, flexible);
      if (field.nullableFrom > version) return (writer, value: Values | null) => encode(writer, value ?? {});
      return (writer, value: Values | null) => {
        writer.int8(value === null ? -1 : 1);
        if (value !== null) encode(writer, value);
      };
    }
    case 'array': {
      const { fields } = field;
      const encode: Encode =
        fields === null
          ? encoderOf(elementOf(field), version, flexible)
          : encoderOfFields(fields, version, flexible);
      return (writer, values: readonly unknown[] | null) => {
        writer.count(values === null ? -1 : values.length, flexible);
        for (const value of values ?? []) encode(writer, value as never);
      };
    }
  }
}

// ------------------------------------------------------------------------------------------- by API, version

/** One cache for each of the four directions. */
function cached<Made>(make: (api: Api, version: number) => Made): (api: Api, version: number) => Made {
  const made = new Map<number, Made>();
  return (api, version) => {
    const at = api.key * 256 + version;
    let found = made.get(at);
    if (found === undefined) {
      found = make(api, version);
      made.set(at, found);
    }
    return found;
  };
}

const requestDecoder = cached((api, version) =>
  decoderOfFields(api.request, version, api.flexibleFrom <= version),
);
const responseEncoder = cached((api, version) =>
  encoderOfFields(api.response, version, api.flexibleFrom <= version),
);
const responseDecoder = cached((api, version) =>
  decoderOfFields(api.response, version, api.flexibleFrom <= version),
);
const requestEncoder = cached((api, version) =>
  encoderOfFields(api.request, version, api.flexibleFrom <= version),
);

/** The body of a request; throws `MalformedRequest`, also where bytes are left over. */
export function decodeRequest<A extends Api>(api: A, version: number, reader: Reader): RequestOf<A> {
  const values = requestDecoder(api, version)(reader);
  if (reader.left > 0) throw new MalformedRequest(`${reader.left} bytes follow the request`);
  return values as RequestOf<A>;
}

/** Writes the body of a response. */
export function encodeResponse<A extends Api>(
  api: A,
  version: number,
  writer: Writer,
  response: ResponseDraft<A>,
): void {
  responseEncoder(api, version)(writer, response as Values);
}

export function decodeResponse<A extends Api>(api: A, version: number, reader: Reader): ResponseOf<A> {
  return responseDecoder(api, version)(reader) as ResponseOf<A>;
}

export function encodeRequest<A extends Api>(
  api: A,
  version: number,
  writer: Writer,
  request: Partial<Shape<A['request']>>,
): void {
  requestEncoder(api, version)(writer, request as Values);
}
