/** `rosettamq import`. */

import { readFileSync } from 'node:fs';
import { ApiClient, type ApiFlags } from './api-client.ts';
import { EXIT_WRONG_ARGUMENTS, Failure } from './failure.ts';
import { type OutputFormat, printJson, showText } from './output.ts';

type Counts = Readonly<Record<string, number>>;

interface Remark {
  readonly kind: string;
  readonly name: string;
  readonly reason: string;
}

interface Report {
  readonly created: Counts;
  readonly unchanged: Counts;
  readonly skipped: readonly Remark[];
  readonly warnings: readonly Remark[];
}

type Flags = ApiFlags & { readonly output: OutputFormat; readonly vhost: string; readonly dryRun?: boolean };

/** `file` may be `-`, which is standard input. */
export async function importDefinitions(format: string, file: string, flags: Flags): Promise<void> {
  const query = new URLSearchParams({ vhost: flags.vhost, dryRun: String(flags.dryRun === true) });
  const report = (await new ApiClient(flags).call(
    'POST',
    `/v1/import/${encodeURIComponent(format)}?${query}`,
    readJson(file),
  )) as Report;
  if (flags.output === 'json') {
    printJson(report);
    return;
  }
  const lines = [
    `${flags.dryRun === true ? 'would create' : 'created'} ${countsText(report.created)}`,
    `there already: ${countsText(report.unchanged)}`,
    ...report.skipped.map((remark) => remarkText('skipped', remark)),
    ...report.warnings.map((remark) => remarkText('warning:', remark)),
  ];
  process.stdout.write(`${lines.map(showText).join('\n')}\n`);
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file === '-' ? 0 : file, 'utf8'));
  } catch (error) {
    throw new Failure(`${file}: ${(error as Error).message}`, EXIT_WRONG_ARGUMENTS);
  }
}

const remarkText = (word: string, { kind, name, reason }: Remark): string =>
  `${word} ${kind} ${name}: ${reason}`;

/** What there is none of is not said, unless there is nothing at all. */
const countsText = (counts: Counts): string =>
  Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(', ') || 'nothing';
