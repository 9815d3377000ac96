/**
 * Reads the configuration file (YAML 1.2) into a draft. Every complaint names the file and the line; keys that are not
 * known, or that stand there twice, are complaints.
 */

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Node, YAMLMap } from 'yaml';
import type { ConfigDraft } from './draft.ts';
import { isSection, type Schema } from './schema.ts';

/** The parser is larger than all the rest of this folder, and many gateways have no file. */
const load = createRequire(import.meta.url);

/** `name` is how messages call the file. Throws where it cannot be read. */
export function readYamlFile(draft: ConfigDraft, path: string, name: string): void {
  const { isAlias, isMap, isScalar, LineCounter, parseDocument } = load('yaml') as typeof import('yaml');
  const lines = new LineCounter();
  const document = parseDocument(readFileSync(path, 'utf8'), { lineCounter: lines, prettyErrors: false });
  const placeOf = (offset: number): string => `${name}:${lines.linePos(offset).line}`;
  for (const error of document.errors) draft.problems.push(`${placeOf(error.pos[0])}: ${error.message}`);
  if (document.errors.length > 0 || document.contents === null) return;

  const readSection = (schema: Schema, section: YAMLMap, path: readonly string[]): void => {
    for (const pair of section.items) {
      const key = pair.key as Node;
      const place = placeOf(key.range?.[0] ?? 0);
      const child = [...path, isScalar(key) ? String(key.value) : String(key)];
      const childSchema = Object.hasOwn(schema.properties ?? {}, child.at(-1) as string)
        ? (schema.properties?.[child.at(-1) as string] as Schema)
        : undefined;
      if (childSchema === undefined) draft.refuseUnknown(child, path.length, place);
      else readNode(childSchema, pair.value as Node | null, child, place);
    }
  };

  const readNode = (schema: Schema, node: Node | null, path: readonly string[], place: string): void => {
    const target = isAlias(node) ? (node.resolve(document) ?? null) : node;
    if (!isSection(schema)) draft.set(path, schema, target?.toJS(document) ?? null, place);
    else if (isMap(target)) readSection(schema, target, path);
    // A section with nothing in it, as when all its lines are comments.
    else if (target !== null && !(isScalar(target) && target.value === null)) {
      draft.problems.push(`${place}: ${path.join('.')} is a section and must hold settings`);
    }
  };

  if (isMap(document.contents)) readSection(draft.root, document.contents, []);
  else if (!(isScalar(document.contents) && document.contents.value === null)) {
    draft.problems.push(`${name}:1: the file must hold sections, as config/rosettamq.yaml shows`);
  }
}
