/**
 * What exists, to be looked at: queues, streams, exchanges, bindings, sessions and connections, each as a list in
 * pages and one by one. Nothing here changes anything, except that a session or connection can be ended.
 */

import { Buffer } from 'node:buffer';
import Type from 'typebox';
import {
  type ExchangeBinding,
  type ExchangeSpec,
  type MappingRules,
  type Queue,
  type Session,
  type Stream,
  streamsOfRule,
} from '../core/index.ts';
import { jsonFromHeaders } from './header-json.ts';
import type { AdminOptions, ConnectionEntry } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { notFound } from './problems.ts';
import {
  type BindingView,
  bindingSchema,
  type ConnectionView,
  connectionSchema,
  type ExchangeView,
  exchangeSchema,
  problemResponse,
  type QueueView,
  queueSchema,
  type SessionDetailView,
  type SessionView,
  type StreamView,
  sessionDetailSchema,
  sessionSchema,
  streamSchema,
} from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

/** Subscriptions shown of one session. */
const SUBSCRIPTIONS_SHOWN_MAX = 1_000;
/** Digits of a connection's id in its cursor, so that text sorts as numbers do. */
const ID_DIGITS = 16;

const nameParams = Type.Object({ name: Type.String({ minLength: 1 }) });
const connectionParams = Type.Object({ id: Type.Integer({ minimum: 0 }) });

