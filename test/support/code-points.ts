/**
 * Any character of Unicode but unpaired surrogates, as the unit of strings in property tests: `fc.string({ unit:
 * codePoint })`. fast-check's own unit `binary` draws from the same, and lists all 1,112,064 of them first, which takes
 * seconds in each process; this one leans to ASCII and to the end besides, where codecs err.
 */
import fc from 'fast-check';

const SURROGATES_FROM = 0xd800;
const SURROGATES = 0x800;

export const codePoint: fc.Arbitrary<string> = fc.nat({ max: 0x10ffff - SURROGATES }).map(
  (index) => String.fromCodePoint(index < SURROGATES_FROM ? index : index + SURROGATES),
  (text) => {
    const code = typeof text === 'string' ? text.codePointAt(0) : undefined;
    if (code === undefined || String.fromCodePoint(code) !== text) throw new Error('is no character');
    return code < SURROGATES_FROM ? code : code - SURROGATES;
  },
);
