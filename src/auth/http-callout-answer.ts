/**
 * What an authentication service answers, read strictly: an answer that is not understood is no answer, and lets nobody
 * in. Pure; called by `http-callout.ts`.
 */

import { isName } from './identity-name.ts';

export type CalloutAnswer =
  | {
      readonly result: 'allow';
      /** Null: who the client says it is. */
      readonly user: string | null;
      readonly groups: readonly string[];
      /** Milliseconds since 1970; null: for as long as it stays connected. */
      readonly expiresAtMs: number | null;
    }
  | { readonly result: 'deny' }
  | { readonly result: 'ignore' };

const GROUPS_MAX = 1_000;
const FIELDS: ReadonlySet<string> = new Set(['result', 'user', 'groups', 'expiresAt']);

/** Throws with a reason for the operator. */
export function answerFromText(text: string): CalloutAnswer {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('the answer is not JSON');
  }
  if (typeof value !== 'object' || value === null) throw new Error('the answer is not an object');
  const { result, user = null, groups = [], expiresAt = null } = value as Record<string, unknown>;
  if (result === 'deny' || result === 'ignore') return { result };
  if (result !== 'allow') throw new Error('result must be "allow", "deny" or "ignore"');
  // A misspelt restriction would otherwise be none.
  const unknown = Object.keys(value).find((name) => !FIELDS.has(name));
  if (unknown !== undefined) throw new Error(`${JSON.stringify(unknown)} is no field of an answer`);
  if (user !== null && !(typeof user === 'string' && (user === '' || isName(user)))) {
    throw new Error('user must be text without control characters');
  }
  if (!isListOfNames(groups)) throw new Error(`groups must be a list of at most ${GROUPS_MAX} names`);
  return { result, user, groups, expiresAtMs: timeFromJson(expiresAt) };
}

function isListOfNames(value: unknown): value is string[] {
  return (
    Array.isArray(value) &&
    value.length <= GROUPS_MAX &&
    value.every((name) => typeof name === 'string' && isName(name))
  );
}

/** Seconds since 1970, as tokens have them, or a time in ISO 8601. */
function timeFromJson(value: unknown): number | null {
  if (value === null) return null;
  const ms =
    typeof value === 'number'
      ? value * 1_000
      : typeof value === 'string' && /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(value)
        ? Date.parse(value)
        : Number.NaN;
  if (!Number.isFinite(ms))
    throw new Error('expiresAt must be seconds since 1970 or an ISO 8601 time with its zone');
  return ms;
}

/** How long the answer may be kept, in milliseconds (RFC 9111 5.2.2); null: it does not say. */
export function freshnessFromHeader(cacheControl: string | null): number | null {
  if (cacheControl === null) return null;
  if (/(^|[\s,])no-(store|cache)\b/i.test(cacheControl)) return 0;
  const seconds = /(?:^|[\s,])max-age="?(\d{1,10})"?/i.exec(cacheControl)?.[1];
  return seconds === undefined ? null : Number(seconds) * 1_000;
}
