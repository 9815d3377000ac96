/**
 * `rosettamq mapping`: files that hold mapping rules and their tests. `test` asks a running gateway what the rules of the
 * file would make of each test's message and compares; nothing of it is stored. `apply` puts the rules, all or none.
 * The format is told in docs/mapping-rules.md.
 */

import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { ApiClient, type ApiFlags } from './api-client.ts';
import { EXIT_NO, EXIT_WRONG_ARGUMENTS, Failure } from './failure.ts';

type Fields = Readonly<Record<string, unknown>>;

interface MappingTest {
  readonly name?: string;
  readonly message: Fields;
  readonly user?: string;
  readonly clientId?: string;
  readonly expect: readonly Fields[];
}

interface MappingFile {
  readonly mappings: Fields;
  readonly tests: readonly MappingTest[];
}

interface Output extends Fields {
  readonly outcome: string;
  readonly mapping: string;
  readonly endpoint: string;
  readonly reason: string;
}

const TEST_FIELDS = ['name', 'message', 'user', 'clientId', 'expect'];

export async function testMappings(file: string, flags: ApiFlags): Promise<void> {
  const { mappings, tests } = readMappingFile(file);
  if (tests.length === 0) throw new Failure(`${file} holds no tests`, EXIT_WRONG_ARGUMENTS);
  const client = new ApiClient(flags);
  let failed = 0;
  for (const [index, { name, message, user, clientId, expect }] of tests.entries()) {
    const { outputs } = (await client.call('POST', '/v1/mappings:test', {
      message,
      mappings,
      ...(user === undefined ? {} : { user }),
      ...(clientId === undefined ? {} : { clientId }),
    })) as { outputs: readonly Output[] };
    const faults = compare(expect, outputs);
    console.log(`${faults.length === 0 ? 'ok    ' : 'FAILED'} ${name ?? `test ${index + 1}`}`);
    for (const fault of faults) console.log(`       ${fault}`);
    if (faults.length > 0) failed++;
  }
  if (failed > 0) throw new Failure(`${failed} of ${tests.length} tests failed`, EXIT_NO);
}

export async function applyMappings(
  file: string,
  flags: ApiFlags & { readonly prune?: boolean; readonly dryRun?: boolean },
): Promise<void> {
  const { mappings } = readMappingFile(file);
  const query = new URLSearchParams({
    prune: String(flags.prune === true),
    dryRun: String(flags.dryRun === true),
  });
  const changes = (await new ApiClient(flags).call('POST', `/v1/mappings:apply?${query}`, {
    mappings,
  })) as Readonly<Record<string, readonly string[]>> & {
    readonly warnings: readonly { readonly mapping: string; readonly detail: string }[];
  };
  for (const kind of ['created', 'replaced', 'unchanged', 'deleted']) {
    for (const name of changes[kind] ?? []) console.log(`${kind} ${name}`);
  }
  for (const { mapping, detail } of changes.warnings) console.error(`${mapping}: ${detail}`);
}

function readMappingFile(path: string): MappingFile {
  let value: unknown;
  try {
    value = parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Failure(`${path}: ${(error as Error).message}`, EXIT_WRONG_ARGUMENTS);
  }
  const wrong = (text: string): never => {
    throw new Failure(`${path}: ${text}`, EXIT_WRONG_ARGUMENTS);
  };
  if (!isFields(value)) return wrong('must be an object with mappings, and optionally tests');
  const { mappings, tests = [], ...others } = value;
  for (const name of Object.keys(others)) wrong(`unknown field ${name}; there are mappings and tests`);
  if (!isFields(mappings)) return wrong('mappings must be an object: definitions by name');
  if (!Array.isArray(tests)) return wrong('tests must be a list');
  for (const [index, test] of tests.entries()) {
    if (
      !isFields(test) ||
      !isFields(test.message) ||
      !Array.isArray(test.expect) ||
      !test.expect.every(isFields)
    )
      return wrong(`tests/${index} must have a message and a list of what is expected`);
    for (const name of Object.keys(test)) {
      if (!TEST_FIELDS.includes(name))
        wrong(`tests/${index} has ${name}; there are ${TEST_FIELDS.join(', ')}`);
    }
  }
  return { mappings, tests: tests as MappingTest[] };
}

/** What goes out or fails must be what is expected, in that order; only fields that the test names are compared. */
function compare(expected: readonly Fields[], outputs: readonly Output[]): string[] {
  const came = outputs.filter(({ outcome }) => outcome === 'out' || outcome === 'failed');
  const faults: string[] = [];
  for (const [index, fields] of expected.entries()) {
    const output = came[index];
    if (output === undefined)
      faults.push(`output ${index}: expected ${JSON.stringify(fields)}, but nothing comes`);
    else faults.push(...differences({ outcome: 'out', ...fields }, output, `output ${index}`));
  }
  for (const { endpoint, mapping, reason } of came.slice(expected.length))
    faults.push(`not expected: ${endpoint} by mapping ${mapping} (${reason})`);
  if (faults.length > 0) {
    for (const { outcome, endpoint, mapping, reason } of outputs)
      if (outcome !== 'out') faults.push(`${mapping} to ${endpoint}: ${outcome}, ${reason}`);
  }
  return faults;
}

function differences(expected: unknown, actual: unknown, where: string): string[] {
  if (isFields(expected) && isFields(actual))
    return Object.entries(expected).flatMap(([name, value]) =>
      differences(value, actual[name], `${where}/${name}`),
    );
  if (isDeepStrictEqual(expected, actual)) return [];
  return [`${where}: expected ${JSON.stringify(expected)}, but it is ${JSON.stringify(actual)}`];
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
