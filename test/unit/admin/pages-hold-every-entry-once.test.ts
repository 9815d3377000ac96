/** Pages of generated lists: together they hold every entry once, in order, also while entries come and go. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Page, paginate } from '../../../src/admin/paging.ts';

const names = fc.uniqueArray(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 4 }), { maxLength: 40 });

function pages(
  list: readonly string[],
  limit: number,
  between: (page: number) => readonly string[],
): string[] {
  const seen: string[] = [];
  let after: string | null = null;
  for (let page = 0, entries = list; ; entries = between(++page)) {
    const shown: Page<string> = paginate(
      entries,
      after === null ? { limit } : { limit, after },
      String,
      String,
    );
    expect(shown.items.length).toBeLessThanOrEqual(limit);
    seen.push(...shown.items);
    if (shown.next === null) return seen;
    after = shown.next;
  }
}

test('all pages are the whole list in order', () => {
  fc.assert(
    fc.property(names, fc.integer({ min: 1, max: 12 }), (list, limit) => {
      expect(pages(list, limit, () => list)).toEqual([...list].sort());
    }),
  );
});

test('an entry that stays is shown once, whatever goes or comes meanwhile', () => {
  fc.assert(
    fc.property(names, names, fc.integer({ min: 1, max: 5 }), (staying, passing, limit) => {
      const others = passing.filter((name) => !staying.includes(name));
      const seen = pages([...staying, ...others], limit, (page) =>
        page % 2 === 0 ? [...staying, ...others] : staying,
      );
      expect(seen.filter((name) => staying.includes(name))).toEqual([...staying].sort());
    }),
  );
});
