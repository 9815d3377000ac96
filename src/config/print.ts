/**
 * The settings as YAML text: every setting with its default and what it means (`config/rosettamq.yaml` is written by
 * this), or the effective ones of a process, with where each came from. Secrets are not shown.
 */

import { createRequire } from 'node:module';
import { isSecret } from './draft.ts';
import { variableOf } from './environment.ts';
import type { Config } from './index.ts';
import { isSection, listSettings, type Schema } from './schema.ts';
import { allShortcuts, type ConfigShape, rootSchema } from './shape.ts';

const LINE_CHARS = 110;

/** Loaded when there is something to print. */
const load = createRequire(import.meta.url);

/** Every setting, commented, as a file that changes nothing. */
export function printReference(shape: ConfigShape): string {
  const root = rootSchema(shape);
  const shortcuts = allShortcuts(shape).map(
    ({ flag, paths }) =>
      `  --${flag}, ROSETTAMQ_${flag.replaceAll('-', '_').toUpperCase()}: ${paths.join(', ')}`,
  );
  const [examplePath] = [...listSettings(root)][0] as readonly [readonly string[], Schema];
  const opening = [
    'Every setting of RosettaMQ with its default. Written by `npm run config:write`.',
    '',
    'RosettaMQ reads the file named by --config or ROSETTAMQ_CONFIG, or else rosettamq.yaml in the working folder, or ' +
      'else none. Only what differs from the defaults needs to be there. What is wrong is refused at start, with its ' +
      'line; `rosettamq validate` checks without starting, `rosettamq config print --origin` shows what applies and why.',
    '',
    'Environment variables go over the file: ROSETTAMQ_ and the path, with __ between its parts and _ between words, ' +
      `as ${variableOf(examplePath)}, ${variableOf(['http', 'apiKeys'])}. With __FILE at the end the value is read from ` +
      'the file that the variable names. Lists are written with commas; lists, maps and whole sections also as JSON or ' +
      `YAML, as ${variableOf(['limits'])}={"queuesMax": 100}. Flags go over both: --set section.setting=value, and short ` +
      'ones, which are environment variables too:',
    '',
    ...shortcuts,
    '',
    'Times and sizes are whole numbers; the name ends in their unit: Ms are milliseconds, Bytes are bytes.',
  ];
  const lines = opening.flatMap((line) => comment(line, ''));
  for (const [name, section] of Object.entries(root.properties ?? {})) {
    const print = isSection(section) ? printSection : printSetting;
    lines.push('', ...print(shape, [name], section));
  }
  return `${lines.join('\n')}\n`;
}

function printSection(shape: ConfigShape, path: readonly string[], section: Schema): string[] {
  const indent = indentOf(path);
  const lines = [...comment(asSentence(section.description ?? ''), indent), `${indent}${path.at(-1)}:`];
  for (const [key, schema] of Object.entries(section.properties ?? {})) {
    const print = isSection(schema) ? printSection : printSetting;
    lines.push(...print(shape, [...path, key], schema));
  }
  return lines;
}

function printSetting(shape: ConfigShape, path: readonly string[], schema: Schema): string[] {
  const indent = indentOf(path);
  const notes = [asSentence(schema.description ?? ''), describeRange(schema)];
  const example = shape.examples?.[path.join('.')] ?? [];
  return [
    ...comment(notes.filter((note) => note !== '').join(' '), indent),
    ...example.map((line) => `${indent}#   ${line}`),
    `${indent}${path.at(-1)}: ${printValue(schema.default)}`,
  ];
}

const indentOf = (path: readonly string[]): string => '  '.repeat(path.length - 1);

const asSentence = (text: string): string => (text === '' || /[.:)]$/.test(text) ? text : `${text}.`);

function describeRange({ minimum, maximum, anyOf }: Schema): string {
  if (anyOf?.every((choice) => 'const' in choice)) {
    return `One of ${anyOf.map((choice) => printValue(choice.const)).join(', ')}.`;
  }
  if (minimum !== undefined && maximum !== undefined) return `From ${minimum} to ${maximum}.`;
  if (minimum !== undefined) return `At least ${minimum}.`;
  return maximum === undefined ? '' : `At most ${maximum}.`;
}

/** Broken into lines of comment. */
function comment(text: string, indent: string): string[] {
  const lines: string[] = [];
  const [, margin = ''] = /^( *)/.exec(text) ?? [];
  let line = '';
  for (const word of text.trim().split(/\s+/)) {
    const longer = line === '' ? margin + word : `${line} ${word}`;
    if (line !== '' && indent.length + 2 + longer.length > LINE_CHARS) {
      lines.push(line);
      line = margin + word;
    } else line = longer;
  }
  lines.push(line);
  return lines.map((one) => `${indent}# ${one}`.trimEnd());
}

function printValue(value: unknown): string {
  const { stringify } = load('yaml') as typeof import('yaml');
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trimEnd();
}

/** One setting as it applies, for people. */
export interface ShownSetting {
  /** Its path with dots between. */
  readonly name: string;
  /** Null where it is a secret that is set. */
  readonly value: unknown;
  readonly isSecret: boolean;
  /** The file and line, variable or flag that it came from, or `default`. */
  readonly origin: string;
}

/** Every setting in the order of the sections. */
export function* listShown(shape: ConfigShape, config: Config): Generator<ShownSetting> {
  for (const [path, schema] of listSettings(rootSchema(shape))) {
    const name = path.join('.');
    let value: unknown = config.sections;
    for (const key of path) value = (value as Record<string, unknown>)[key];
    const secret = isSecret(name, schema);
    yield {
      name,
      value: secret && !isEmpty(value) ? null : value,
      isSecret: secret,
      origin: config.origins.get(name) ?? 'default',
    };
  }
}

/** What applies, every setting; `origins` adds where each value came from. */
export function printConfig(shape: ConfigShape, config: Config, origins: boolean): string {
  const lines: string[] = [];
  const print = (schema: Schema, values: unknown, path: readonly string[]): void => {
    const indent = '  '.repeat(path.length);
    for (const [key, child] of Object.entries(schema.properties ?? {})) {
      const value = (values as Record<string, unknown>)[key];
      const name = [...path, key].join('.');
      if (isSection(child)) {
        lines.push(`${indent}${key}:`);
        print(child, value, [...path, key]);
      } else {
        const shown = isSecret(name, child) && !isEmpty(value) ? '<hidden>' : printValue(value);
        const origin = origins ? ` # ${config.origins.get(name) ?? 'default'}` : '';
        lines.push(`${indent}${key}: ${shown}${origin}`);
      }
    }
  };
  print(rootSchema(shape), config.sections, []);
  return `${lines.join('\n')}\n`;
}

const isEmpty = (value: unknown): boolean =>
  value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
