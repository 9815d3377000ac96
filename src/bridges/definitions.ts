/**
 * What may be said of connections and bridges, and how it is held against that: schemas of the parts that all drivers
 * share, defaults filled in, and the first fault told with a pointer to the field. What only one driver knows is checked
 * with that driver's own schemas.
 */

import { CoreError } from '../core/index.ts';
import { findNearest } from '../nearest-name.ts';
import { type TSchema, Type } from '../schema-types.ts';

export const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const MAPPINGS_MAX = 64;

const DURATION_MS_MAX = 3_600_000;

export const bridgeSchema = Type.Object(
  {
    connection: Type.String({ minLength: 1, description: 'Name of a connection.' }),
    direction: Type.Union([Type.Literal('out'), Type.Literal('in')], {
      description: 'out: from here to the other side. in: from there to here.',
    }),
    mappings: Type.Array(Type.Object({}, { additionalProperties: true }), {
      minItems: 1,
      maxItems: MAPPINGS_MAX,
      description: 'The first that takes a message is the only one.',
    }),
    delivery: Type.Union(
      [Type.Literal('at-least-once'), Type.Literal('at-most-once'), Type.Literal('exactly-once')],
      { default: 'at-least-once', description: 'Not every driver knows each of them.' },
    ),
    paused: Type.Boolean({ default: false, description: 'It does not connect; what it would send waits.' }),
    required: Type.Boolean({
      default: false,
      description: 'The gateway is not ready while it is not connected.',
    }),
    buffer: Type.Object(
      {
        bytesMax: Type.Integer({
          default: 256 * 1024 * 1024,
          minimum: 1_024,
          maximum: 2 ** 40,
          description: 'Bytes of bodies that may wait on the disk for the other side.',
        }),
        messagesMax: Type.Integer({
          default: 1_000_000,
          minimum: 1,
          maximum: 100_000_000,
          description: 'Messages that may wait.',
        }),
        overflow: Type.Union([Type.Literal('block'), Type.Literal('drop-oldest'), Type.Literal('drop-new')], {
          default: 'block',
          description: 'Beyond the bounds publishers are refused, the oldest go, or new ones do.',
        }),
      },
      { additionalProperties: false, default: {}, description: 'Out: what waits for the other side.' },
    ),
    batch: Type.Object(
      {
        messagesMax: Type.Integer({
          default: 500,
          minimum: 1,
          maximum: 10_000,
          description: 'Messages sent together.',
        }),
        bytesMax: Type.Integer({
          default: 1024 * 1024,
          minimum: 1,
          maximum: 64 * 1024 * 1024,
          description: 'Bytes of bodies sent together; one message may have more.',
        }),
      },
      { additionalProperties: false, default: {}, description: 'Out: what is sent at once.' },
    ),
    inFlightMax: Type.Integer({
      default: 1_000,
      minimum: 1,
      maximum: 100_000,
      description: 'In: messages that were received and are not stored yet.',
    }),
    retry: Type.Object(
      {
        minMs: Type.Integer({
          default: 1_000,
          minimum: 10,
          maximum: DURATION_MS_MAX,
          description: 'Milliseconds before the first new try.',
        }),
        maxMs: Type.Integer({
          default: 30_000,
          minimum: 10,
          maximum: DURATION_MS_MAX,
          description: 'At most so many milliseconds between tries.',
        }),
      },
      {
        additionalProperties: false,
        default: {},
        description: 'Pauses between tries, chosen at random and longer each time.',
      },
    ),
    options: Type.Object(
      {},
      { additionalProperties: true, default: {}, description: 'Of the connection’s type and the direction.' },
    ),
  },
  { additionalProperties: false },
);

/** The part of JSON Schema that TypeBox's objects, unions, lists and plain values are made of. */
export interface Shape {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly anyOf?: readonly Shape[];
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly additionalProperties?: boolean | Shape;
  readonly required?: readonly string[];
  readonly items?: Shape;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  /** A value made by `secretSetting`. */
  readonly secret?: boolean;
}

export function refuse(field: string, text: string): never {
  throw new CoreError('invalid-argument', text, { field });
}

export function checkName(what: string, name: string): void {
  if (!NAME.test(name))
    throw new CoreError(
      'invalid-argument',
      `the name of a ${what} has 1 to 64 lower-case letters, digits, dots, _ and -, and begins with a letter or digit`,
      { field: '' },
    );
}

/** The value with defaults filled in. Throws CoreError `invalid-argument`, and never with a secret in its text. */
export function checked(schema: TSchema, value: unknown, field = ''): unknown {
  return check(schema as Shape, value, field);
}

