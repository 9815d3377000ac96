import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeArguments, encodeMethod } from '../../../adapters/amqp091/codec/method-codec.ts';
import {
  METHODS,
  type MethodArguments,
  type MethodDefinition,
  type MethodName,
  methodNumber,
} from '../../../adapters/amqp091/codec/methods.ts';
import { Amqp091Error } from '../../../adapters/amqp091/errors.ts';
import type { Header } from '../../../src/core/index.ts';
import { codePoint } from '../../support/code-points.ts';
import { amqplib, amqplibMethods } from './amqplib-codec.ts';

const NAMES = Object.keys(METHODS) as MethodName[];

/** `connection.start-ok` → `ConnectionStartOk` */
function amqplibName(name: MethodName): string {
  return name
    .split(/[.-]/)
    .map((word) => (word[0] ?? '').toUpperCase() + word.slice(1))
    .join('');
}

const shortString = fc
  .string({ unit: codePoint, maxLength: 60 })
  .filter((text) => Buffer.byteLength(text) <= 255);

/** Values that both tables of ours and amqplib's objects hold alike. */
const table = fc.dictionary(
  fc
    .string({ minLength: 1, maxLength: 8 })
    .filter((name) => name !== '__proto__' && Number.isNaN(Number(name))),
  fc.oneof(fc.string({ maxLength: 10 }), fc.boolean(), fc.constant(null)),
  { maxKeys: 5 },
);

function headersFrom(object: Record<string, string | boolean | null>): Header[] {
  return Object.entries(object).map(([name, value]) => ({
    name,
    value:
      value === null
        ? { kind: 'null' }
        : typeof value === 'string'
          ? { kind: 'string', value }
          : { kind: 'bool', value },
  }));
}

/** The same arguments in our shape and in amqplib's. */
function argumentsOf(name: MethodName): fc.Arbitrary<{ ours: object; theirs: Record<string, unknown> }> {
  const fields = (METHODS[name] as MethodDefinition).fields;
  const byField = Object.entries(fields).map(([field, type]) => {
    const one: fc.Arbitrary<readonly [ours: unknown, theirs: unknown]> =
      type === 'bit'
        ? fc.boolean().map((value) => [value, value] as const)
        : type === 'octet'
          ? fc.integer({ min: 0, max: 255 }).map((value) => [value, value] as const)
          : type === 'short'
            ? fc.integer({ min: 0, max: 65_535 }).map((value) => [value, value] as const)
            : type === 'long'
              ? fc.integer({ min: 0, max: 0xffff_ffff }).map((value) => [value, value] as const)
              : type === 'longlong'
                ? fc.maxSafeNat().map((value) => [value, value] as const)
                : type === 'shortstr'
                  ? shortString.map((value) => [value, value] as const)
                  : type === 'table'
                    ? table.map((value) => [headersFrom(value), value] as const)
                    : fc
                        .uint8Array({ maxLength: 40 })
                        .map((value) => [Buffer.from(value), Buffer.from(value)] as const);
    return one.map(([ours, theirs]) => [field, ours, theirs] as const);
  });
  return fc.tuple(...byField).map((values) => ({
    ours: Object.fromEntries(values.map(([field, ours]) => [field, ours])),
    theirs: Object.fromEntries(values.map(([field, , theirs]) => [field, theirs])),
  }));
}

describe('the table of methods', () => {
  test('is the one that amqplib generates from the specification', () => {
    const ours = NAMES.map((name) => {
      const { classId, methodId, fields } = METHODS[name] as MethodDefinition;
      return {
        name: amqplibName(name),
        number: methodNumber(classId, methodId),
        fields: Object.entries(fields).map(([field, type]) => `${field}: ${type}`),
      };
    });
    const theirs = amqplibMethods().map(({ name, classId, methodId, args }) => ({
      name,
      number: methodNumber(classId, methodId),
      fields: args.map((each) => `${each.name}: ${each.type}`),
    }));
    const byNumber = (a: { number: number }, b: { number: number }) => a.number - b.number;
    expect(ours.sort(byNumber)).toEqual(theirs.sort(byNumber));
  });
});

describe.each(NAMES)('%s', (name) => {
  const { classId, methodId } = METHODS[name] as MethodDefinition;
  const number = methodNumber(classId, methodId);

  test('is written as amqplib writes it, and read as it is written', () => {
    fc.assert(
      fc.property(argumentsOf(name), fc.integer({ min: 0, max: 65_535 }), ({ ours, theirs }, channel) => {
        const frame = encodeMethod(channel, name, ours as MethodArguments<typeof name>);
        expect(frame).toEqual(amqplib.encodeMethod(number, channel, theirs));
        const payload = frame.subarray(7, -1);
        expect(decodeArguments(name, payload, 4, payload.length)).toEqual(ours);
        const decoded = amqplib.decode(number, Buffer.from(payload.subarray(4)));
        for (const [field, value] of Object.entries(theirs)) expect(decoded[field]).toEqual(value);
      }),
      { numRuns: 30 },
    );
  });

  test('cut short anywhere is refused with 501', () => {
    fc.assert(
      fc.property(argumentsOf(name), fc.nat(), ({ ours }, cut) => {
        const frame = encodeMethod(1, name, ours as MethodArguments<typeof name>);
        const payload = frame.subarray(7, -1);
        if (payload.length === 4) return;
        const end = 4 + (cut % (payload.length - 4));
        try {
          decodeArguments(name, payload, 4, end);
        } catch (error) {
          expect(error).toBeInstanceOf(Amqp091Error);
          expect((error as Amqp091Error).code).toBe(501);
          return;
        }
        expect.unreachable('a part was taken for the whole');
      }),
      { numRuns: 10 },
    );
  });
});
