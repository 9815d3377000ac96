/**
 * The command line: `rosettamq [serve]`, `validate`, `config print`, `config defaults`. What an operator can mend is
 * told in a line or two on standard error, without a stack. Exit codes: 0 done, 1 could not start or failed, 2 wrong
 * settings or arguments.
 */

import { Command, Option } from 'commander';
import {
  allShortcuts,
  type Config,
  ConfigError,
  type ConfigShape,
  loadConfig,
  printConfig,
  printReference,
} from './config/index.ts';
import type { Gateway, GatewayParts } from './gateway.ts';

const EXIT_FAILED = 1;
const EXIT_WRONG_SETTINGS = 2;
/** Within this time a repeated signal is the same one: Ctrl+C reaches the process from the terminal and from npm. */
const SAME_SIGNAL_MS = 500;

type Flags = Readonly<Record<string, string | readonly string[] | boolean | undefined>>;

export async function runCommandLine(
  shape: ConfigShape,
  parts: GatewayParts,
  argv: readonly string[],
): Promise<void> {
  const load = (flags: Flags): Config | null => loadOrTell(shape, flags);
  const program = new Command('rosettamq')
    .description('One broker for clients of several protocols, meeting on one address space')
    .version(parts.version)
    .enablePositionalOptions();

  const withSettings = (command: Command): Command => {
    command.option('-c, --config <file>', 'configuration file (default: rosettamq.yaml where there is one)');
    command.option('--set <section.setting=value...>', 'any setting');
    for (const { flag, value, description } of allShortcuts(shape)) {
      command.option(`--${flag} <${value}>`, description);
    }
    return command;
  };

  withSettings(program.command('serve', { isDefault: true }))
    .description('start the gateway')
    .action(async (flags: Flags) => {
      const config = load(flags);
      if (config !== null) await serve(parts, config);
    });

  withSettings(program.command('validate'))
    .description('check the settings and say what is wrong, without starting')
    .action((flags: Flags) => {
      if (load(flags) !== null) console.log('the settings are valid');
    });

  const configCommand = program.command('config').description('look at the settings');
  withSettings(configCommand.command('print'))
    .description('print the settings that apply; secrets are hidden')
    .addOption(new Option('--origin', 'say where each value comes from'))
    .action((flags: Flags) => {
      const config = load(flags);
      if (config !== null) process.stdout.write(printConfig(shape, config, flags.origin === true));
    });
  configCommand
    .command('defaults')
    .description('print a commented configuration file with every setting at its default')
    .action(() => {
      process.stdout.write(printReference(shape));
    });

  await program.parseAsync([...argv]);
}

function loadOrTell(shape: ConfigShape, flags: Flags): Config | null {
  const shortcuts: Record<string, string> = {};
  for (const { flag } of allShortcuts(shape)) {
    const value = flags[flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
    if (typeof value === 'string') shortcuts[flag] = value;
  }
  try {
    return loadConfig(shape, {
      ...(typeof flags.config === 'string' ? { file: flags.config } : {}),
      environment: process.env,
      assignments: Array.isArray(flags.set) ? flags.set : [],
      flags: shortcuts,
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const problem of error.problems) console.error(problem);
    process.exitCode = EXIT_WRONG_SETTINGS;
    return null;
  }
}

async function serve(parts: GatewayParts, config: Config): Promise<void> {
  const { startGateway } = await import('./gateway.ts');
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
