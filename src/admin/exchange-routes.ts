/**
 * `/v1/exchanges` and `/v1/bindings`: listed, shown, made and deleted. An exchange is what it was made as: PUT of the same
 * again changes nothing, of another is refused. A binding's id is a hash of what it says, so POST of the same again makes
 * no second one, and it can be deleted by its id.
 */

import { createHash } from 'node:crypto';
import Type, { type Static } from 'typebox';
import { checkPattern } from '../core/address-bounds.ts';
import {
  type Core,
  CoreError,
  type ExchangeBinding,
  type ExchangeSpec,
  type Header,
  Pattern,
} from '../core/index.ts';
import { headersFromJson, jsonFromHeaders } from './header-json.ts';
import { addNamedReads } from './named-reads.ts';
import { checkNewName, found, nameParams, refuseReserved } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { changeQuery, checkPreconditions, etagOf, preconditions } from './preconditions.ts';
import { notFound, problem } from './problems.ts';
import {
  type BindingView,
  bindingSchema,
  type ExchangeView,
  exchangeSchema,
  problemResponse,
} from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

const exchangeFields = Type.Object(
  {
    type: Type.Union(
      [Type.Literal('direct'), Type.Literal('fanout'), Type.Literal('topic'), Type.Literal('headers')],
      { default: 'topic' },
    ),
    durable: Type.Boolean({ default: true }),
    autoDelete: Type.Boolean({ default: false, description: 'It goes with its last binding.' }),
    internal: Type.Boolean({ default: false, description: 'Only other exchanges send to it.' }),
    alternate: Type.Union([Type.String({ minLength: 1, maxLength: 255 }), Type.Null()], {
      default: null,
      description: 'The exchange that gets what no binding wants.',
    }),
  },
  { additionalProperties: false },
);

const deleteQuery = Type.Object(
  {
    ...changeQuery.properties,
    ifUnused: Type.Boolean({ default: false, description: 'Only while it has no bindings.' }),
  },
  { additionalProperties: false },
);

const bindingFields = Type.Object(
  {
    exchange: Type.String({ minLength: 1, maxLength: 255, description: 'Need not have been made.' }),
    target: Type.Object(
      {
        kind: Type.Union([Type.Literal('queue'), Type.Literal('exchange')]),
        name: Type.String({ minLength: 1, maxLength: 255 }),
      },
      { additionalProperties: false },
    ),
    key: Type.String({
      default: '',
      maxLength: 65_535,
      description: 'Levels separated by /; of a topic exchange * is one level and # many.',
    }),
    match: Type.Union(
      [
        Type.Object(
          {
            mode: Type.Union([
              Type.Literal('all'),
              Type.Literal('any'),
              Type.Literal('all-with-x'),
              Type.Literal('any-with-x'),
            ]),
            headers: Type.Record(
              Type.String({ maxLength: 255 }),
              Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]),
            ),
          },
          { additionalProperties: false },
        ),
        Type.Null(),
      ],
      { default: null, description: 'Of a headers exchange: what headers must be.' },
    ),
  },
  { additionalProperties: false },
);

const idParams = Type.Object({ id: Type.String({ minLength: 1 }) });

