/** Rows of queues, sessions and retained messages: what is written is what is read, whatever a message holds. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CoreError,
  type DeliveryOptions,
  type Header,
  type HeaderValue,
  Message,
  type NativeCodec,
  PLAIN_DELIVERY,
  type Reliability,
} from '../../../src/core/index.ts';
import { bodyBytesOf, MessageFormat } from '../../../src/core/message-format.ts';

const codec: NativeCodec = { name: 'test', decode: () => ({ headers: [] }) };
const format = new MessageFormat([codec]);

const bytes = fc.uint8Array({ maxLength: 20 });
const header = fc.letrec<{ value: HeaderValue; header: Header }>((tie) => ({
  header: fc.record({ name: fc.string(), value: tie('value') }),
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.record({ kind: fc.constant('null' as const) }),
    fc.record({ kind: fc.constant('string' as const), value: fc.string({ unit: 'grapheme' }) }),
    fc.record({ kind: fc.constant('bytes' as const), value: bytes }),
    fc.record({ kind: fc.constant('f64' as const), value: fc.double() }),
    fc.record({
      kind: fc.constant('i64' as const),
      value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    }),
    fc.record({ kind: fc.constant('list' as const), value: fc.array(tie('value'), { maxLength: 3 }) }),
    fc.record({ kind: fc.constant('map' as const), value: fc.array(tie('header'), { maxLength: 3 }) }),
  ),
})).header;

const reliability = fc.constantFrom<Reliability[]>(0, 1, 2);
const message = fc
  .record({
    address: fc.string({ unit: 'grapheme', maxLength: 30 }),
    body: bytes,
    reliability,
    retain: fc.boolean(),
    nullBody: fc.boolean(),
    priority: fc.nat(255),
    expiresAtMs: fc.nat(),
    timestampMs: fc.nat(),
    key: fc.option(bytes),
    publisherId: fc.string(),
    native: fc.option(bytes),
    headers: fc.array(header, { maxLength: 4 }),
  })
  .map(({ native, headers, ...fields }) =>
    native === null
      ? new Message({ ...fields, properties: { contentType: 'text/plain', headers } })
      : new Message({ ...fields, codec, native }),
  );
const options: fc.Arbitrary<DeliveryOptions> = fc.record({
  reliability,
  subscriptionIds: fc.array(fc.nat(0xffff_ffff), { maxLength: 3 }),
  retained: fc.boolean(),
  keepRetain: fc.boolean(),
  via: fc.option(fc.string({ unit: 'grapheme' })),
});

function plain(value: Uint8Array | null): number[] | null {
  return value === null ? null : [...value];
}

describe('stored message', () => {
  it('is the same row whatever was written before', () => {
    const turns = fc
      .tuple(
        fc.array(message, { minLength: 1, maxLength: 3 }),
        fc.array(options, { minLength: 1, maxLength: 3 }),
      )
      .chain(([messages, deliveries]) =>
        fc.array(
          fc.record({
            of: fc.constantFrom(...messages),
            changes: fc.constantFrom(
              {},
              { priority: 3 },
              { publisherId: 'other' },
              { body: Buffer.alloc(5000) },
            ),
            delivery: fc.constantFrom(...deliveries),
            deadlineMs: fc.option(fc.nat()),
          }),
          { maxLength: 8 },
        ),
      );
    fc.assert(
      fc.property(turns, (all) => {
        const one = new MessageFormat([codec]);
        for (const { of, changes, delivery, deadlineMs } of all) {
          const sent = of.with(changes);
          const row = one.encode(sent, delivery, deadlineMs ?? sent.expiresAtMs);
          const alone = new MessageFormat([codec]).encode(sent, delivery, deadlineMs ?? sent.expiresAtMs);
          expect(row.equals(alone)).toBe(true);
        }
      }),
    );
  });

  it('tells how long its body is without being read', () => {
    const shared = fc.record({ of: options, sharedBy: fc.option(fc.string()) });
    fc.assert(
      fc.property(message, shared, fc.nat(), (before, { of, sharedBy }, deadlineMs) => {
        const delivery = sharedBy === null ? of : { ...of, sharedBy };
        expect(bodyBytesOf(format.encode(before, delivery, deadlineMs))).toBe(before.body.length);
      }),
    );
    fc.assert(fc.property(fc.uint8Array(), (row) => void bodyBytesOf(row)));
    expect(bodyBytesOf(Uint8Array.of(1))).toBe(0);
  });

  it('reads back as it was written', () => {
    fc.assert(
      fc.property(message, options, (before, delivery) => {
        const after = format.decode(format.encode(before, delivery, before.expiresAtMs));
        expect(after.options).toEqual(delivery);
        for (const name of [
          'address',
          'reliability',
          'retain',
          'nullBody',
          'priority',
          'publisherId',
        ] as const) {
          expect(after.message[name]).toBe(before[name]);
        }
        expect(after.message.expiresAtMs).toBe(before.expiresAtMs);
        expect(after.message.timestampMs).toBe(before.timestampMs);
        expect(plain(after.message.body)).toEqual(plain(before.body));
        expect(plain(after.message.key)).toEqual(plain(before.key));
        expect(plain(after.message.native)).toEqual(plain(before.native));
        expect(after.message.codec).toBe(before.codec);
        expect(after.message.properties).toEqual(before.properties);
      }),
    );
  });

  it.each([
    { reliability: 16 as Reliability },
    { reliability: 129 as Reliability },
    { priority: 256 },
    { priority: 0.5 },
    { priority: 'abc' as never },
    { expiresAtMs: Number.NaN },
  ])('is not written where a field does not fit: %o', (fields) => {
    const bad = new Message({ address: 'a', body: new Uint8Array(1), ...fields });
    expect(() => format.encode(bad, PLAIN_DELIVERY, 0)).toThrow(CoreError);
  });

  it('is refused with a typed error where its bytes are cut or changed beyond reading', () => {
    fc.assert(
      fc.property(message, options, fc.nat(), fc.nat(255), (before, delivery, at, byte) => {
        const row = format.encode(before, delivery, before.expiresAtMs);
        row[at % row.length] = byte;
        for (const bad of [row, row.subarray(0, at % row.length)]) {
          try {
            format.decode(bad);
          } catch (error) {
            expect(error).toBeInstanceOf(CoreError);
          }
        }
      }),
    );
  });
});
