/**
 * Checks requests against their TypeBox schemas, in place of the two code-generating compilers that fastify loads
 * otherwise: the API is not hot, and they cost start time and memory. Query and path texts become numbers and
 * booleans where the schema wants them, defaults are filled in, unknown fields are refused.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { TSchema } from 'typebox';
import { Check, Convert, Default, Errors } from 'typebox/value';
import { Problem, type ProblemError, type ProblemPlace } from './problems.ts';

/** The server with types inferred from schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

type Checked = { value: unknown } | { error: Error };

/** Errors listed in one answer. */
const ERRORS_MAX = 20;

const PLACES: Readonly<Record<string, ProblemPlace>> = {
  body: 'body',
  querystring: 'query',
  params: 'path',
  headers: 'header',
};

export const schemaCompilers = {
  buildValidator:
    () =>
    ({ schema, httpPart }: { schema: TSchema; httpPart?: string }) =>
    (data: unknown): Checked => {
      const place = PLACES[httpPart ?? 'body'] ?? 'body';
      const given = data ?? (place === 'body' ? undefined : {});
      const converted = place === 'body' ? given : Convert(schema, given);
      const value = Default(schema, converted);
      if (Check(schema, value)) return { value };
      return { error: new Problem('invalid-request', errorsFrom(schema, value, place)) };
    },
  buildSerializer: () => () => (data: unknown) => JSON.stringify(data),
};

function errorsFrom(
  schema: TSchema,
  value: unknown,
  place: ProblemPlace,
): readonly [ProblemError, ...ProblemError[]] {
  const errors: ProblemError[] = [];
  for (const error of Errors(schema, value)) {
    const params = error.params as { additionalProperties?: string[]; requiredProperties?: string[] };
    const names = params.additionalProperties ?? params.requiredProperties;
    if (names !== undefined) {
      const detail = params.additionalProperties === undefined ? 'is missing' : 'is not a field here';
      for (const name of names) {
        errors.push({ in: place, pointer: `${error.instancePath}/${escapePointer(name)}`, detail });
      }
    } else if (error.keyword !== 'boolean') {
      // `boolean` repeats what additionalProperties has said already.
      errors.push({ in: place, pointer: error.instancePath, detail: error.message });
    }
  }
  const [first = { in: place, pointer: '', detail: 'does not fit its schema' }, ...others] = errors;
  return [first, ...others.slice(0, ERRORS_MAX - 1)];
}

/** One name as a step of a JSON pointer. */
export function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
