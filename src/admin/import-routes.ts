/**
 * `/v1/import/{format}`: definitions of another broker, taken over. What each format says is read by the mapping that
 * `options.ts` hands over; here it is applied. What is there already stays as it is, so that the same import again changes
 * nothing, and what differs from it or cannot be taken over is told item by item.
 */

import Type, { type Static } from 'typebox';
import { type Core, CoreError, type ExchangeSpec, type QueueSpec } from '../core/index.ts';
import type { AdminOptions, ImportedDefinitions } from './options.ts';
import { changeQuery } from './preconditions.ts';
import { notFound, problemFromCore } from './problems.ts';
import { problemResponse } from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

const KINDS = ['exchanges', 'queues', 'bindings', 'users', 'mappings'] as const;
type Kind = (typeof KINDS)[number];

const countsSchema = Type.Object({
  exchanges: Type.Integer({ minimum: 0 }),
  queues: Type.Integer({ minimum: 0 }),
  bindings: Type.Integer({ minimum: 0 }),
  users: Type.Integer({ minimum: 0 }),
  mappings: Type.Integer({ minimum: 0 }),
});

const remarkSchema = Type.Object({ kind: Type.String(), name: Type.String(), reason: Type.String() });

const reportSchema = Type.Object({
  created: countsSchema,
  unchanged: countsSchema,
  skipped: Type.Array(remarkSchema, { description: 'What was not taken over, and why.' }),
  warnings: Type.Array(remarkSchema, { description: 'What does not do quite the same here.' }),
});

const importQuery = Type.Object(
  {
    ...changeQuery.properties,
    vhost: Type.String({
      default: '/',
      description: 'The virtual host that is taken over; others are told.',
    }),
  },
  { additionalProperties: false },
);

type Report = Static<typeof reportSchema>;
type Counts = Record<Kind, number>;

export function addImportRoutes(app: App, options: AdminOptions): void {
  const { importers } = options.definitions;
  const formats = Object.entries(importers).map(([format, { source }]) => `\`${format}\`: ${source}`);
  const formatParams = Type.Object({
    format: Type.String({ minLength: 1, description: formats.join('; ') }),
  });
  app.post(
    '/v1/import/:format',
    {
      schema: {
        summary: 'Take over the definitions of another broker',
        description: 'What is there already stays as it is. Stored before the answer.',
        consumes: ['application/json', 'application/yaml'],
        tags: ['import'],
        params: formatParams,
        querystring: importQuery,
        body: Type.Unknown({ description: 'The file, as the other broker wrote it.' }),
        response: { 200: reportSchema, '4xx': problemResponse },
      },
    },
    async (request) => {
      const { format } = request.params;
      const importer = Object.hasOwn(importers, format) ? importers[format] : undefined;
      if (importer === undefined) {
        throw notFound(
          '/format',
          `there is no format ${format}; there are ${Object.keys(importers).join(', ')}`,
        );
      }
      let definitions: ImportedDefinitions;
      try {
        definitions = importer.read(request.body, request.query.vhost);
      } catch (error) {
        throw error instanceof CoreError ? problemFromCore(error) : error;
      }
      const report = await apply(options, definitions, request.query.dryRun);
      if (!request.query.dryRun) await whenStored(options.core);
      return report;
    },
  );
}

async function apply(
  { core, users, compileRule }: AdminOptions,
  definitions: ImportedDefinitions,
  dryRun: boolean,
): Promise<Report> {
  const created: Counts = { exchanges: 0, queues: 0, bindings: 0, users: 0, mappings: 0 };
  const unchanged: Counts = { ...created };
  const skipped = [...definitions.skipped];
  /** `isThere` is null where it is there but differs. `check` is what a trial can tell of it. */
  const take = async (
    kind: Kind,
    name: string,
    isThere: boolean | null,
    make: () => unknown,
    check?: () => unknown,
  ): Promise<void> => {
    if (isThere === true) unchanged[kind]++;
    else if (isThere === null) skipped.push({ kind, name, reason: 'is there already, and is not the same' });
    else {
      try {
        await (dryRun ? check : make)?.();
        created[kind]++;
      } catch (error) {
        if (!(error instanceof CoreError)) throw error;
        skipped.push({ kind, name, reason: error.message });
      }
    }
  };
  for (const spec of definitions.exchanges) {
    const before = core.exchanges.get(spec.name);
    const isThere = before === undefined ? false : isSameExchange(before, spec) || null;
    await take('exchanges', spec.name, isThere, () => core.exchanges.declare(spec));
  }
  for (const spec of definitions.queues) {
    const before = core.queues.get(spec.name);
    const isThere = before === undefined ? false : isSameQueue(before.spec, spec) || null;
    await take('queues', spec.name, isThere, () => core.queues.declare(spec));
  }
  await takeBindings(core, definitions, dryRun, take);
  for (const { name, passwordHash, groups } of definitions.users) {
    const isThere = users.get(name) === undefined ? false : null;
    await take('users', name, isThere, () => users.put(name, { passwordHash, groups: [...groups] }));
  }
  for (const { name, definition } of definitions.mappings) {
    const before = core.rules.get(name);
    const isThere = before === undefined ? false : keyOf(before.definition) === keyOf(definition) || null;
    const check = () => compileRule(definition);
    await take('mappings', name, isThere, () => core.rules.put(name, definition), check);
  }
  return { created, unchanged, skipped, warnings: [...definitions.warnings] };
}

async function takeBindings(
  core: Core,
  { bindings, queues, exchanges }: ImportedDefinitions,
  dryRun: boolean,
  take: (kind: Kind, name: string, isThere: boolean | null, make: () => unknown) => Promise<void>,
): Promise<void> {
  const known = new Set([...core.exchanges.bindings()].map(keyOf));
  const planned = {
    queue: new Set(dryRun ? queues.map(({ name }) => name) : []),
    exchange: new Set(dryRun ? exchanges.map(({ name }) => name) : []),
  };
  for (const binding of bindings) {
    const { kind, name } = binding.target;
    const source = kind === 'queue' ? core.queues : core.exchanges;
    const isTarget = source.get(name) !== undefined || planned[kind].has(name);
    const key = keyOf(binding);
    await take('bindings', `${binding.exchange} → ${name}`, known.has(key), () => {
      if (!isTarget) throw new CoreError('not-found', `there is no ${kind} ${name}`);
      core.exchanges.bind(binding);
    });
    known.add(key);
  }
}

/** Big numbers have no JSON of their own. */
function keyOf(value: unknown): string {
  return JSON.stringify(value, (_name, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part));
}

function isSameExchange(one: ExchangeSpec, other: ExchangeSpec): boolean {
  const fields = ['type', 'durable', 'autoDelete', 'internal', 'alternate'] as const;
  return fields.every((field) => one[field] === other[field]);
}

function isSameQueue(one: QueueSpec, other: QueueSpec): boolean {
  const fields = [
    'durable',
    'autoDelete',
    'messagesMax',
    'bytesMax',
    'overflow',
    'messageTtlMs',
    'expiresMs',
  ] as const;
  return (
    fields.every((field) => one[field] === other[field]) &&
    one.deadLetter?.exchange === other.deadLetter?.exchange &&
    one.deadLetter?.key === other.deadLetter?.key
  );
}
