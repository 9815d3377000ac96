/**
 * The part of JSON Schema that settings are described with, and how one value is held against it. Settings are built
 * with TypeBox, whose schemas are plain JSON Schema: this file reads them so that every message can say what is wrong
 * in the operator's words, and so that a start loads no validator. Called by the other files of this folder.
 */

import { createRequire } from 'node:module';

/** Loaded when it is needed: most starts read neither. */
const load = createRequire(import.meta.url);

export interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  /** Of a map: what stands under its names, one schema for all. */
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: unknown;
  readonly items?: Schema;
  /** Of the properties of a list's entry: those that must be there. */
  readonly required?: readonly string[] | undefined;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  /** A secret: never shown. */
  readonly writeOnly?: boolean;
}

export const isSection = (schema: Schema): boolean => schema.properties !== undefined;

/** The setting at `path`, or the first key of it that is not known. */
export function findSetting(
  root: Schema,
  path: readonly string[],
): { readonly schema: Schema } | { readonly unknownAt: number } {
  let schema = root;
  for (const [index, key] of path.entries()) {
    const next = schema.properties?.[key];
    if (next === undefined || !Object.hasOwn(schema.properties ?? {}, key)) return { unknownAt: index };
    schema = next;
  }
  return { schema };
}

/** Every setting under `schema` that is not a section, with its path. */
export function* listSettings(
  schema: Schema,
  path: readonly string[] = [],
): Generator<readonly [path: readonly string[], schema: Schema]> {
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    if (isSection(child)) yield* listSettings(child, [...path, key]);
    else yield [[...path, key], child];
  }
}

/** Every section under `schema`, outer ones first. */
export function* listSections(schema: Schema, path: readonly string[] = []): Generator<readonly string[]> {
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    if (!isSection(child)) continue;
    yield [...path, key];
    yield* listSections(child, [...path, key]);
  }
}

/** What is wrong with `value`, as the end of a sentence that begins with the setting's name; null: nothing. */
export function findFault(schema: Schema, value: unknown): string | null {
  if (schema.anyOf !== undefined) return findUnionFault(schema.anyOf, value);
  if ('const' in schema) return value === schema.const ? null : `must be ${show(schema.const)}`;
  switch (schema.type) {
    case 'boolean':
      return typeof value === 'boolean' ? null : `must be true or false, not ${show(value)}`;
    case 'integer':
    case 'number':
      return findNumberFault(schema, value);
    case 'string':
      return findTextFault(schema, value);
    case 'array':
      return findListFault(schema, value);
    case 'object':
      return findEntryFault(schema, value);
    case 'null':
      return value === null ? null : 'must be null';
    default:
      return 'cannot be set';
  }
}

function findUnionFault(choices: readonly Schema[], value: unknown): string | null {
  const faults = choices.map((choice) => findFault(choice, value));
  if (faults.includes(null)) return null;
  if (choices.every((choice) => 'const' in choice)) {
    return `must be ${joinChoices(choices.map((choice) => show(choice.const)))}, not ${show(value)}`;
  }
  return faults.filter((fault) => fault !== null).join(', or ');
}

function findNumberFault(schema: Schema, value: unknown): string | null {
  const isInteger = schema.type === 'integer';
  const kind = isInteger ? 'a whole number' : 'a number';
  if (typeof value !== 'number' || !Number.isFinite(value)) return `must be ${kind}, not ${show(value)}`;
  if (isInteger && !Number.isSafeInteger(value)) return `must be ${kind}, not ${value}`;
  const { minimum, maximum } = schema;
  if (minimum !== undefined && value < minimum) return `must be at least ${minimum}, not ${value}`;
  if (maximum !== undefined && value > maximum) return `must be at most ${maximum}, not ${value}`;
  return null;
}

