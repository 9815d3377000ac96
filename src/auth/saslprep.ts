/**
 * Names and passwords made comparable before SCRAM computes with them (SASLprep, RFC 4013). Called by `scram.ts` and
 * `users.ts`. Differs from the RFC in that it goes by the Unicode tables of the running Node.js, not those of
 * Unicode 3.2, and does not look at the direction of writing.
 */

const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
/** RFC 3454 B.1: commonly mapped to nothing. */
const NOTHING = /\u00ad|\u034f|\u1806|\u180b|\u180c|\u180d|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/g;
const PROHIBITED =
  /\u0340|\u0341|[\p{Cc}\p{Co}\p{Cs}\p{Cn}\u200e\u200f\u2028\u2029\u202a-\u202e\u206a-\u206f\ufff9-\ufffd]/u;

/** Null: it holds what must not be there, or nothing is left. */
export function preparedText(text: string): string | null {
  const prepared = text.replace(SPACES, ' ').replace(NOTHING, '').normalize('NFKC');
  return prepared === '' || PROHIBITED.test(prepared) ? null : prepared;
}
