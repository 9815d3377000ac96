/**
 * Definitions that commands read from a file or from standard input, as JSON or YAML, and put; and how a try of what they
 * define is told. Called by `connections.ts` and `bridges.ts`.
 */

import { readFileSync } from 'node:fs';
import type { ApiClient } from './api-client.ts';
import { EXIT_NO, EXIT_WRONG_ARGUMENTS, Failure } from './failure.ts';
import { type OutputFormat, printJson, printOne, showText } from './output.ts';

export interface ProbeResult {
  readonly ok: boolean;
  readonly failure: string | null;
  readonly detail: string;
  readonly milliseconds: number;
}

interface Tried {
  readonly created: boolean;
  readonly probe: ProbeResult | null;
}

/** `-` and no file at all are standard input. */
export async function readDefinition(file: string | undefined): Promise<unknown> {
  const { parse } = await import('yaml');
  const name = file === undefined || file === '-' ? 'standard input' : file;
  try {
    // JSON is YAML.
    const definition = parse(readFileSync(name === file ? file : 0, 'utf8')) as unknown;
    if (definition !== null && definition !== undefined) return definition;
  } catch (error) {
    throw new Failure(`${name}: ${(error as Error).message}`, EXIT_WRONG_ARGUMENTS);
  }
  throw new Failure(`${name} is empty`, EXIT_WRONG_ARGUMENTS);
}

/** A dry run that could not connect is a no. */
export async function putDefinition(
  client: ApiClient,
  path: string,
  name: string,
  definition: unknown,
  { output, dryRun = false }: { readonly output: OutputFormat; readonly dryRun?: boolean },
): Promise<void> {
  const response = await client.open('PUT', `${path}?dryRun=${dryRun}`, definition);
  const answer = (await response.json()) as unknown;
  if (output === 'json') printJson(answer);
  if (!dryRun) {
    if (output === 'table') console.log(`${response.status === 201 ? 'created' : 'replaced'} ${name}`);
    return;
  }
  const { created, probe } = answer as Tried;
  if (output === 'table') console.log(`would ${created ? 'create' : 'replace'} ${name}`);
  if (probe !== null) tellProbe(probe, output === 'table' ? 'table' : null);
}

/** Null: it was printed with more around it. */
export function tellProbe(result: ProbeResult, output: OutputFormat | null): void {
  if (output !== null) {
    printOne(output, result, [
      { title: 'CONNECTS', text: ({ ok }) => (ok ? 'yes' : 'no') },
      { title: 'FAILURE', text: ({ failure }) => failure ?? '' },
      { title: 'DETAIL', text: ({ detail }) => detail },
      { title: 'MILLISECONDS', text: ({ milliseconds }) => Math.round(milliseconds) },
    ]);
  }
  if (result.ok) return;
  throw new Failure(`it does not connect: ${showText(result.detail || String(result.failure))}`, EXIT_NO);
}
