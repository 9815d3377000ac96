/**
 * Every numbered statement of MQTT 3.1.1 and 5.0 as data. `clause.ts` names tests by them, `statements-shown.test.ts`
 * checks that each one that binds a server has a test, and `conformance-table.ts` writes the table of
 * docs/protocols/mqtt.md.
 */

import { STATEMENTS_3_1_1 } from './statements-3.1.1.ts';
import { STATEMENTS_5_0 } from './statements-5.0.ts';

export type Specification = '3.1.1' | '5.0';

export interface Statement {
  readonly specification: Specification;
  /** Such as `MQTT-3.1.0-1`. */
  readonly id: string;
  readonly binds: 'server' | 'client' | 'both';
  /** A short paraphrase; the specification is what counts. */
  readonly asks: string;
}

const LINE = /^(\d+\.\d+\.\d+-\d+) (server|client|both) (.+)$/;

function statementsIn(specification: Specification, lines: string): Statement[] {
  return lines
    .trim()
    .split('\n')
    .map((line) => {
      const [, id, binds, asks] = LINE.exec(line) ?? [];
      if (id === undefined || asks === undefined) throw new Error(`not a statement: ${line}`);
      return { specification, id: `MQTT-${id}`, binds: binds as Statement['binds'], asks };
    });
}

export const STATEMENTS: readonly Statement[] = [
  ...statementsIn('3.1.1', STATEMENTS_3_1_1),
  ...statementsIn('5.0', STATEMENTS_5_0),
];

/** Such as `3.1.1 [MQTT-3.1.0-1] [MQTT-3.1.0-2] | 5.0 [MQTT-3.1.0-1]`: the name of a test. */
export function clausesIn(name: string): Map<Specification, string[]> {
  const found = new Map<Specification, string[]>();
  for (const part of name.split('|')) {
    const [, specification, ids = ''] =
      /^\s*(3\.1\.1|5\.0)((?:\s+\[MQTT-\d+\.\d+\.\d+-\d+\])+)\s*$/.exec(part) ?? [];
    if (specification === undefined) throw new Error(`names no clauses: ${name}`);
    found.set(
      specification as Specification,
      ids
        .trim()
        .slice(1, -1)
        .split(/\]\s+\[/),
    );
  }
  return found;
}