function findTextFault(schema: Schema, value: unknown): string | null {
  if (typeof value !== 'string') return `must be text, not ${show(value)}`;
  if (value.length < (schema.minLength ?? 0)) return `must have at least ${schema.minLength} characters`;
  if (value.length > (schema.maxLength ?? Number.POSITIVE_INFINITY)) {
    return `must have at most ${schema.maxLength} characters`;
  }
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value)) {
    return `does not have the form that is asked for: ${schema.description ?? schema.pattern}`;
  }
  return null;
}

function findListFault(schema: Schema, value: unknown): string | null {
  if (!Array.isArray(value)) return `must be a list, not ${show(value)}`;
  if (value.length > (schema.maxItems ?? Number.POSITIVE_INFINITY))
    return `must have at most ${schema.maxItems} entries`;
  if (value.length < (schema.minItems ?? 0)) return `must have at least ${schema.minItems} entries`;
  for (const [index, item] of value.entries()) {
    const fault = schema.items === undefined ? null : findFault(schema.items, item);
    if (fault !== null) return `entry ${index + 1} ${fault}`;
  }
  return null;
}

/** An entry of a list that has settings of its own. */
function findEntryFault(schema: Schema, value: unknown): string | null {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return `must have settings of its own, not be ${show(value)}`;
  }
  if (schema.patternProperties !== undefined) return findMapFault(schema.patternProperties, value);
  const properties = schema.properties ?? {};
  const missing = schema.required?.find((key) => !Object.hasOwn(value, key));
  if (missing !== undefined) return `has no ${missing}`;
  for (const [key, child] of Object.entries(value)) {
    const property = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (property === undefined && schema.additionalProperties === true) continue;
    const fault = property === undefined ? 'is not a setting' : findFault(property, child);
    if (fault !== null) return `${key} ${fault}`;
  }
  return null;
}

function findMapFault(patterns: Readonly<Record<string, Schema>>, value: object): string | null {
  const [entry] = Object.values(patterns);
  for (const [name, child] of Object.entries(value)) {
    const fault = entry === undefined ? null : findFault(entry, child);
    if (fault !== null) return `${name} ${fault}`;
  }
  return null;
}

/** The value that a text from the environment or the command line stands for; the text itself where it fits nothing. */
export function valueFromText(schema: Schema, text: string): unknown {
  if (schema.anyOf !== undefined) {
    const values = schema.anyOf.map((choice) => valueFromText(choice, text));
    return values.find((value) => findFault(schema, value) === null) ?? text;
  }
  switch (schema.type) {
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'integer':
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text;
    case 'array':
      return listFromText(schema.items ?? {}, text);
    case 'null':
      return text === '' || text === 'null' ? null : text;
    case 'object':
      return text.trim() === '' ? {} : (treeFromText(text) ?? text);
    default:
      return text;
  }
}

/** Entries between commas; JSON or YAML where it is a list in it, or where entries have settings of their own. */
function listFromText(items: Schema, text: string): unknown {
  if (text.trim() === '') return [];
  if (items.type === 'object' || /^\s*(\[|- )/.test(text)) {
    const list = treeFromText(text);
    return Array.isArray(list) ? list : text;
  }
  return text.split(',').map((entry) => valueFromText(items, entry.trim()));
}

/** The list or map that a text in JSON or YAML holds; null where it holds none. */
export function treeFromText(text: string): object | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    try {
      const { parse } = load('yaml') as typeof import('yaml');
      value = parse(text);
    } catch {
      return null;
    }
  }
  return typeof value === 'object' ? value : null;
}

/** Everything at its default. Throws where a setting has none: that is a mistake in the schema. */
export function defaultsOf(schema: Schema): unknown {
  if (!isSection(schema)) {
    if (!('default' in schema)) throw new Error(`a setting has no default: ${schema.description ?? '?'}`);
    return structuredClone(schema.default);
  }
  const entries = Object.entries(schema.properties ?? {});
  return Object.fromEntries(entries.map(([key, child]) => [key, defaultsOf(child)]));
}

function joinChoices(choices: readonly string[]): string {
  return choices.length < 2 ? choices.join() : `${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
