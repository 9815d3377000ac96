/**
 * The command line, called by `src/main.ts`. Commands that read settings are in `settings-commands.ts`; those that
 * manage a running gateway are declared in `api-commands.ts`, talk to it over its HTTP API alone, and are loaded when
 * they are called. Exit codes: 0 done, 1 could not start or failed, 2 wrong settings or arguments, 3 there is no such
 * thing, or the answer is no.
 */

import { Command } from 'commander';
import type { ConfigShape } from '../config/index.ts';
import type { GatewayParts } from '../gateway.ts';
import { addApiCommands } from './api-commands.ts';
import { parseAndRun } from './failure.ts';
import { addSettingsCommands } from './settings-commands.ts';

export async function runCommandLine(
  shape: ConfigShape,
  parts: GatewayParts,
  argv: readonly string[],
): Promise<void> {
  const program = new Command('rosettamq')
    .description('One broker for clients of several protocols, meeting on one address space')
    .version(parts.version)
    .enablePositionalOptions();
  addSettingsCommands(program, shape, parts);
  addApiCommands(program);
  await parseAndRun(program, argv);
}
