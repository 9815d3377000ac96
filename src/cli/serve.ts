/**
 * `rosettamq serve`: starts a gateway and stays until a signal ends it. SIGHUP makes it read its files of users, rules and
 * certificates again, unless it came because the terminal is gone. Called by `settings-commands.ts`.
 */

import { isatty } from 'node:tty';
import type { Config } from '../config/index.ts';
import type { Gateway, GatewayParts } from '../gateway.ts';
import { EXIT_FAILED } from './failure.ts';
import { boundHeap, collectAfterStart } from './heap.ts';
import { inlineMore } from './inlining.ts';

/** Within this time a repeated signal is the same one: Ctrl+C reaches the process from the terminal and from npm. */
const SAME_SIGNAL_MS = 500;

export async function serve(parts: GatewayParts, config: Config): Promise<void> {
  boundHeap(config.host.gateway.memoryMebibytes);
  const { startGateway } = await import('../gateway.ts');
  const started = startGateway(parts, config);
  // Before it is ready, so that no signal finds nobody: one that comes during the start stops what has started.
  const stop = stopOnSignals(started);
  reloadOnSignal(started, stop);
  try {
    await started;
    inlineMore();
    collectAfterStart();
  } catch (error) {
    console.error(`RosettaMQ did not start: ${error instanceof Error ? error.message : String(error)}`);
    if (config.host.log.level === 'debug') console.error(error);
    process.exit(EXIT_FAILED);
  }
}

/** The first signal drains and stops, a second one ends the process at once. */
function stopOnSignals(started: Promise<Gateway>): (signal: NodeJS.Signals) => void {
  let first: { readonly signal: NodeJS.Signals; readonly atMs: number } | null = null;
  const stop = (signal: NodeJS.Signals): void => {
    if (first !== null) {
      if (signal === first.signal && performance.now() - first.atMs < SAME_SIGNAL_MS) return;
      console.error(`${signal} again: ending at once`);
      process.exit(EXIT_FAILED);
    }
    first = { signal, atMs: performance.now() };
    started
      .then((gateway) => gateway.stop())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          console.error('RosettaMQ did not stop cleanly:', error);
          process.exit(EXIT_FAILED);
        },
      );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  return stop;
}

function reloadOnSignal(started: Promise<Gateway>, stop: (signal: NodeJS.Signals) => void): void {
  // There the signal means that the console is closed, and the process is ended soon after.
  if (process.platform === 'win32') return;
  const hadTerminal = isatty(0);
  process.on('SIGHUP', (signal) => {
    // A terminal that was closed is none any more, and who closed it did not mean to leave a gateway behind.
    if (hadTerminal && !isatty(0)) stop(signal);
    // A start that fails is told where it was begun.
    else started.then((gateway) => gateway.reload()).catch(() => {});
  });
}
