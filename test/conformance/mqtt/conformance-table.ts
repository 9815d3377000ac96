/**
 * The table of docs/protocols/mqtt.md that says for every statement which tests show it, made from `statements.ts` and
 * from the names of the tests in `clauses/`. Run by hand (`npm run conformance:write`) it writes
 * the table into the page; `statements-shown.test.ts` checks that it is in step.
 */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { clausesIn, type Specification, STATEMENTS, type Statement } from './statements.ts';

const FOLDER = new URL('./clauses/', import.meta.url);
export const PAGE = new URL('../../../docs/protocols/mqtt.md', import.meta.url);
const BEGIN = '<!-- The table is written by test/conformance/mqtt/conformance-table.ts. -->\n';
const END = '<!-- End of the table. -->';
/** `clause('3.1.1 [MQTT-…] | 5.0 [MQTT-…]', 'what is seen', …` */
const CLAUSE = /\bclause\(\s*'([^']+)',\s*(?:'((?:[^'\\]|\\.)+)'|"([^"]+)")/g;

export interface ShownBy {
  /** The file's name without its end. */
  readonly file: string;
  readonly text: string;
  readonly clauses: ReadonlyMap<Specification, readonly string[]>;
}

export function findTests(): ShownBy[] {
  const found: ShownBy[] = [];
  for (const name of readdirSync(FOLDER).toSorted()) {
    if (!name.endsWith('.test.ts')) continue;
    const source = readFileSync(new URL(name, FOLDER), 'utf8');
    for (const [, clauses = '', single, double] of source.matchAll(CLAUSE)) {
      found.push({
        file: name.slice(0, -'.test.ts'.length),
        text: single ?? double ?? '',
        clauses: clausesIn(clauses),
      });
    }
  }
  return found;
}

export function testsOf({ specification, id }: Statement, tests: readonly ShownBy[]): ShownBy[] {
  return tests.filter(({ clauses }) => clauses.get(specification)?.includes(id));
}

export function tableText(): string {
  const tests = findTests();
  return (['3.1.1', '5.0'] as const).map((specification) => tableOf(specification, tests)).join('\n');
}

function tableOf(specification: Specification, tests: readonly ShownBy[]): string {
  const all = STATEMENTS.filter((each) => each.specification === specification);
  const bound = all.filter(({ binds }) => binds !== 'client');
  const clients = all.filter(({ binds }) => binds === 'client');
  const rows = bound.map((statement) => {
    const shown = testsOf(statement, tests).map(({ file, text }) => `${file}: ${text}`);
    return `| ${statement.id} | ${statement.asks} | ${shown.join('; ').replaceAll('|', '\\|')} |`;
  });
  return [
    `### MQTT ${specification}`,
    '',
    '| statement | what it asks for | test |',
    '|---|---|---|',
    ...rows,
    '',
    `Bind clients alone: ${clients.map(({ id }) => id).join(', ')}.`,
    '',
  ].join('\n');
}

/** The page with this table instead of the one that it holds. */
export function pageWith(page: string, table: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error('the page has no place for the table');
  return `${page.slice(0, begin + BEGIN.length)}\n${table}\n${page.slice(end)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(PAGE, pageWith(readFileSync(PAGE, 'utf8'), tableText()));
}
