/** docs/bridges.md tells every field of a connection and of a bridge, with the defaults that the schemas have. */

import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { bridgeSchema } from '../../../src/bridges/definitions.ts';
import { BRIDGE_DROP_REASONS, BRIDGE_STATES } from '../../../src/bridges/index.ts';
import { gatewayParts } from '../../../src/main.ts';
import { LINK_FAILURES, outsideTlsSettings } from '../../../src/outside.ts';

interface Shape {
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Shape>>;
}

const page = readFileSync(new URL('../../../docs/bridges.md', import.meta.url), 'utf8');
/** Rows of tables: the names in the first cell, and the last cell. */
const rows = [...page.matchAll(/^\| (`.*?) \|(.*)\|$/gm)].map((match) => ({
  names: [...match[1]!.matchAll(/`([\w.]+)`/g)].map(([, name]) => name!),
  last: match[2]!.split('|').at(-1)!.trim(),
}));

function* fieldsOf(shape: Shape, path = ''): Generator<readonly [name: string, value: unknown]> {
  for (const [name, property] of Object.entries(shape.properties ?? {})) {
    const inner = Object.keys(property.properties ?? {});
    if (inner.length > 0) yield* fieldsOf(property, `${path}${name}.`);
    else yield [path + name, property.default];
  }
}

function expectTold(fields: Iterable<readonly [string, unknown]>): void {
  for (const [name, value] of fields) {
    const row = rows.find(({ names }) => names.includes(name));
    expect(row, `a row for ${name}`).toBeDefined();
    if (typeof value !== 'number' && typeof value !== 'boolean') continue;
    // Of several fields in one row, their defaults in the same order.
    const defaults = row!.last.split(',').map((each) => each.replaceAll('`', '').trim());
    expect(defaults[row!.names.indexOf(name)], `the default of ${name}`).toBe(String(value));
  }
}

test('every field of a bridge, with its default', () => {
  expectTold(fieldsOf(bridgeSchema as Shape));
});

test('every field of tls', () => {
  const names = [...fieldsOf(outsideTlsSettings as Shape, 'tls.')].map(
    ([name]) => [name, undefined] as const,
  );
  expectTold(names);
});

test.each([
  ['states', BRIDGE_STATES],
  ['failures', LINK_FAILURES],
  ['reasons for which it drops', BRIDGE_DROP_REASONS.map((reason) => `dropped.${reason}`)],
])('all %s', (_, names) => {
  for (const name of names) expect(page).toContain(`| \`${name}\` |`);
});

describe.each(gatewayParts.drivers.map((part) => [part.type, part] as const))('of type %s', (_, part) => {
  let schemas: Shape[] = [];
  beforeAll(async () => {
    const { connectionSchema, optionsSchema } = await part.load();
    schemas = [connectionSchema, optionsSchema.out, optionsSchema.in] as Shape[];
  });

  test('every field of a connection and every option is named', () => {
    for (const schema of schemas)
      for (const [name] of fieldsOf(schema)) {
        const [first = ''] = name.split('.');
        const isTold = page.includes(`\`${name}\``) || page.includes(`\`${first}\``);
        expect(isTold, name).toBe(true);
      }
  });
});
