#!/usr/bin/env node
/**
 * The command `rosettamq` of the published package. Commands that manage a running gateway only call its HTTP API, so
 * they start without loading one; for everything else this is `main.ts`.
 */

import { API_COMMANDS, runApiCommand } from './cli/api-commands.ts';
import { VERSION } from './version.ts';

if (API_COMMANDS.has(process.argv[2] ?? '')) await runApiCommand(VERSION, process.argv);
else {
  const { run } = await import('./main.ts');
  await run();
}
