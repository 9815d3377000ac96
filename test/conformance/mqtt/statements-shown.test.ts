/** No numbered statement that binds a server is without a test, no test names one that there is not, the page tells it. */

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { findTests, PAGE, pageWith, tableText, testsOf } from './conformance-table.ts';
import { STATEMENTS } from './statements.ts';

const tests = findTests();

it('all statements are there, each once', () => {
  // Appendix B of each specification: within a section the numbers follow one another. 5.0 has no 2.2.1-1.
  const ids = STATEMENTS.map(({ specification, id }) => `${specification} ${id}`);
  expect(new Set(ids).size).toBe(ids.length);
  expect(STATEMENTS.filter(({ specification }) => specification === '3.1.1')).toHaveLength(141);
  expect(STATEMENTS.filter(({ specification }) => specification === '5.0')).toHaveLength(251);
  const bySection = new Map<string, number[]>();
  for (const name of ids) {
    const [section = '', number = ''] = name.split(/-(?=\d+$)/);
    bySection.set(section, [...(bySection.get(section) ?? []), Number(number)]);
  }
  for (const [section, numbers] of bySection) {
    const first = section === '5.0 MQTT-2.2.1' ? 2 : 1;
    expect(numbers, section).toEqual(numbers.map((_, at) => first + at));
  }
});

it('every statement that binds a server has a test', () => {
  const without = STATEMENTS.filter((each) => each.binds !== 'client' && testsOf(each, tests).length === 0);
  expect(without.map(({ specification, id }) => `${specification} ${id}`)).toEqual([]);
});

it('every test names statements that there are', () => {
  const known = new Set(STATEMENTS.map(({ specification, id }) => `${specification} ${id}`));
  const named = tests.flatMap(({ clauses }) =>
    [...clauses].flatMap(([specification, ids]) => ids.map((id) => `${specification} ${id}`)),
  );
  expect(named.filter((name) => !known.has(name))).toEqual([]);
  expect(tests.length).toBeGreaterThan(100);
});

it('the table of the page is in step (write it with npm run conformance:write)', () => {
  const page = readFileSync(PAGE, 'utf8');
  expect(page).toBe(pageWith(page, tableText()));
});
