/** What the settings consist of: the protocols' sections, given by `src/main.ts`, and the host's. */

import { type TSchema, Type } from '../schema-types.ts';
import { HOST_SHARES, type MemoryShares } from './derived.ts';
import type { Schema } from './schema.ts';
import { hostSections } from './settings.ts';
import { HOST_SHORTCUTS, type Shortcut } from './shortcuts.ts';

export interface ConfigShape {
  /** The protocols' sections, by name. */
  readonly sections: Readonly<Record<string, TSchema>>;
  readonly shortcuts: readonly Shortcut[];
  /** Lines of the file for settings that a default does not explain, by the setting's path. */
  readonly examples?: Readonly<Record<string, readonly string[]>>;
  /** What the protocols' bounds are of the memory that the process may take; see `derived.ts`. */
  readonly memoryShares?: MemoryShares;
}

export function rootSchema(shape: ConfigShape): Schema {
  return Type.Object({ ...shape.sections, ...hostSections }, { additionalProperties: false }) as Schema;
}

export function allShares(shape: ConfigShape): MemoryShares {
  return { ...HOST_SHARES, ...shape.memoryShares };
}

/** Sections that may listen. */
export function listenersOf(shape: ConfigShape): readonly string[] {
  return [...Object.keys(shape.sections), 'http'];
}

export function allShortcuts(shape: ConfigShape): readonly Shortcut[] {
  return [...shape.shortcuts, ...HOST_SHORTCUTS];
}
