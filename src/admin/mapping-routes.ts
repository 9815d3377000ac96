/**
 * `/v1/mappings`: the operator's mapping rules, read, put and deleted while traffic flows. PUT is idempotent. Every
 * rule has an ETag, which is a hash of its definition; `If-Match` and `If-None-Match: *` guard a change against one
 * that somebody else made. A whole set is applied at once; what is only tried is in `explain-routes.ts`.
 */

import Type from 'typebox';
import { CoreError, isRouting, type MappingEntry, newMappingCounters, streamsOfRule } from '../core/index.ts';
import { endpointOf } from './mapping-trial.ts';
import { addNamedReads } from './named-reads.ts';
import { DEFINITION_NAME, DEFINITION_NAME_RULE, definitionNameParams, found } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { changeQuery, checkPreconditions, etagOf, preconditions, takingTurns } from './preconditions.ts';
import { notFound, problem, problemFromCore } from './problems.ts';
import {
  type MappingView,
  mappingPutSchema,
  mappingSchema,
  problemResponse,
  ruleWarningSchema,
} from './schemas.ts';
import { whenStored } from './stored.ts';
import { type App, escapePointer } from './validation.ts';

const applyQuery = Type.Object(
  {
    ...changeQuery.properties,
    prune: Type.Boolean({ default: false, description: 'Delete mappings that the set does not name.' }),
  },
  { additionalProperties: false },
);

const names = (description: string) => Type.Array(Type.String(), { description });
const appliedSchema = Type.Object({
  dryRun: Type.Boolean(),
  created: names('New ones.'),
  replaced: names('Changed ones.'),
  unchanged: names('Those that were there with the same definition.'),
  deleted: names('With `prune`: those that the set does not name.'),
  warnings: Type.Array(ruleWarningSchema, {
    description: 'Mappings that compete for addresses, at most 100.',
  }),
});

