/** Sessions and connections: as lists in pages, one by one, and ended. */

import Type from 'typebox';
import type { Session } from '../core/index.ts';
import { found, nameParams } from './object-names.ts';
import type { AdminOptions, ConnectionEntry } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { changeQuery } from './preconditions.ts';
import { notFound } from './problems.ts';
import {
  type ConnectionView,
  connectionSchema,
  problemResponse,
  type SessionDetailView,
  type SessionView,
  sessionDetailSchema,
  sessionSchema,
} from './schemas.ts';
import { whenStored } from './stored.ts';
import type { App } from './validation.ts';

/** Subscriptions shown of one session. */
const SUBSCRIPTIONS_SHOWN_MAX = 1_000;
/** Digits of a connection's id in its cursor, so that text sorts as numbers do. */
const ID_DIGITS = 16;

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
        querystring: changeQuery,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    async (request, reply) => {
      const { id } = found(core.sessions.get(request.params.name), 'session', request.params.name);
      if (!request.query.dryRun) {
        core.sessions.end(id);
        await whenStored(core);
      }
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
