/** What the settings consist of: the protocols' sections, given by `src/main.ts`, and the host's. */

import Type, { type TSchema } from 'typebox';
import type { Schema } from './schema.ts';
import { hostSections } from './settings.ts';
import { HOST_SHORTCUTS, type Shortcut } from './shortcuts.ts';

export interface ConfigShape {
  /** The protocols' sections, by name. */
  readonly sections: Readonly<Record<string, TSchema>>;
  readonly shortcuts: readonly Shortcut[];
  /** Lines of the file for settings that a default does not explain, by the setting's path. */
  readonly examples?: Readonly<Record<string, readonly string[]>>;
}

export function rootSchema(shape: ConfigShape): Schema {
  return Type.Object({ ...shape.sections, ...hostSections }, { additionalProperties: false }) as Schema;
}

export function allShortcuts(shape: ConfigShape): readonly Shortcut[] {
  return [...shape.shortcuts, ...HOST_SHORTCUTS];
}
