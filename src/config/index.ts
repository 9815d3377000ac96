/**
 * The configuration of a process: defaults, then the file, then environment variables, then flags, each over the one
 * before. Called by the command line and by tests. Everything that is wrong is told at once, in a `ConfigError`.
 */

import { existsSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { applyDerived } from './derived.ts';
import { ConfigDraft } from './draft.ts';
import { PREFIX, readEnvironment } from './environment.ts';
import { listShown, type ShownSetting } from './print.ts';
import type { HostSettings } from './settings.ts';
import { allShares, allShortcuts, type ConfigShape, listenersOf, rootSchema } from './shape.ts';
import { readYamlFile } from './yaml-file.ts';

export { printConfig, printReference, type ShownSetting } from './print.ts';
export type { HostSettings } from './settings.ts';
export { allShortcuts, type ConfigShape } from './shape.ts';
export type { Shortcut } from './shortcuts.ts';

/** Read when it is there and no other file is named. */
const DEFAULT_FILE = 'rosettamq.yaml';
const FILE_VARIABLE = `${PREFIX}CONFIG`;
/** Read elsewhere: here, and by the commands that call a running gateway. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set([
  FILE_VARIABLE,
  `${PREFIX}API`,
  `${PREFIX}API_KEY`,
  `${PREFIX}HEAP_BOUNDED`,
]);

export interface ConfigSources {
  /** `--config`. */
  readonly file?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `--set path=value`. */
  readonly assignments: readonly string[];
  /** Values of shortcuts, by flag. */
  readonly flags: Readonly<Record<string, string>>;
}

export interface Config {
  readonly host: HostSettings;
  /** Every section, by name; those of the protocols have the types of their own schemas. */
  readonly sections: Readonly<Record<string, unknown>>;
  /** Path of a setting to where its value came from; settings at their default are not in it. */
  readonly origins: ReadonlyMap<string, string>;
  /** Every setting that applies, without secrets. */
  shown(): Iterable<ShownSetting>;
}

/** The operator can mend it: told without a stack, one line a problem. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Throws ConfigError. */
export function loadConfig(shape: ConfigShape, sources: ConfigSources): Config {
  const draft = new ConfigDraft(rootSchema(shape));
  const shortcuts = allShortcuts(shape);
  readFile(draft, sources);
  readEnvironment(draft, sources.environment, shortcuts, OTHER_VARIABLES);
  for (const { flag, paths } of shortcuts) {
    const text = sources.flags[flag];
    if (text === undefined) continue;
    for (const path of paths) draft.setText(path.split('.'), text, `--${flag}`);
  }
  for (const assignment of sources.assignments) {
    const at = assignment.indexOf('=');
    const origin = `--set ${at < 0 ? assignment : assignment.slice(0, at)}`;
    if (at <= 0) draft.problems.push(`${origin}: write --set section.setting=value`);
    else draft.setText(assignment.slice(0, at).split('.'), assignment.slice(at + 1), origin);
  }
  applyDerived(draft, allShares(shape), listenersOf(shape));
  if (draft.problems.length > 0) throw new ConfigError(draft.problems);
  const config: Config = {
    host: draft.settings as unknown as HostSettings,
    sections: draft.settings,
    origins: draft.origins,
    shown: () => listShown(shape, config),
  };
  return config;
}

function readFile(draft: ConfigDraft, sources: ConfigSources): void {
  const named = sources.file ?? sources.environment[FILE_VARIABLE];
  const path = resolve(named ?? DEFAULT_FILE);
  if (named === undefined && !existsSync(path)) return;
  try {
    readYamlFile(draft, path, relative('.', path));
  } catch (error) {
    draft.problems.push(`${named ?? DEFAULT_FILE} cannot be read: ${(error as Error).message}`);
  }
}
