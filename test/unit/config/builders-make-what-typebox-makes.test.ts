/** The settings' own builders of schemas: TypeBox reads what they make as its own, and it is the same as JSON. */
import TypeBox from 'typebox';
import { Check, Default } from 'typebox/value';
import { expect, it } from 'vitest';
import { Type } from '../../../src/schema-types.ts';

/** What can be seen, and what TypeBox hides, all the way down. */
function reveal(schema: unknown): unknown {
  if (typeof schema !== 'object' || schema === null) return schema;
  if (Array.isArray(schema)) return schema.map(reveal);
  const entries = Object.entries(Object.getOwnPropertyDescriptors(schema)).sort(([a], [b]) =>
    a < b ? -1 : 1,
  );
  return entries.map(([key, { value, enumerable }]) => [key, enumerable, reveal(value)]);
}

const build = (type: typeof Type | typeof TypeBox) => {
  const { Array: list, Object: object } = type as typeof Type;
  return object(
    {
      whole: type.Integer({ default: 3, minimum: 1, description: 'w' }),
      number: type.Number(),
      yes: type.Boolean({ default: true }),
      text: type.String({ default: 'x', minLength: 1 }),
      maybe: type.Optional(type.String({ minLength: 2 })),
      mode: type.Union([type.Literal('a'), type.Literal(1), type.Literal(true)], { default: 'a' }),
      none: type.Null(),
      any: type.Unknown({ description: 'u' }),
      many: list(type.Integer(), { default: [] }),
      named: type.Record(type.String(), type.Boolean(), { default: {} }),
      inner: object({ only: type.Optional(type.Integer()) }, { additionalProperties: false, default: {} }),
      unsafe: (type as typeof Type).Unsafe<'a'>({ type: 'string', enum: ['a'] }),
    },
    { additionalProperties: false },
  );
};

it('are the same, seen and hidden', () => {
  expect(reveal(build(Type))).toEqual(reveal(build(TypeBox)));
});

it('are understood by TypeBox', () => {
  const schema = Type.Object({ a: Type.Integer({ default: 1 }), b: Type.Optional(Type.String()) });
  expect(Default(schema, {})).toEqual({ a: 1 });
  expect(Check(schema, { a: 1 })).toBe(true);
  expect(Check(schema, { a: 'x' })).toBe(false);
});
