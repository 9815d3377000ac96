/**
 * Reads environment variables into a draft. `ROSETTAMQ_` and the path of a setting, `__` between its parts and `_`
 * between words: `ROSETTAMQ_STORAGE__FOLDER`, `ROSETTAMQ_HTTP__API_KEYS`. With `__FILE` at the end the value is the
 * content of the file that it names, as container platforms hand out secrets. Short forms are those of the flags:
 * `ROSETTAMQ_DATA` as `--data`. Lists, maps and whole sections are JSON or YAML in one variable. A variable with our prefix
 * that means nothing is an error: it was meant to. Only what Kubernetes tells every container of a namespace about a Service whose
 * name begins as our prefix does (`ROSETTAMQ_SERVICE_HOST`, `ROSETTAMQ_PORT_1883_TCP`) was not.
 */

import { readFileSync } from 'node:fs';
import { findNearest } from '../nearest-name.ts';
import type { ConfigDraft } from './draft.ts';
import { listSections, listSettings, type Schema } from './schema.ts';
import type { Shortcut } from './shortcuts.ts';

export const PREFIX = 'ROSETTAMQ_';
const FILE_SUFFIX = '__FILE';

type Environment = Readonly<Record<string, string | undefined>>;

/** `ignored` are variables with the prefix that are read elsewhere. */
export function readEnvironment(
  draft: ConfigDraft,
  environment: Environment,
  shortcuts: readonly Shortcut[],
  ignored: ReadonlySet<string>,
): void {
  const known = namesOf(draft.root, shortcuts);
  // A short form or a section sets several settings at once; the name of fewer goes over it, whatever the alphabet says.
  const rankOf = (name: string): number =>
    name.slice(PREFIX.length).replace(FILE_SUFFIX, '').split('__').length;
  const names = Object.keys(environment).sort();
  names.sort((a, b) => rankOf(a) - rankOf(b));
  for (const name of names) {
    const text = environment[name];
    if (!name.startsWith(PREFIX) || ignored.has(name) || text === undefined) continue;
    if (isServiceLink(name, text)) continue;
    const isFile = name.endsWith(FILE_SUFFIX) && !known.has(plainName(name));
    const setting = isFile ? name.slice(0, -FILE_SUFFIX.length) : name;
    const paths = known.get(plainName(setting))?.paths;
    if (paths === undefined) {
      const nearest = findNearest(
        setting,
        [...known.values()].map((one) => one.name),
      );
      const hint = nearest === null ? '' : `; did you mean ${nearest}?`;
      draft.problems.push(`environment variable ${name} is not a setting${hint}`);
      continue;
    }
    const origin = `environment ${name}`;
    if (isFile && environment[setting] !== undefined) {
      draft.problems.push(`${origin}: ${setting} is set as well; only one of the two can hold`);
      continue;
    }
    const value = isFile ? readSecret(draft, text, origin) : text;
    if (value !== null) for (const path of paths) draft.setText(path, value, origin);
  }
}

/** `ROSETTAMQ_PORT` may be a setting too, but no setting is an address such as `tcp://10.0.0.1:1883`. */
function isServiceLink(name: string, text: string): boolean {
  if (/_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/.test(name))
    return true;
  return name.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(text);
}

/** `ROSETTAMQ_HTTP__API_KEYS` of `http.apiKeys`. */
export function variableOf(path: readonly string[]): string {
  return PREFIX + path.map((key) => key.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase()).join('__');
}

interface Variable {
  readonly name: string;
  readonly paths: readonly (readonly string[])[];
}

function namesOf(root: Schema, shortcuts: readonly Shortcut[]): Map<string, Variable> {
  const variables: Variable[] = [...listSettings(root)].map(([path]) => ({
    name: variableOf(path),
    paths: [path],
  }));
  for (const path of listSections(root)) variables.push({ name: variableOf(path), paths: [path] });
  for (const { flag, paths } of shortcuts) {
    const name = PREFIX + flag.replaceAll('-', '_').toUpperCase();
    variables.push({ name, paths: paths.map((path) => path.split('.')) });
  }
  return new Map(variables.map((variable) => [plainName(variable.name), variable]));
}

/** `API_KEYS` and `APIKEYS` are one name; the borders between parts count. */
function plainName(name: string): string {
  const parts = name.slice(PREFIX.length).toUpperCase().split('__');
  return parts.map((part) => part.replaceAll('_', '')).join('__');
}

function readSecret(draft: ConfigDraft, path: string, origin: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    draft.problems.push(`${origin}: ${path} cannot be read: ${(error as Error).message}`);
    return null;
  }
}
