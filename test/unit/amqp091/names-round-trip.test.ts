import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addressFromAmqp091,
  addressFromReplyTo,
  amqp091FromAddress,
  amqp091FromPattern,
  encodeRoute,
  isBornAt,
  LONG_ADDRESS_KEY,
  patternFromAmqp091,
  replyToFromAddress,
} from '../../../mappings/amqp091.ts';
import { Pattern, swapSeparators } from '../../../src/core/index.ts';
import { codePoint } from '../../support/code-points.ts';

const piece = fc.oneof(
  fc.constantFrom('.', '/', '%', '%2F', '%252F', '*', '#', '+', '$', '$queue', 'amq.topic', '', 'a', 'b'),
  fc.string({ unit: codePoint, maxLength: 4 }),
);
const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));
const short = text.filter((each) => Buffer.byteLength(each) <= 255);

describe('addresses', () => {
  test('every address has a name that leads back to it', () => {
    fc.assert(
      fc.property(text, fc.option(short, { nil: null }), (address, via) => {
        const route = amqp091FromAddress(address, via);
        if (route.long) return;
        expect(addressFromAmqp091(route.exchange, route.key)).toBe(address);
      }),
      { numRuns: 20_000 },
    );
  });

  test('exchange and key come back as they were published, through the exchange of the binding', () => {
    fc.assert(
      fc.property(
        short.filter((name) => name !== '' && name !== 'amq.topic'),
        short,
        (exchange, key) => {
          const address = addressFromAmqp091(exchange, key);
          const shown = amqp091FromAddress(address, exchange);
          expect(addressFromAmqp091(shown.exchange, shown.key)).toBe(address);
          expect({ exchange: shown.exchange, key: shown.key }).toEqual({ exchange, key });
        },
      ),
      { numRuns: 5000 },
    );
  });

  test('no two addresses share a name', () => {
    fc.assert(
      fc.property(text, text, (a, b) => {
        if (a === b) return;
        const x = amqp091FromAddress(a, null);
        const y = amqp091FromAddress(b, null);
        if (x.long || y.long) return;
        expect([x.exchange, x.key]).not.toEqual([y.exchange, y.key]);
      }),
      { numRuns: 5000 },
    );
  });

  test('three names that differ only in their separators stay three', () => {
    expect(['a.b/c', 'a/b/c', 'a/b.c'].map((address) => amqp091FromAddress(address, null))).toEqual([
      { exchange: 'a.b', key: 'c', long: false },
      { exchange: 'a', key: 'b.c', long: false },
      { exchange: 'a', key: 'b/c', long: false },
    ]);
  });

  test('the root exchange shows whole addresses', () => {
    expect(amqp091FromAddress('spBv1.0/g/NDATA/n', 'amq.topic')).toEqual({
      exchange: 'amq.topic',
      key: 'spBv1/0.g.NDATA.n',
      long: false,
    });
  });

  test('a queue is reached through the default exchange by its name', () => {
    expect(addressFromAmqp091('', 'work/eu')).toBe('$queue/work%2Feu');
    expect(amqp091FromAddress('$queue/work%2Feu', '')).toEqual({ exchange: '', key: 'work/eu', long: false });
  });

  test('names that are too long get a marker, never a part of themselves', () => {
    const address = `a/${'x'.repeat(300)}`;
    expect(amqp091FromAddress(address, null)).toEqual({
      exchange: 'amq.topic',
      key: LONG_ADDRESS_KEY,
      long: true,
    });
  });

  test('separators change places and back', () => {
    fc.assert(fc.property(text, (each) => swapSeparators(swapSeparators(each)) === each));
  });

  test('reply addresses come back', () => {
    fc.assert(
      fc.property(text, (address) => {
        const replyTo = replyToFromAddress(address);
        if (replyTo !== null) expect(addressFromReplyTo(replyTo)).toBe(address);
      }),
      { numRuns: 5000 },
    );
  });

  test('a native form knows whether an address is its own', () => {
    fc.assert(
      fc.property(short, short, text, (exchange, key, other) => {
        const route = encodeRoute(exchange, key);
        const own = addressFromAmqp091(exchange, key);
        expect(isBornAt(route, own)).toBe(true);
        expect(isBornAt(route, other)).toBe(other === own);
        expect(isBornAt(route, `${own}x`)).toBe(false);
        expect(isBornAt(route, own.slice(0, -1))).toBe(own === '');
      }),
      { numRuns: 5000 },
    );
  });
});

describe('binding keys', () => {
  test('words select levels, whole wildcards only', () => {
    expect(patternFromAmqp091('orders', 'eu.*').matches('orders/eu/new')).toBe(true);
    expect(patternFromAmqp091('amq.topic', '#.c').matches('a/b/c')).toBe(true);
    expect(patternFromAmqp091('amq.topic', 'a*').matches('ab')).toBe(false);
    expect(patternFromAmqp091('amq.topic', 'spBv1/0.#').matches('spBv1.0/g/NDATA/n')).toBe(true);
  });

  test('patterns come back from their key', () => {
    fc.assert(
      fc.property(short, (key) => {
        const pattern = patternFromAmqp091('amq.topic', key);
        expect(amqp091FromPattern(pattern)).toBe(key);
      }),
    );
    expect(amqp091FromPattern(new Pattern(['a', '*']))).toBeNull();
  });
});
