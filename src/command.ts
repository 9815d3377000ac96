#!/usr/bin/env node
/**
 * The command `rosettamq`. Commands that manage a running gateway only call its HTTP API, so they start without loading
 * one; for everything else this is `main.ts`. What bounds the heap comes before anything is loaded.
 */

import { API_COMMANDS } from './cli/api-command-names.ts';
import { boundHeap, memoryAskedFor } from './cli/heap.ts';

boundHeap(memoryAskedFor(process.argv, process.env));
if (API_COMMANDS.has(process.argv[2] ?? '')) {
  const { runApiCommand } = await import('./cli/api-commands.ts');
  const { VERSION } = await import('./version.ts');
  await runApiCommand(VERSION, process.argv);
} else {
  const { run } = await import('./main.ts');
  await run();
}
