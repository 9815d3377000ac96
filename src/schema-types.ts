/**
 * Builders of the schemas that settings are described with. They make what TypeBox makes, and TypeBox reads it; but TypeBox
 * itself, which has a whole language of types in it, costs a start three times what all settings together do, so it is
 * loaded by the HTTP API alone. Used by every file of settings, through door 2 where that is the way.
 */

import type TypeBox from 'typebox';

export type { Static, TInteger, TSchema } from 'typebox';

type Builders = Pick<
  typeof TypeBox,
  | 'Array'
  | 'Boolean'
  | 'Integer'
  | 'Literal'
  | 'Null'
  | 'Number'
  | 'Object'
  | 'Optional'
  | 'Record'
  | 'String'
  | 'Union'
  | 'Unknown'
  | 'Unsafe'
>;

type Properties = Readonly<Record<string, object>>;

/** What TypeBox asks a schema for, beside JSON Schema. */
const KIND = '~kind';
const OPTIONAL = '~optional';

function make(kind: string, schema: object, options: object = {}): object {
  return hide({ ...schema, ...options }, KIND, kind);
}

/** Not seen by who lists the properties. */
function hide(schema: object, key: string, value: unknown): object {
  return Object.defineProperty(schema, key, { configurable: true, writable: true, enumerable: false, value });
}

const builders = {
  Array: (items: object, options?: object) => make('Array', { type: 'array', items }, options),
  Boolean: (options?: object) => make('Boolean', { type: 'boolean' }, options),
  Integer: (options?: object) => make('Integer', { type: 'integer' }, options),
  Literal: (value: string | number | boolean, options?: object) =>
    make('Literal', { type: typeof value, const: value }, options),
  Null: (options?: object) => make('Null', { type: 'null' }, options),
  Number: (options?: object) => make('Number', { type: 'number' }, options),
  Object: (properties: Properties, options?: object) => {
    const required = Object.keys(properties).filter((key) => !(OPTIONAL in (properties[key] as object)));
    return make(
      'Object',
      { type: 'object', ...(required.length > 0 ? { required } : {}), properties },
      options,
    );
  },
  Optional: (schema: object) => {
    const kind = (schema as Readonly<Record<string, unknown>>)[KIND];
    return hide(make(String(kind), schema), OPTIONAL, true);
  },
  Record: (_key: object, value: object, options?: object) =>
    make('Record', { type: 'object', patternProperties: { '^.*$': value } }, options),
  String: (options?: object) => make('String', { type: 'string' }, options),
  Union: (anyOf: readonly object[], options?: object) => make('Union', { anyOf }, options),
  Unknown: (options?: object) => make('Unknown', {}, options),
  Unsafe: (schema: object) => hide({ ...schema }, '~unsafe', null),
};

/** As `Type` of TypeBox. */
export const Type = builders as unknown as Builders;
