/** `rosettamq [serve]`, `validate`, `config print` and `config defaults`: what reads the settings of a gateway. */

import { type Command, Option } from 'commander';
import {
  allShortcuts,
  type Config,
  ConfigError,
  type ConfigShape,
  loadConfig,
  printConfig,
  printReference,
} from '../config/index.ts';
import type { GatewayParts } from '../gateway.ts';
import { EXIT_WRONG_ARGUMENTS } from './failure.ts';

type Flags = Readonly<Record<string, string | readonly string[] | boolean | undefined>>;

export function addSettingsCommands(program: Command, shape: ConfigShape, parts: GatewayParts): void {
  const load = (flags: Flags): Config | null => loadOrTell(shape, flags);
  const withSettings = (command: Command): Command => {
    command.option('-c, --config <file>', 'configuration file (default: rosettamq.yaml where there is one)');
    command.option('--set <section.setting=value...>', 'any setting');
    for (const { flag, value, description } of allShortcuts(shape)) {
      command.option(value === '' ? `--${flag}` : `--${flag} <${value}>`, description);
    }
    return command;
  };

  withSettings(program.command('serve', { isDefault: true }))
    .description('start the gateway')
    .action(async (flags: Flags) => {
      const config = load(flags);
      if (config === null) return;
      const { serve } = await import('./serve.ts');
      await serve(parts, config);
    });

  withSettings(program.command('validate'))
    .description('check the settings and say what is wrong, without starting')
    .action(async (flags: Flags) => {
      const config = load(flags);
      if (config === null) return;
      const { findOpeningOfSettings } = await import('../admin/reach.ts');
      const fault = await findOpeningOfSettings(config.host.http);
      if (fault === null) console.log('the settings are valid');
      else {
        console.error(fault);
        process.exitCode = EXIT_WRONG_ARGUMENTS;
      }
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
}

function loadOrTell(shape: ConfigShape, flags: Flags): Config | null {
  const shortcuts: Record<string, string> = {};
  for (const { flag } of allShortcuts(shape)) {
    const value = flags[flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
    if (typeof value === 'string') shortcuts[flag] = value;
    else if (value === true) shortcuts[flag] = 'true';
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
    process.exitCode = EXIT_WRONG_ARGUMENTS;
    return null;
  }
}
