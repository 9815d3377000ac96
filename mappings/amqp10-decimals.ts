/**
 * AMQP 1.0's decimals, IEEE 754-2008 decimal32, decimal64 and decimal128 in the Binary Integer Decimal encoding: a
 * coefficient times a power of ten. Used by `amqp10-values.ts`; pure. Written in the narrowest of the three that holds
 * the number. Big-endian, from the highest bit:
 *
 * | bits | field                                                                                        |
 * |------|----------------------------------------------------------------------------------------------|
 * |    1 | sign                                                                                         |
 * |      | either: exponent and bias (8, 10 or 14), not beginning with 11, then the coefficient         |
 * |      | or: 11, exponent and bias, then the coefficient without the 100 that it begins with          |
 * |      | or: 1111, infinity or no number                                                              |
 */

import { Buffer } from 'node:buffer';
import type { HeaderValue } from '../src/core/index.ts';

interface Width {
  readonly bytes: number;
  readonly code: number;
  readonly exponentBits: bigint;
  readonly bias: number;
  readonly digits: number;
}

const WIDTHS: readonly Width[] = [
  { bytes: 4, code: 0x74, exponentBits: 8n, bias: 101, digits: 7 },
  { bytes: 8, code: 0x84, exponentBits: 10n, bias: 398, digits: 16 },
  { bytes: 16, code: 0x94, exponentBits: 14n, bias: 6176, digits: 34 },
];

/** `bytes`: 4, 8 or 16. */
export function decimalFromBytes(buffer: Buffer, at: number, bytes: number): HeaderValue {
  const width = WIDTHS.find((each) => each.bytes === bytes) as Width;
  const { exponentBits, bias, digits } = width;
  const bits = BigInt(bytes) * 8n;
  const number = BigInt(`0x${buffer.toString('hex', at, at + bytes)}`);
  const negative = number >> (bits - 1n) === 1n;
  const rest = number & ((1n << (bits - 1n)) - 1n);
  if (rest >> (bits - 5n) === 0b1111n) {
    const isInfinity = rest >> (bits - 6n) === 0b11110n;
    return { kind: 'string', value: isInfinity ? (negative ? '-Infinity' : 'Infinity') : 'NaN' };
  }
  const isLarge = rest >> (bits - 3n) === 0b11n;
  const coefficientBits = bits - 1n - exponentBits - (isLarge ? 2n : 0n);
  const exponent = Number((rest >> coefficientBits) & ((1n << exponentBits) - 1n));
  let coefficient = rest & ((1n << coefficientBits) - 1n);
  if (isLarge) coefficient |= 0b100n << coefficientBits;
  // Coefficients with more digits than the width has stand for 0.
  if (coefficient >= 10n ** BigInt(digits)) coefficient = 0n;
  return { kind: 'decimal', scale: bias - exponent, value: negative ? -coefficient : coefficient };
}

/** Constructor and bytes of `value` × 10^-`scale`, or null where no width holds it. */
export function decimalBytes(value: bigint, scale: number): Buffer | null {
  const coefficient = value < 0n ? -value : value;
  for (const { bytes, code, exponentBits, bias, digits } of WIDTHS) {
    const exponent = bias - scale;
    if (exponent < 0 || exponent >= 3 * 2 ** (Number(exponentBits) - 2)) continue;
    if (coefficient >= 10n ** BigInt(digits)) continue;
    const bits = BigInt(bytes) * 8n;
    const coefficientBits = bits - 1n - exponentBits;
    let number = value < 0n ? 1n << (bits - 1n) : 0n;
    if (coefficient < 1n << coefficientBits) {
      number |= (BigInt(exponent) << coefficientBits) | coefficient;
    } else {
      const left = coefficientBits - 2n;
      number |= (0b11n << (bits - 3n)) | (BigInt(exponent) << left) | (coefficient & ((1n << left) - 1n));
    }
    return Buffer.concat([Buffer.of(code), Buffer.from(number.toString(16).padStart(bytes * 2, '0'), 'hex')]);
  }
  return null;
}