export function addObjectRoutes(app: App, options: AdminOptions): void {
  const { core } = options;
  const listOf = <Item extends Parameters<typeof pageOf>[0]>(what: string, tag: string, item: Item) => ({
    schema: {
      summary: `List ${what}`,
      tags: [tag],
      querystring: pageQuery,
      response: { 200: pageOf(item), '4xx': problemResponse },
    },
  });
  const oneOf = <Item extends Parameters<typeof pageOf>[0]>(what: string, tag: string, item: Item) => ({
    schema: {
      summary: `Get ${what}`,
      tags: [tag],
      params: nameParams,
      response: { 200: item, '4xx': problemResponse },
    },
  });

  app.get('/v1/queues', listOf('queues', 'queues', queueSchema), (request) =>
    paginate(core.queues.list(), request.query, (queue) => queue.spec.name, viewFromQueue),
  );
  app.get('/v1/queues/:name', oneOf('a queue', 'queues', queueSchema), (request) =>
    viewFromQueue(found(core.queues.get(request.params.name), 'queue', request.params.name)),
  );

  app.get('/v1/streams', listOf('streams', 'streams', streamSchema), (request) =>
    paginate(
      core.streams.list(),
      request.query,
      (stream) => stream.spec.name,
      (stream) => viewFromStream(stream, core.rules),
    ),
  );
  app.get('/v1/streams/:name', oneOf('a stream', 'streams', streamSchema), (request) =>
    viewFromStream(found(core.streams.get(request.params.name), 'stream', request.params.name), core.rules),
  );

  app.get('/v1/exchanges', listOf('exchanges', 'exchanges', exchangeSchema), (request) =>
    paginate(core.exchanges.list(), request.query, (exchange) => exchange.name, viewFromExchange),
  );
  app.get('/v1/exchanges/:name', oneOf('an exchange', 'exchanges', exchangeSchema), (request) =>
    viewFromExchange(found(core.exchanges.get(request.params.name), 'exchange', request.params.name)),
  );
  app.get('/v1/bindings', listOf('bindings', 'exchanges', bindingSchema), (request) =>
    paginate(core.exchanges.bindings(), request.query, cursorOfBinding, viewFromBinding),
  );

  app.get('/v1/sessions', listOf('sessions', 'sessions', sessionSchema), (request) =>
    paginate(core.sessions.list(), request.query, (session) => session.id, viewFromSession),
  );
  app.get('/v1/sessions/:name', oneOf('a session', 'sessions', sessionDetailSchema), (request) =>
    detailFromSession(found(core.sessions.get(request.params.name), 'session', request.params.name)),
  );
  app.delete(
    '/v1/sessions/:name',
    {
      schema: {
        summary: 'End a session',
        description: 'Everything that it kept goes, and its client is disconnected where it is there.',
        tags: ['sessions'],
        params: nameParams,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const { id } = found(core.sessions.get(request.params.name), 'session', request.params.name);
      core.sessions.end(id);
      await whenStored(core);
      reply.code(204);
      return null;
    },
  );

  addConnectionRoutes(app, options, listOf('connections', 'connections', connectionSchema));
}

function addConnectionRoutes(
  app: App,
  options: AdminOptions,
  list: {
    schema: {
      querystring: typeof pageQuery;
      summary: string;
      tags: string[];
      response: Record<string, object>;
    };
  },
): void {
  app.get('/v1/connections', list, (request) =>
    paginate(
      options.connections(),
      request.query,
      (connection) => String(connection.id).padStart(ID_DIGITS, '0'),
      viewFromConnection,
    ),
  );
  app.get(
    '/v1/connections/:id',
    {
      schema: {
        summary: 'Get a connection',
        tags: ['connections'],
        params: connectionParams,
        response: { 200: connectionSchema, '4xx': problemResponse },
      },
    },
    (request) => {
      for (const connection of options.connections()) {
        if (connection.id === request.params.id) return viewFromConnection(connection);
      }
      throw notFound('/id', `there is no connection ${request.params.id}`);
    },
  );
  app.delete(
    '/v1/connections/:id',
    {
      schema: {
        summary: 'End a connection',
        description: 'The client is told in its protocol, where the protocol can.',
        tags: ['connections'],
        params: connectionParams,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    (request, reply) => {
      if (!options.disconnect(request.params.id)) {
        throw notFound('/id', `there is no connection ${request.params.id}`);
      }
      reply.code(204).send(null);
    },
  );
}

function found<Item>(item: Item | undefined, what: string, name: string): Item {
  if (item === undefined) throw notFound('/name', `there is no ${what} ${name}`);
  return item;
}

function viewFromQueue(queue: Queue): QueueView {
  const { owner, arguments: given, ...spec } = queue.spec;
  return {
    ...spec,
    exclusive: owner !== null,
    readyCount: queue.readyCount,
    unsettledCount: queue.unsettledCount,
    consumerCount: queue.consumerCount,
    arguments: jsonFromHeaders(given),
  };
}

function viewFromStream(stream: Stream, rules: MappingRules): StreamView {
  const { spec } = stream;
  const mappings: string[] = [];
  for (const [name, { rule }] of rules.list()) {
    if (streamsOfRule(rule).some((each) => each.name === spec.name)) mappings.push(name);
  }
  return {
    name: spec.name,
    id: Buffer.from(stream.id).toString('hex'),
    captures: spec.captures.map(String),
    mappings,
    retentionBytes: spec.log.retentionBytes,
    retentionMs: spec.log.retentionMs,
    segmentBytes: spec.log.segmentBytes,
    settings: { ...spec.settings },
    partitions: stream.partitions.map(({ index, startOffset, endOffset, sizeBytes }) => ({
      index,
      startOffset,
      endOffset,
      sizeBytes,
    })),
  };
}

function viewFromExchange(exchange: ExchangeSpec): ExchangeView {
  const { name, type, durable, autoDelete, internal, alternate } = exchange;
  return {
    name,
    type,
    durable,
    autoDelete,
    internal,
    alternate,
    arguments: jsonFromHeaders(exchange.arguments),
  };
}

function viewFromBinding(binding: ExchangeBinding): BindingView {
  const { exchange, target, key, match } = binding;
  return {
    exchange,
    target: { kind: target.kind, name: target.name },
    key,
    match: match === null ? null : { mode: match.mode, headers: jsonFromHeaders(match.headers) },
    arguments: jsonFromHeaders(binding.arguments),
  };
}

/** Everything that tells one binding from another. */
function cursorOfBinding(binding: ExchangeBinding): string {
  const { exchange, target, key, match, arguments: given } = viewFromBinding(binding);
  return JSON.stringify([exchange, target.kind, target.name, key, match, given]);
}

function viewFromSession(session: Session): SessionView {
  return {
    id: session.id,
    durable: session.durable,
    attached: session.attached,
    queuedCount: session.queuedCount,
    unsettledCount: session.unsettledCount,
    subscriptionCount: session.subscriptions.size,
  };
}

function detailFromSession(session: Session): SessionDetailView {
  const subscriptions: SessionDetailView['subscriptions'] = [];
  for (const { pattern, options } of session.subscriptions.values()) {
    if (subscriptions.length === SUBSCRIPTIONS_SHOWN_MAX) break;
    const { reliability, noLocal, keepRetain, id } = options;
    subscriptions.push({ pattern: pattern.toString(), reliability, noLocal, keepRetain, id });
  }
  return { ...viewFromSession(session), subscriptions };
}

function viewFromConnection(connection: ConnectionEntry): ConnectionView {
  const { protocol, clientId, user, details } = connection.description;
  return {
    id: connection.id,
    listener: connection.listener,
    protocol,
    clientId,
    user,
    remoteAddress: connection.remoteAddress,
    remotePort: connection.remotePort,
    connectedAt: new Date(connection.connectedAtMs).toISOString(),
    details: { ...details },
  };
}
