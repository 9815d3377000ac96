/**
 * What all changes of named objects have in common: ETags, which are hashes of definitions, `If-Match` and
 * `If-None-Match` held against them (RFC 9110 13.1), and `?dryRun=true`, which checks and changes nothing. Used by all
 * routes that change what has a name.
 */

import { createHash } from 'node:crypto';
import Type from 'typebox';
import { problem } from './problems.ts';

export const preconditions = Type.Object({
  'if-match': Type.Optional(Type.String({ description: 'Do it only while the ETag is this one.' })),
  'if-none-match': Type.Optional(Type.String({ description: '`*`: only where there is none of this name.' })),
});

export const changeQuery = Type.Object(
  {
    dryRun: Type.Boolean({
      default: false,
      description: 'Check everything and answer as if it were done, and change nothing.',
    }),
  },
  { additionalProperties: false },
);

/** Objects that differ only in the order of their names have different tags, which is harmless. */
export function etagOf(definition: unknown): string {
  const hash = createHash('sha256').update(JSON.stringify(definition) ?? 'undefined');
  return `"${hash.digest('base64url').slice(0, 22)}"`;
}

/** `etag`: of what is there now, undefined where nothing is. `what`: as in "the queue". Throws a problem with 412. */
export function checkPreconditions(
  headers: { readonly 'if-match'?: string; readonly 'if-none-match'?: string },
  etag: string | undefined,
  what: string,
): void {
  const match = headers['if-match'];
  if (match !== undefined && !(etag !== undefined && listsTag(match, etag, false))) {
    const now = etag === undefined ? 'there is none' : `it is ${etag}`;
    throw problem('precondition-failed', 'header', '/if-match', `${what}’s ETag is another: ${now}`);
  }
  const noneMatch = headers['if-none-match'];
  if (noneMatch !== undefined && etag !== undefined && listsTag(noneMatch, etag, true)) {
    throw problem('precondition-failed', 'header', '/if-none-match', `${what} is there`);
  }
}

/** `*` or a list of tags. All of ours are strong; a weak one is the same to If-None-Match only (RFC 9110 8.8.3.2). */
function listsTag(header: string, etag: string, weakly: boolean): boolean {
  const tags = header.split(',').map((tag) => tag.trim());
  return header.trim() === '*' || tags.includes(etag) || (weakly && tags.includes(`W/${etag}`));
}

/** Runs changes one after the other, so that between a check and its change nothing moves. */
export type TakingTurns = <Result>(change: () => Promise<Result>) => Promise<Result>;

export function takingTurns(): TakingTurns {
  let last: Promise<unknown> = Promise.resolve();
  return (change) => {
    const result = last.then(change);
    last = result.catch(() => undefined);
    return result;
  };
}
