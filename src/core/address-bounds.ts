/**
 * What an address may be: how long, how deep, and of which characters. The router asks when it resolves one, so not
 * for each message; sessions and exchanges ask before they bind a pattern. Code that walks levels recursively relies
 * on it.
 */

import { Buffer } from 'node:buffer';
import { countLevels } from './address.ts';
import { CoreError } from './errors.ts';
import type { Limits } from './limits.ts';
import type { Pattern } from './pattern.ts';

export type AddressBounds = Pick<Limits, 'addressBytesMax' | 'addressLevelsMax'>;

/**
 * Throws CoreError `invalid-name` for an address that is longer or deeper than `limits` allow, or holds U+0000: there are
 * clients that close their connection at the sight of one, and come back for it again and again.
 */
export function checkAddress(address: string, limits: AddressBounds): void {
  const { addressBytesMax, addressLevelsMax } = limits;
  if (address.includes('\0')) throw new CoreError('invalid-name', 'an address cannot hold U+0000');
  // No UTF-16 unit takes more than three bytes.
  if (3 * address.length > addressBytesMax && Buffer.byteLength(address, 'utf8') > addressBytesMax)
    throw new CoreError('invalid-name', `an address has at most ${addressBytesMax} bytes (addressBytesMax)`);
  const levels = countLevels(address);
  if (levels > addressLevelsMax) {
    throw new CoreError(
      'invalid-name',
      `an address has at most ${addressLevelsMax} levels, not ${levels} (addressLevelsMax)`,
    );
  }
}

/** Throws CoreError `invalid-name` for a pattern with more levels than any address may have. */
export function checkPattern(pattern: Pattern, levelsMax: number): void {
  const { length } = pattern.tokens;
  if (length > levelsMax) {
    throw new CoreError(
      'invalid-name',
      `a pattern has at most ${levelsMax} levels, not ${length} (addressLevelsMax)`,
    );
  }
}