export function addExchangeRoutes(app: App, { core }: AdminOptions): void {
  const { exchanges } = core;
  const tags = ['exchanges'];
  const exchangeOf = (name: string): ExchangeSpec => found(exchanges.get(name), 'exchange', name);

  addNamedReads(app, {
    tag: 'exchanges',
    path: '/v1/exchanges',
    onePath: '/v1/exchanges/:name',
    one: 'an exchange',
    many: 'exchanges',
    what: 'exchange',
    schema: exchangeSchema,
    list: () => exchanges.list(),
    get: (name) => exchanges.get(name),
    nameOf: ({ name }) => name,
    etagOf: etagOfExchange,
    show: viewFromExchange,
  });

  app.put(
    '/v1/exchanges/:name',
    {
      schema: {
        summary: 'Make an exchange',
        description:
          'Put again as it is, nothing changes; it cannot become another (409). Stored before the answer.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: nameParams,
        headers: preconditions,
        querystring: changeQuery,
        body: exchangeFields,
        response: { 200: exchangeSchema, 201: exchangeSchema, '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      refuseReserved('exchange', name);
      const before = exchanges.get(name);
      checkPreconditions(request.headers, before && etagOfExchange(before), 'the exchange');
      const spec: ExchangeSpec = { ...request.body, name, arguments: [] };
      if (before === undefined) checkNewExchange(core, name);
      else refuseDifference(before, spec);
      reply.code(before === undefined ? 201 : 200).header('etag', etagOfExchange(spec));
      if (before !== undefined || request.query.dryRun) return viewFromExchange(before ?? spec);
      exchanges.declare(spec);
      await whenStored(core);
      reply.header('location', `/v1/exchanges/${encodeURIComponent(name)}`);
      return viewFromExchange(spec);
    },
  );

  app.delete(
    '/v1/exchanges/:name',
    {
      schema: {
        summary: 'Delete an exchange with its bindings',
        tags,
        params: nameParams,
        headers: preconditions,
        querystring: deleteQuery,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const exchange = exchangeOf(name);
      refuseReserved('exchange', name);
      checkPreconditions(request.headers, etagOfExchange(exchange), 'the exchange');
      const { dryRun, ifUnused } = request.query;
      if (ifUnused) {
        for (const binding of exchanges.bindings()) {
          if (binding.exchange === name) throw problem('conflict', 'path', '/name', 'it has bindings');
        }
      }
      if (!dryRun) {
        exchanges.delete(name, { ifUnused });
        await whenStored(core);
      }
      reply.code(204);
      return null;
    },
  );

  addBindingRoutes(app, core);
}

function addBindingRoutes(app: App, core: Core): void {
  const { exchanges } = core;
  const tags = ['exchanges'];
  const bindingOf = (id: string): ExchangeBinding => {
    for (const binding of exchanges.bindings()) if (idOf(binding) === id) return binding;
    throw notFound('/id', `there is no binding ${id}`);
  };

  app.get(
    '/v1/bindings',
    {
      schema: {
        summary: 'List bindings',
        tags,
        querystring: pageQuery,
        response: { 200: pageOf(bindingSchema), '4xx': problemResponse },
      },
    },
    (request) => paginate(exchanges.bindings(), request.query, identityOf, viewFromBinding),
  );

  app.post(
    '/v1/bindings',
    {
      schema: {
        summary: 'Bind a queue or an exchange to an exchange',
        description: '201 where the binding is new, 200 where it was there. Stored before the answer.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        querystring: changeQuery,
        body: bindingFields,
        response: { 200: bindingSchema, 201: bindingSchema, '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const binding = bindingFrom(core, request.body);
      const id = idOf(binding);
      let known = false;
      for (const each of exchanges.bindings()) {
        // Hashes are dear where there are many.
        known = each.exchange === binding.exchange && each.key === binding.key && idOf(each) === id;
        if (known) break;
      }
      reply.code(known ? 200 : 201);
      if (!known && !request.query.dryRun) {
        exchanges.bind(binding);
        await whenStored(core);
        reply.header('location', `/v1/bindings/${id}`);
      }
      return viewFromBinding(binding);
    },
  );

  app.get(
    '/v1/bindings/:id',
    {
      schema: {
        summary: 'Get a binding',
        tags,
        params: idParams,
        response: { 200: bindingSchema, '4xx': problemResponse },
      },
    },
    (request) => viewFromBinding(bindingOf(request.params.id)),
  );

  app.delete(
    '/v1/bindings/:id',
    {
      schema: {
        summary: 'Unbind',
        tags,
        params: idParams,
        querystring: changeQuery,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const binding = bindingOf(request.params.id);
      if (!request.query.dryRun) {
        exchanges.unbind(binding);
        await whenStored(core);
      }
      reply.code(204);
      return null;
    },
  );
}

function checkNewExchange(core: Core, name: string): void {
  checkNewName('exchange', name);
  let count = 0;
  for (const _ of core.exchanges.list()) count++;
  if (count < core.limits.exchangesMax) return;
  throw new CoreError('limit-reached', `there are ${count} exchanges already (limits.exchangesMax)`);
}

function refuseDifference(before: ExchangeSpec, asked: ExchangeSpec): void {
  for (const field of ['type', 'durable', 'autoDelete', 'internal', 'alternate'] as const) {
    if (before[field] === asked[field]) continue;
    const detail = `is ${JSON.stringify(before[field])}; an exchange cannot be changed, only deleted and made anew`;
    throw problem('conflict', 'body', `/${field}`, detail);
  }
}

/** Throws a problem where it cannot be bound. */
function bindingFrom(core: Core, given: Static<typeof bindingFields>): ExchangeBinding {
  const { exchange, target, key, match } = given;
  const isThere = target.kind === 'queue' ? core.queues.get(target.name) : core.exchanges.get(target.name);
  if (isThere === undefined) {
    throw problem('conflict', 'body', '/target/name', `there is no ${target.kind} ${target.name}`);
  }
  const type = core.exchanges.get(exchange)?.type ?? 'topic';
  if (match !== null && type !== 'headers') {
    throw problem(
      'conflict',
      'body',
      '/match',
      `exchange ${exchange} is of type ${type}, which looks at no headers`,
    );
  }
  if (key.includes('\0')) throw problem('invalid-request', 'body', '/key', 'has a NUL character');
  try {
    checkPattern(new Pattern(key.split('/')), core.limits.addressLevelsMax - 1);
  } catch (error) {
    throw problem('invalid-request', 'body', '/key', (error as Error).message);
  }
  if (type !== 'headers') return { exchange, target, key, match: null, arguments: [] };
  const { mode, headers } = match ?? { mode: 'all' as const, headers: {} };
  const wanted = headersFromJson(headers);
  // As a client that binds says it, so that it is the same binding to both.
  const said: Header[] = [{ name: 'x-match', value: { kind: 'string', value: mode } }, ...wanted];
  return { exchange, target, key, match: { mode, headers: wanted }, arguments: said };
}

/** Everything that tells one binding from another. */
function identityOf(binding: ExchangeBinding): string {
  const { exchange, target, key, match } = binding;
  const headers = match === null ? null : [match.mode, jsonFromHeaders(match.headers)];
  return JSON.stringify([
    exchange,
    target.kind,
    target.name,
    key,
    headers,
    jsonFromHeaders(binding.arguments),
  ]);
}

function idOf(binding: ExchangeBinding): string {
  return createHash('sha256').update(identityOf(binding)).digest('base64url').slice(0, 22);
}

function etagOfExchange({ type, durable, autoDelete, internal, alternate }: ExchangeSpec): string {
  return etagOf([type, durable, autoDelete, internal, alternate]);
}

function viewFromExchange(exchange: ExchangeSpec): ExchangeView {
  const { name, type, durable, autoDelete, internal, alternate } = exchange;
  const shown = jsonFromHeaders(exchange.arguments);
  return { name, type, durable, autoDelete, internal, alternate, arguments: shown };
}

function viewFromBinding(binding: ExchangeBinding): BindingView {
  const { exchange, target, key, match } = binding;
  return {
    id: idOf(binding),
    exchange,
    target: { kind: target.kind, name: target.name },
    key,
    match: match === null ? null : { mode: match.mode, headers: jsonFromHeaders(match.headers) },
    arguments: jsonFromHeaders(binding.arguments),
  };
}
