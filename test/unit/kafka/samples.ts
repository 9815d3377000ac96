/**
 * Sample values for every field of a table, all different so that a field read in the wrong place shows, and the
 * comparison of what another implementation made of them.
 */

import type { Api, Field } from '../../../adapters/kafka/codec/schema.ts';

export type Sample = Record<string, unknown>;

/** Counts up, so that each sample is another. */
export class SampleMaker {
  #next = 1;

  fields(fields: readonly Field[], version: number): Sample {
    const sample: Sample = {};
    for (const field of fields) {
      if (field.from <= version && version <= field.to) sample[field.name] = this.#value(field, version);
    }
    return sample;
  }

  #value(field: Field, version: number): unknown {
    if (field.type !== 'array') return this.#scalar(field, field.type, version);
    const { fields, element } = field;
    return [0, 1].map(() =>
      fields === null ? this.#scalar(field, element ?? 'struct', version) : this.fields(fields, version),
    );
  }

  #scalar(field: Field, type: Field['type'], version: number): unknown {
    const number = this.#next++;
    // Clients throw where a response tells of an error.
    if (/errorCode$/i.test(field.name)) return 0;
    switch (type) {
      case 'bool':
        return true;
      case 'int8':
        return number % 100;
      case 'int16':
      case 'uint16':
      case 'int32':
        return number;
      case 'int64':
        return 2 ** 33 + number;
      case 'string':
        return field.nullableFrom <= version && number % 5 === 0 ? null : `${field.name}-${number}-é`;
      case 'uuid':
        return number.toString(16).padStart(32, 'a');
      case 'struct':
        return this.fields(field.fields ?? [], version);
      default:
        return Buffer.from(`${field.name}-${number}`);
    }
  }
}

/** The same value in one form: numbers for big integers, digits for ids, hexadecimal text for bytes. */
export function normalize(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)) {
    return value.replaceAll('-', '');
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(normalize);
  if (value instanceof Map) return [...value].map(normalize);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, normalize(each)]));
  }
  return value;
}

/** Every value at the ends of a tree that tells something, as text. */
export function leaves(value: unknown, found = new Set<string>()): Set<string> {
  const normal = normalize(value);
  if (Array.isArray(normal)) for (const each of normal) leaves(each, found);
  else if (typeof normal === 'object' && normal !== null)
    for (const each of Object.values(normal)) leaves(each, found);
  else if (normal !== null && normal !== undefined && typeof normal !== 'boolean') found.add(String(normal));
  return found;
}

export function versionsOf(api: Api): number[] {
  return Array.from({ length: api.versionMax - api.versionMin + 1 }, (_, i) => api.versionMin + i);
}

/** A sample as a client gives it: 64-bit numbers as big integers, ids with their hyphens. */
export function asClientsGive(value: unknown): unknown {
  if (typeof value === 'string' && /^[0-9a-f]{32}$/.test(value)) {
    return value.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  }
  if (typeof value === 'number' && value > 2 ** 33) return BigInt(value);
  if (Array.isArray(value)) return value.map(asClientsGive);
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, asClientsGive(each)]));
}