export function addMappingRoutes(app: App, options: AdminOptions): void {
  const { rules } = options.core;
  const inTurn = takingTurns();

  addNamedReads(app, {
    tag: 'mappings',
    path: '/v1/mappings',
    onePath: '/v1/mappings/:name',
    one: 'a mapping',
    many: 'mappings',
    what: 'mapping',
    params: definitionNameParams,
    schema: mappingSchema,
    list: () => rules.list(),
    get: (name) => {
      const entry = rules.get(name);
      return entry && ([name, entry] as const);
    },
    nameOf: ([name]) => name,
    etagOf: ([, { definition }]) => etagOf(definition),
    show: ([name, entry]) => viewFromRule(name, entry),
  });

  app.put(
    '/v1/mappings/:name',
    {
      schema: {
        summary: 'Create or replace a mapping',
        description: 'Takes effect at once and is stored before the answer. JSON or YAML.',
        consumes: ['application/json', 'application/yaml'],
        tags: ['mappings'],
        params: definitionNameParams,
        headers: preconditions,
        // Checked by the compiler of rules, which knows better what to say than a schema.
        body: Type.Unknown({
          description:
            'The definition: match, stream, key, partitions; or from and to. docs/mapping-rules.md describes both.',
          examples: [
            { match: 'devices/{device}/telemetry', stream: 'telemetry', key: '{device}', partitions: 6 },
            {
              from: { match: 'plant/{site}/{rest...}', where: { contentType: 'application/json' } },
              to: [{ endpoint: 'core', topic: 'sites/{site}/{rest}' }],
            },
          ],
        }),
        querystring: changeQuery,
        response: { 200: mappingPutSchema, 201: mappingPutSchema, '4xx': problemResponse },
      },
    },
    (request, reply) =>
      inTurn(async () => {
        const { name } = request.params;
        const { dryRun } = request.query;
        const before = rules.get(name);
        checkPreconditions(request.headers, tagOf(before), 'the mapping');
        const { warnings } = await refusing(() => rules.put(name, request.body, { dryRun }));
        if (dryRun) {
          const rule = options.compileRule(request.body);
          const counters = before?.counters ?? newMappingCounters();
          return {
            ...viewFromRule(name, { definition: request.body, rule, counters }),
            warnings: [...warnings],
          };
        }
        const entry = rules.get(name);
        if (entry === undefined) throw notFound('/name', `mapping ${name} was deleted in the meantime`);
        reply.code(before === undefined ? 201 : 200).header('etag', etagOf(entry.definition));
        if (before === undefined) reply.header('location', `/v1/mappings/${name}`);
        return { ...viewFromRule(name, entry), warnings: [...warnings] };
      }),
  );

  app.post(
    '/v1/mappings::apply',
    {
      // A body of megabytes has just been read: messages have their turn before it is looked at.
      preValidation: () => new Promise((resolve) => setImmediate(resolve)),
      schema: {
        summary: 'Create or replace many mappings at once',
        description:
          'All of them or none, between two messages, and stored before the answer. Errors point into the set: ' +
          '`/mappings/NAME/…`.',
        consumes: ['application/json', 'application/yaml'],
        tags: ['mappings'],
        querystring: applyQuery,
        body: Type.Object(
          {
            // Not a record: looking at ten thousand names with a pattern holds up messages.
            mappings: Type.Object({}, { additionalProperties: true, description: 'Definitions by name.' }),
          },
          { additionalProperties: false },
        ),
        response: { 200: appliedSchema, '4xx': problemResponse },
      },
    },
    (request) =>
      inTurn(async () => {
        const { prune, dryRun } = request.query;
        const { mappings } = request.body as { mappings: Readonly<Record<string, unknown>> };
        const definitions = new Map(Object.entries(mappings));
        for (const name of definitions.keys()) {
          if (DEFINITION_NAME.test(name)) continue;
          throw problem('invalid-request', 'body', `/mappings/${escapePointer(name)}`, DEFINITION_NAME_RULE);
        }
        const { removed, ...changes } = await refusing(
          () => rules.apply(definitions, { prune, dryRun }),
          '/mappings',
        );
        return {
          dryRun,
          created: [...changes.created],
          replaced: [...changes.replaced],
          unchanged: [...changes.unchanged],
          deleted: [...removed],
          warnings: [...changes.warnings],
        };
      }),
  );

  app.delete(
    '/v1/mappings/:name',
    {
      schema: {
        summary: 'Delete a mapping',
        description: 'Its stream and the records in it stay.',
        tags: ['mappings'],
        params: definitionNameParams,
        querystring: changeQuery,
        headers: preconditions,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    (request, reply) =>
      inTurn(async () => {
        const { name } = request.params;
        const before = found(rules.get(name), 'mapping', name);
        checkPreconditions(request.headers, tagOf(before), 'the mapping');
        if (!request.query.dryRun) {
          rules.remove(name);
          await whenStored(options.core);
        }
        reply.code(204);
        return null;
      }),
  );
}

function tagOf(entry: MappingEntry | undefined): string | undefined {
  return entry === undefined ? undefined : etagOf(entry.definition);
}

/** What the core refuses is a problem with the body. */
async function refusing<Result>(change: () => Promise<Result>, base = ''): Promise<Result> {
  try {
    return await change();
  } catch (error) {
    if (error instanceof CoreError) throw problemFromCore(error, 'body', base);
    throw error;
  }
}

function viewFromRule(name: string, { definition, rule, counters }: MappingEntry): MappingView {
  const [stream] = streamsOfRule(rule);
  return {
    name,
    definition,
    pattern: rule.pattern.toString(),
    stream: stream?.name ?? null,
    partitions: stream?.partitions ?? null,
    targets: isRouting(rule) ? rule.targets.map(endpointOf) : [`stream:${rule.stream}`],
    bothWays: rule.oneWayReason === undefined,
    oneWayReason: rule.oneWayReason ?? null,
    inverse: isRouting(rule) ? (rule.inverse ?? null) : null,
    counters: { ...counters, dropped: { ...counters.dropped } },
  };
}
