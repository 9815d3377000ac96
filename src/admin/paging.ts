/**
 * Pages of a list, in the order of the entries' names. A cursor is the name of the last entry that was shown, so a
 * page is right whatever was added or removed since the one before. One walk over the list keeps only the page:
 * no list is copied or sorted whole, however long it is.
 */

import Type, { type Static, type TSchema } from 'typebox';
import { problem } from './problems.ts';

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1_000;

export const pageQuery = Type.Object(
  {
    limit: Type.Integer({
      default: LIMIT_DEFAULT,
      minimum: 1,
      maximum: LIMIT_MAX,
      description: 'Entries on one page.',
    }),
    after: Type.Optional(
      Type.String({
        maxLength: 100_000,
        description: 'The `next` of the page before; absent for the first page.',
      }),
    ),
  },
  { additionalProperties: false },
);

export type PageQuery = Static<typeof pageQuery>;

export interface Page<Item> {
  readonly items: Item[];
  /** Give it as `after` to get the next page; null on the last one. */
  readonly next: string | null;
}

export function pageOf<Item extends TSchema>(item: Item) {
  return Type.Object({
    items: Type.Array(item),
    next: Type.Union([Type.String(), Type.Null()], {
      description: 'Give it as `after` to get the next page; null on the last one.',
    }),
  });
}

/** The page of `entries` that `query` asks for; `nameOf` must be unique, `show` is called for what is on the page. */
export function paginate<Entry, Item>(
  entries: Iterable<Entry>,
  query: PageQuery,
  nameOf: (entry: Entry) => string,
  show: (entry: Entry) => Item,
): Page<Item> {
  const after = query.after === undefined ? null : nameFromCursor(query.after);
  // Sorted, and one longer than the page, to know whether there is another.
  const found: { readonly name: string; readonly entry: Entry }[] = [];
  for (const entry of entries) {
    const name = nameOf(entry);
    if (after !== null && name <= after) continue;
    if (found.length > query.limit) {
      if (name >= found[found.length - 1]!.name) continue;
      found.pop();
    }
    found.splice(placeOf(found, name), 0, { name, entry });
  }
  const more = found.length > query.limit;
  if (more) found.pop();
  const last = found[found.length - 1];
  return {
    items: found.map(({ entry }) => show(entry)),
    next: more && last !== undefined ? Buffer.from(last.name).toString('base64url') : null,
  };
}

/** The index of the first that is not before `name`. */
function placeOf(sorted: readonly { readonly name: string }[], name: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]!.name < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

function nameFromCursor(cursor: string): string {
  const name = Buffer.from(cursor, 'base64url');
  if (name.length === 0 || name.toString('base64url') !== cursor) {
    throw problem('invalid-request', 'query', '/after', 'is not the `next` of an earlier page');
  }
  return name.toString();
}
