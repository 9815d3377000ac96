/**
 * `/v1/mappings`: the operator's mapping rules, read, put and deleted while traffic flows. PUT is idempotent. Every
 * rule has an ETag, which is a hash of its definition; `If-Match` and `If-None-Match: *` guard a change against one
 * that somebody else made. Changes run one after the other, so that between the check and the change nothing moves.
 */

import { createHash } from 'node:crypto';
import Type from 'typebox';
import { CoreError, type MappingRule } from '../core/index.ts';
import type { AdminOptions } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { notFound, problem, problemFromCore } from './problems.ts';
import { type MappingView, mappingSchema, problemResponse } from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

const nameParams = Type.Object({
  name: Type.String({
    pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$',
    description: 'Letters, digits, `.`, `_` and `-`, at most 64, the first a letter or digit.',
  }),
});

const preconditions = Type.Object({
  'if-match': Type.Optional(Type.String({ description: 'Do it only while the mapping has this ETag.' })),
  'if-none-match': Type.Optional(Type.String({ description: '`*`: only where there is none of this name.' })),
});

interface Entry {
  readonly definition: unknown;
  readonly rule: MappingRule;
}

export function addMappingRoutes(app: App, options: AdminOptions): void {
  const { rules } = options.core;
  let lastChange: Promise<unknown> = Promise.resolve();
  const inTurn = <Result>(change: () => Promise<Result>): Promise<Result> => {
    const result = lastChange.then(change);
    lastChange = result.catch(() => undefined);
    return result;
  };

  app.get(
    '/v1/mappings',
    {
      schema: {
        summary: 'List mappings',
        tags: ['mappings'],
        querystring: pageQuery,
        response: { 200: pageOf(mappingSchema), '4xx': problemResponse },
      },
    },
    (request) =>
      paginate(
        rules.list(),
        request.query,
        ([name]) => name,
        ([name, entry]) => viewFromRule(name, entry),
      ),
  );

  app.get(
    '/v1/mappings/:name',
    {
      schema: {
        summary: 'Get a mapping',
        tags: ['mappings'],
        params: nameParams,
        response: { 200: mappingSchema, '4xx': problemResponse },
      },
    },
    (request, reply) => {
      const { name } = request.params;
      const entry = rules.get(name);
      if (entry === undefined) throw notFound('/name', `there is no mapping ${name}`);
      reply.header('etag', etagOf(entry.definition));
      return viewFromRule(name, entry);
    },
  );

  app.put(
    '/v1/mappings/:name',
    {
      schema: {
        summary: 'Create or replace a mapping',
        description: 'Takes effect at once and is stored before the answer. JSON or YAML.',
        consumes: ['application/json', 'application/yaml'],
        tags: ['mappings'],
        params: nameParams,
        headers: preconditions,
        // Checked by the compiler of rules, which knows better what to say than a schema.
        body: Type.Unknown({
          description: 'The definition: match, stream, key, partitions. docs/mappings.md describes it.',
          examples: [
            { match: 'devices/{device}/telemetry', stream: 'telemetry', key: '{device}', partitions: 6 },
          ],
        }),
        response: { 200: mappingSchema, 201: mappingSchema, '4xx': problemResponse },
      },
    },
    (request, reply) =>
      inTurn(async () => {
        const { name } = request.params;
        const before = rules.get(name);
        checkPreconditions(request.headers, before);
        try {
          await rules.put(name, request.body);
        } catch (error) {
          if (error instanceof CoreError) throw problemFromCore(error);
          throw error;
        }
        const entry = rules.get(name);
        if (entry === undefined) throw notFound('/name', `mapping ${name} was deleted in the meantime`);
        reply.code(before === undefined ? 201 : 200).header('etag', etagOf(entry.definition));
        if (before === undefined) reply.header('location', `/v1/mappings/${name}`);
        return viewFromRule(name, entry);
      }),
  );

  app.delete(
    '/v1/mappings/:name',
    {
      schema: {
        summary: 'Delete a mapping',
        description: 'Its stream and the records in it stay.',
        tags: ['mappings'],
        params: nameParams,
        headers: preconditions,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    (request, reply) =>
      inTurn(async () => {
        const { name } = request.params;
        const before = rules.get(name);
        if (before === undefined) throw notFound('/name', `there is no mapping ${name}`);
        checkPreconditions(request.headers, before);
        rules.remove(name);
        await whenStored(options.core);
        reply.code(204);
        return null;
      }),
  );
}

function checkPreconditions(
  headers: { readonly 'if-match'?: string; readonly 'if-none-match'?: string },
  before: Entry | undefined,
): void {
  const match = headers['if-match'];
  if (match !== undefined && !(before !== undefined && listsTag(match, etagOf(before.definition), false))) {
    const now = before === undefined ? 'there is none' : `it is ${etagOf(before.definition)}`;
    throw problem('precondition-failed', 'header', '/if-match', `the mapping’s ETag is another: ${now}`);
  }
  const noneMatch = headers['if-none-match'];
  if (
    noneMatch !== undefined &&
    before !== undefined &&
    listsTag(noneMatch, etagOf(before.definition), true)
  ) {
    throw problem('precondition-failed', 'header', '/if-none-match', 'there is a mapping of this name');
  }
}

/** `*` or a list of tags. All of ours are strong; a weak one is the same to If-None-Match only (RFC 9110 8.8.3.2). */
function listsTag(header: string, etag: string, weakly: boolean): boolean {
  const tags = header.split(',').map((tag) => tag.trim());
  return header.trim() === '*' || tags.includes(etag) || (weakly && tags.includes(`W/${etag}`));
}

/** Objects that differ only in the order of their names have different tags, which is harmless. */
function etagOf(definition: unknown): string {
  const hash = createHash('sha256').update(JSON.stringify(definition) ?? 'undefined');
  return `"${hash.digest('base64url').slice(0, 22)}"`;
}

function viewFromRule(name: string, { definition, rule }: Entry): MappingView {
  return {
    name,
    definition,
    pattern: rule.pattern.toString(),
    stream: rule.stream,
    partitions: rule.partitions,
    bothWays: rule.oneWayReason === undefined,
    oneWayReason: rule.oneWayReason ?? null,
  };
}
