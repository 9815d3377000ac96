/**
 * The settings while they are put together: defaults first, then the file, the environment and the flags, each laid
 * over the one before. Every value is checked when it is laid down and remembers where it came from; what is wrong is
 * collected, so that an operator sees all of it at once.
 */

import { findNearest } from '../nearest-name.ts';
import {
  defaultsOf,
  findFault,
  findSetting,
  isSection,
  listSettings,
  type Schema,
  treeFromText,
  valueFromText,
} from './schema.ts';

type Branch = Record<string, unknown>;

export class ConfigDraft {
  readonly root: Schema;
  readonly settings: Branch;
  /** Path to where the value came from; settings at their default are not in it. */
  readonly origins = new Map<string, string>();
  readonly problems: string[] = [];

  constructor(root: Schema) {
    this.root = root;
    this.settings = defaultsOf(root) as Branch;
  }

  /** Lays `value` at a known path. `origin` says where it stands, for people. */
  set(path: readonly string[], schema: Schema, value: unknown, origin: string): void {
    const name = path.join('.');
    const fault = findFault(schema, value);
    if (fault !== null) {
      const unit = unitOf(name, schema);
      this.problems.push(`${origin}: ${name} ${isSecret(name, schema) ? hideFault(fault) : fault}${unit}`);
      return;
    }
    let branch = this.settings;
    for (const key of path.slice(0, -1)) branch = branch[key] as Branch;
    branch[path.at(-1) as string] = value;
    this.origins.set(name, origin);
  }

  /** Lays a text from the environment or the command line at `path`, which may be unknown. */
  setText(path: readonly string[], text: string, origin: string): void {
    const found = findSetting(this.root, path);
    if ('unknownAt' in found) this.refuseUnknown(path, found.unknownAt, origin);
    else if (isSection(found.schema)) {
      const tree = treeFromText(text);
      if (tree !== null && !Array.isArray(tree)) this.#setTree(path, found.schema, tree, origin);
      else {
        const advice = 'name one setting of it, or write a map of settings in JSON or YAML';
        this.problems.push(`${origin}: ${path.join('.')} is a section; ${advice}`);
      }
    } else this.set(path, found.schema, valueFromText(found.schema, text), origin);
  }

  /** Lays every setting that `tree` holds at and below `path`. */
  #setTree(path: readonly string[], schema: Schema, tree: object, origin: string): void {
    for (const [key, value] of Object.entries(tree)) {
      const place = [...path, key];
      const child = Object.hasOwn(schema.properties ?? {}, key) ? schema.properties?.[key] : undefined;
      if (child === undefined) this.refuseUnknown(place, path.length, origin);
      else if (!isSection(child)) this.set(place, child, value, origin);
      else if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
        this.#setTree(place, child, value, origin);
      } else this.problems.push(`${origin}: ${place.join('.')} is a section and must hold settings`);
    }
  }

  refuseUnknown(path: readonly string[], unknownAt: number, origin: string): void {
    const section = path.slice(0, unknownAt);
    const found = findSetting(this.root, section);
    const siblings = 'schema' in found ? Object.keys(found.schema.properties ?? {}) : [];
    const wrong = path[unknownAt] as string;
    const nearest = findNearest(wrong, siblings);
    const suggestion =
      nearest !== null ? [...section, nearest].join('.') : this.#findElsewhere(path.at(-1) as string);
    const hint = suggestion === null ? '' : `; did you mean ${suggestion}?`;
    this.problems.push(`${origin}: ${path.slice(0, unknownAt + 1).join('.')} is not a setting${hint}`);
  }

  /** A setting of exactly that name in another section, where there is only one. */
  #findElsewhere(key: string): string | null {
    const places = [...listSettings(this.root)].filter(([path]) => path.at(-1) === key);
    return places.length === 1 ? (places[0] as (typeof places)[0])[0].join('.') : null;
  }
}

export function isSecret(name: string, schema: Schema): boolean {
  return schema.writeOnly === true || /(apikeys?|passwords?|secrets?|tokens?)$/i.test(name);
}

/** The fault without the value in it. */
function hideFault(fault: string): string {
  return fault.replace(/, not .*$/s, '');
}

/** What a number is counted in, when somebody wrote something else. */
function unitOf(name: string, schema: Schema): string {
  if (schema.type !== 'integer' && schema.type !== 'number') return '';
  if (/Ms(Max|Min)?$/.test(name)) return ' (milliseconds)';
  if (/Seconds(Max|Min)?$/.test(name)) return ' (seconds)';
  if (/Bytes(Max|Min)?$/.test(name)) return ' (bytes)';
  return '';
}
