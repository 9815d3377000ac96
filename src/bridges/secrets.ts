/**
 * Secrets in the definition of a connection: hidden when it is shown, kept when it is put again as it was shown, and
 * read only when a link is opened. They are found by the driver's schema (`secretSetting`). Nothing here tells one in
 * the text of an error.
 */

import { readFile } from 'node:fs/promises';
import { LinkError } from '../outside.ts';
import type { TSchema } from '../schema-types.ts';
import { escapePointer, isObject, refuse, type Shape } from './definitions.ts';

const KEPT = { kept: true };
const SECRET_FILE_BYTES_MAX = 1024 * 1024;

type Visit = (secret: unknown, field: string) => unknown;

/** Where secrets come from that are not in the definition. */
export interface SecretSources {
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** As it is shown: text becomes `{kept: true}`. */
export function masked(schema: TSchema, definition: unknown): unknown {
  return replaced(schema as Shape, definition, '', (secret) => (typeof secret === 'string' ? KEPT : secret));
}

/** `{kept: true}` becomes what `before` has there. Throws CoreError `invalid-argument` where it has nothing. */
export function restored(schema: TSchema, definition: unknown, before: unknown): unknown {
  const known = new Map<string, unknown>();
  if (before !== undefined)
    replaced(schema as Shape, before, '', (secret, field) => {
      known.set(field, secret);
      return secret;
    });
  return replaced(schema as Shape, definition, '', (secret, field) => {
    if (!isObject(secret) || secret.kept !== true) return secret;
    return (
      known.get(field) ??
      refuse(field, 'there is no secret to be kept; write it, or {env: NAME} or {file: PATH}')
    );
  });
}

/** Every secret as text. Rejects with a LinkError. */
export async function resolved(
  schema: TSchema,
  definition: unknown,
  { environment }: SecretSources,
): Promise<unknown> {
  const read = new Map<string, string>();
  const asked: Promise<void>[] = [];
  replaced(schema as Shape, definition, '', (secret, field) => {
    asked.push(readSecret(secret, field, environment).then((text) => void read.set(field, text)));
    return secret;
  });
  await Promise.all(asked);
  return replaced(schema as Shape, definition, '', (_secret, field) => read.get(field));
}

async function readSecret(
  secret: unknown,
  field: string,
  environment: SecretSources['environment'],
): Promise<string> {
  if (typeof secret === 'string') return secret;
  const { env, file } = secret as { readonly env?: string; readonly file?: string };
  if (env !== undefined) {
    const value = environment[env];
    if (value === undefined)
      throw new LinkError('authentication', `${field}: the environment variable ${env} is not set`);
    return value;
  }
  if (file === undefined) throw new LinkError('authentication', `${field}: there is no secret`);
  try {
    const bytes = await readFile(file);
    if (bytes.length > SECRET_FILE_BYTES_MAX)
      throw new Error(`it has more than ${SECRET_FILE_BYTES_MAX} bytes`);
    return bytes.toString('utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new LinkError('authentication', `${field}: ${file} cannot be read: ${(error as Error).message}`);
  }
}

/** A copy in which `visit` has replaced every secret. */
function replaced(shape: Shape, value: unknown, field: string, visit: Visit): unknown {
  if (shape.secret === true) return visit(value, field);
  if (shape.anyOf !== undefined)
    return shape.anyOf.reduce((made, choice) => {
      const isMeant = choice.properties !== undefined || choice.items !== undefined;
      return isMeant && !wasReplaced(made, value) ? replaced(choice, made, field, visit) : made;
    }, value);
  if (shape.properties !== undefined && isObject(value)) {
    const { properties } = shape;
    return Object.fromEntries(
      Object.entries(value).map(([name, each]) => {
        const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
        return [
          name,
          property === undefined ? each : replaced(property, each, `${field}/${escapePointer(name)}`, visit),
        ];
      }),
    );
  }
  if (shape.items !== undefined && Array.isArray(value)) {
    const { items } = shape;
    return value.map((each, index) => replaced(items, each, `${field}/${index}`, visit));
  }
  return value;
}

/** Of several choices with the same secret, one replaces it. */
function wasReplaced(made: unknown, value: unknown): boolean {
  return made !== value && JSON.stringify(made) !== JSON.stringify(value);
}
