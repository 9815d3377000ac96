/** Sessions, and the clients that are connected: as lists in pages, one by one, and ended. */

import Type from 'typebox';
import type { Session } from '../core/index.ts';
import { found, nameParams } from './object-names.ts';
import type { AdminOptions, ClientEntry } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { changeQuery } from './preconditions.ts';
import { notFound } from './problems.ts';
import {
  type ClientView,
  clientSchema,
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
/** Digits of an id in its cursor, so that text sorts as numbers do. */
const ID_DIGITS = 16;

const clientParams = Type.Object({ id: Type.Integer({ minimum: 0 }) });

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

  addClientRoutes(app, options, listOf('clients', 'clients', clientSchema));
}

function addClientRoutes(
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
  app.get('/v1/clients', list, (request) =>
    paginate(
      options.clients(),
      request.query,
      (client) => String(client.id).padStart(ID_DIGITS, '0'),
      viewFromClient,
    ),
  );
  app.get(
    '/v1/clients/:id',
    {
      schema: {
        summary: 'Get a client',
        tags: ['clients'],
        params: clientParams,
        response: { 200: clientSchema, '4xx': problemResponse },
      },
    },
    (request) => {
      for (const client of options.clients()) {
        if (client.id === request.params.id) return viewFromClient(client);
      }
      throw notFound('/id', `there is no client ${request.params.id}`);
    },
  );
  app.delete(
    '/v1/clients/:id',
    {
      schema: {
        summary: 'Disconnect a client',
        description: 'It is told in its protocol, where the protocol can.',
        tags: ['clients'],
        params: clientParams,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    (request, reply) => {
      if (!options.disconnect(request.params.id)) {
        throw notFound('/id', `there is no client ${request.params.id}`);
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

function viewFromClient(client: ClientEntry): ClientView {
  const { protocol, clientId, user, details } = client.description;
  return {
    id: client.id,
    listener: client.listener,
    protocol,
    clientId,
    user,
    remoteAddress: client.remoteAddress,
    remotePort: client.remotePort,
    connectedAt: new Date(client.connectedAtMs).toISOString(),
    details: { ...details },
  };
}
