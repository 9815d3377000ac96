/** The fidelity table of docs/mappings.md says what the mappings do, for every field and all sixteen directions. */

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { FIELDS } from './fidelity-fields.ts';
import { CLIENTS, outcomeOf, PAGE, pageWith, tableText } from './fidelity-table.ts';

describe.each(CLIENTS)('from $protocol', (from) => {
  test.each(CLIENTS)('by $protocol and back nothing is lost', (to) => {
    const lost = FIELDS.filter((field) => outcomeOf(field, from, to) === 'lost').map(({ name }) => name);
    expect(lost).toEqual([]);
  });
});

test('docs/mappings.md holds the table (npm run fidelity:write)', () => {
  const page = readFileSync(PAGE, 'utf8');
  expect(page).toBe(pageWith(page, tableText()));
});