function check(shape: Shape, value: unknown, field: string): unknown {
  if (shape.anyOf !== undefined) return checkChoices(shape, shape.anyOf, value, field);
  if ('const' in shape) {
    if (value !== shape.const) refuse(field, `must be ${JSON.stringify(shape.const)}`);
    return value;
  }
  switch (shape.type) {
    case 'object':
      return checkObject(shape, value, field);
    case 'array':
      return checkList(shape, value, field);
    case 'string':
      return checkText(shape, value, field);
    case 'integer':
    case 'number':
      return checkNumber(shape, value, field);
    case 'boolean':
      if (typeof value !== 'boolean') refuse(field, 'must be true or false');
      return value;
    case 'null':
      if (value !== null) refuse(field, 'must be null');
      return value;
    default:
      return value;
  }
}

function checkChoices(shape: Shape, choices: readonly Shape[], value: unknown, field: string): unknown {
  if (shape.secret === true && typeof value !== 'string' && !isObject(value))
    refuse(field, 'must be text, {env: NAME} or {file: PATH}');
  if (choices.every((choice) => 'const' in choice)) {
    if (!choices.some((choice) => choice.const === value))
      refuse(field, `must be one of ${choices.map((choice) => JSON.stringify(choice.const)).join(', ')}`);
    return value;
  }
  const faults: CoreError[] = [];
  for (const choice of choices) {
    try {
      return check(choice, value, field);
    } catch (error) {
      if (!(error instanceof CoreError)) throw error;
      faults.push(error);
    }
  }
  if (shape.secret === true) refuse(field, 'must be text, {env: NAME} or {file: PATH}');
  // The choice that went furthest is the one that was meant.
  const depth = (error: CoreError): number => error.field?.length ?? 0;
  const deepest = faults.reduce((best, each) => (depth(each) > depth(best) ? each : best));
  if (depth(deepest) > field.length) throw deepest;
  return refuse(field, faults.map(({ message }) => message).join(', or '));
}

function checkObject(shape: Shape, value: unknown, field: string): unknown {
  if (!isObject(value)) return refuse(field, 'must be an object');
  const { properties = {}, additionalProperties } = shape;
  const made: Record<string, unknown> = {};
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(properties, name)) continue;
    if (additionalProperties !== false) made[name] = value[name];
    else {
      const nearest = findNearest(name, Object.keys(properties));
      const known = Object.keys(properties).join(', ');
      const hint =
        nearest === null
          ? `; there ${known === '' ? 'are none' : `are ${known}`}`
          : `; did you mean ${nearest}?`;
      refuse(`${field}/${escapePointer(name)}`, `unknown field${hint}`);
    }
  }
  for (const [name, property] of Object.entries(properties)) {
    const at = `${field}/${escapePointer(name)}`;
    if (Object.hasOwn(value, name)) made[name] = check(property, value[name], at);
    else if ('default' in property) made[name] = check(property, structuredClone(property.default), at);
    else if (shape.required?.includes(name) === true)
      refuse(at, `is missing${property.description === undefined ? '' : `: ${property.description}`}`);
  }
  return made;
}

function checkList(shape: Shape, value: unknown, field: string): unknown {
  if (!Array.isArray(value)) return refuse(field, 'must be a list');
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY } = shape;
  if (value.length < minItems) refuse(field, `must have at least ${minItems} entries`);
  if (value.length > maxItems) refuse(field, `must have at most ${maxItems} entries`);
  return value.map((item, index) =>
    shape.items === undefined ? item : check(shape.items, item, `${field}/${index}`),
  );
}

function checkText(shape: Shape, value: unknown, field: string): unknown {
  if (typeof value !== 'string') return refuse(field, 'must be text');
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY } = shape;
  if (value.length < minLength)
    refuse(field, minLength === 1 ? 'must not be empty' : `must have at least ${minLength} characters`);
  if (value.length > maxLength) refuse(field, `must have at most ${maxLength} characters`);
  if (shape.pattern !== undefined && !new RegExp(shape.pattern, 'u').test(value))
    refuse(field, `does not have the form that is asked for: ${shape.description ?? shape.pattern}`);
  return value;
}

function checkNumber(shape: Shape, value: unknown, field: string): unknown {
  const isWhole = shape.type === 'integer';
  if (typeof value !== 'number' || !Number.isFinite(value) || (isWhole && !Number.isSafeInteger(value)))
    return refuse(field, `must be a ${isWhole ? 'whole ' : ''}number`);
  if (shape.minimum !== undefined && value < shape.minimum)
    refuse(field, `must be at least ${shape.minimum}`);
  if (shape.maximum !== undefined && value > shape.maximum) refuse(field, `must be at most ${shape.maximum}`);
  return value;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
