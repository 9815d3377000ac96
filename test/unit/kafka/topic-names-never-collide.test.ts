/** Addresses and topic names: no two addresses share a name, and names and addresses come back as they were. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressFromKafka,
  isAddressOf,
  isDigestName,
  isTopicName,
  kafkaFromAddress,
} from '../../../mappings/kafka.ts';
import { codePoint } from '../../support/code-points.ts';

const KEPT_NAMES = 200_000;

/** Pieces that make what the codec treats specially likely. */
const PIECES = [
  ...'-x2DFECA93h/._+#$% 0aZ',
  '-x',
  '-x2D',
  '-x2F',
  '-x2E',
  '-xC3',
  '-xA9',
  '-xC3-xA9',
  '-x41',
  '-x00',
  'x2D',
  'é',
  '日',
  '😀',
  '-h0123456789abcdef01234567',
  'spBv1.0/G',
] as const;

/** A small fast generator: a failure is repeated by its seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function randomText(random: (below: number) => number): string {
  let text = '';
  for (let left = 1 + random(7); left > 0; left--) text += PIECES[random(PIECES.length)];
  return text;
}

describe('the examples of the specification', () => {
  it.each([
    ['sensors/temperature/us', 'sensors.temperature.us'],
    ['spBv1.0/G', 'spBv1-x2E0.G'],
    ['a//b', 'a..b'],
    ['foo bar', 'foo-x20bar'],
    ['/', '-x2F'],
    ['//', '-x2F-x2F'],
    ['///', '...'],
    ['-x2F', '-x2Dx2F'],
    ['a-b', 'a-b'],
    ['a-x20', 'a-x2Dx20'],
    ['a-x41', 'a-x41'],
    ['é', '-xC3-xA9'],
    ['a.b/c', 'a-x2Eb.c'],
    ['a/b/c', 'a.b.c'],
    ['a/b.c', 'a.b-x2Ec'],
  ])('%s is %s', (address, name) => {
    expect(kafkaFromAddress(address)).toBe(name);
    expect(addressFromKafka(name)).toBe(address);
  });
});

describe('names', () => {
  it('are legal, different for different addresses, and read back', () => {
    const random = randomFrom(20_261_121);
    const addresses = new Map<string, string>();
    for (let left = 150_000; left > 0; left--) {
      const address = randomText(random);
      const name = kafkaFromAddress(address);
      if (!isTopicName(name)) throw new Error(`${JSON.stringify(address)} has the illegal name ${name}`);
      const other = addresses.get(name);
      if (other !== undefined && other !== address)
        throw new Error(`${other} and ${address} are both ${name}`);
      if (addresses.size < KEPT_NAMES) addresses.set(name, address);
      if (isDigestName(name)) continue;
      if (addressFromKafka(name) !== address)
        throw new Error(`${JSON.stringify(address)} came back from ${name}`);
      if (!isAddressOf(name, address)) throw new Error(`${name} does not know its address ${address}`);
    }
    expect(addresses.size).toBeGreaterThan(30_000);
  });

  it('that a client chose keep their spelling', () => {
    const random = randomFrom(7);
    for (let left = 150_000; left > 0; left--) {
      const name = randomText(random).replace(/[^A-Za-z0-9._-]/g, '_');
      if (!isTopicName(name) || isDigestName(name)) continue;
      const address = addressFromKafka(name);
      if (address.includes('\0')) continue;
      if (kafkaFromAddress(address) !== name) throw new Error(`${name} became ${kafkaFromAddress(address)}`);
    }
  });

  it('of any Unicode text read back', () => {
    fc.assert(
      fc.property(fc.string({ unit: codePoint, minLength: 1, maxLength: 20 }), (text) => {
        const address = text.replaceAll('\0', '');
        if (address === '') return;
        expect(addressFromKafka(kafkaFromAddress(address))).toBe(address);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('long names', () => {
  it('are digests of at most 249 characters that differ where the addresses differ', () => {
    const long = 'a'.repeat(240);
    const names = new Set<string>();
    for (let i = 0; i < 2_000; i++) {
      const name = kafkaFromAddress(`${long}/${i}/${'é'.repeat(i % 40)}/and more`);
      expect(isTopicName(name)).toBe(true);
      names.add(name);
    }
    expect(names.size).toBe(2_000);
  });

  it('never meet the literal text of a digest', () => {
    const digest = kafkaFromAddress(`${'b'.repeat(240)}/${'c'.repeat(40)}`);
    expect(isDigestName(digest)).toBe(true);
    const literal = kafkaFromAddress(digest);
    expect(literal).not.toBe(digest);
    expect(isTopicName(literal)).toBe(true);
    expect(addressFromKafka(literal)).toBe(digest);
    const twice = kafkaFromAddress(literal);
    expect(new Set([digest, literal, twice]).size).toBe(3);
    expect(isDigestName(twice)).toBe(true);
  });

  it('of 249 characters stay as they are', () => {
    const address = 'd'.repeat(249);
    expect(kafkaFromAddress(address)).toBe(address);
    expect(addressFromKafka(address)).toBe(address);
    expect(isDigestName(kafkaFromAddress(`${address}d`))).toBe(true);
  });
});

describe('isAddressOf', () => {
  it('says no for every other address', () => {
    expect(isAddressOf('a.b', 'a/b')).toBe(true);
    expect(isAddressOf('a.b', 'a.b')).toBe(false);
    expect(isAddressOf('a-x2Eb', 'a.b')).toBe(true);
    expect(isAddressOf('a-x20b', 'a-x20b')).toBe(false);
    expect(isAddressOf('a', 'a/b')).toBe(false);
  });
});
