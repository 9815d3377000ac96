/** `rosettamq serve`: starts a gateway and stays until a signal ends it. Called by `settings-commands.ts`. */

import type { Config } from '../config/index.ts';
import type { Gateway, GatewayParts } from '../gateway.ts';
import { EXIT_FAILED } from './failure.ts';

/** Within this time a repeated signal is the same one: Ctrl+C reaches the process from the terminal and from npm. */
const SAME_SIGNAL_MS = 500;

export async function serve(parts: GatewayParts, config: Config): Promise<void> {
  const { startGateway } = await import('../gateway.ts');
  const started = startGateway(parts, config);
  // Before it is ready, so that no signal finds nobody: one that comes during the start stops what has started.
  stopOnSignals(started);
  try {
    await started;
  } catch (error) {
    console.error(`RosettaMQ did not start: ${error instanceof Error ? error.message : String(error)}`);
    if (config.host.log.level === 'debug') console.error(error);
    process.exit(EXIT_FAILED);
  }
}

/** The first signal drains and stops, a second one ends the process at once. */
function stopOnSignals(started: Promise<Gateway>): void {
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
}
