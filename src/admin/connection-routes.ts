/**
 * `/v1/connections`: outside brokers that bridges lead to, with credentials that come in and never go out. PUT is
 * idempotent; what stands in the configuration is shown, and can only be changed there. Bridges that use a connection
 * connect again when it changes. Changing one needs the role admin, because a connection says which host the gateway
 * dials and which files it reads secrets from.
 */

import Type from 'typebox';
import type { ConnectionView } from '../bridges/index.ts';
import {
  bridgeNameParams,
  connectionSchema,
  probeSchema,
  refuseConfigured,
  refusingName,
  triedSchema,
  viewFromConnection,
  viewFromProbe,
} from './bridge-schemas.ts';
import { found } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { pageOf, pageQuery, paginate } from './paging.ts';
import { changeQuery, checkPreconditions, etagOf, preconditions, type TakingTurns } from './preconditions.ts';
import { problem } from './problems.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

/** What follows a colon is no part of the name, but what is to be done; in a route that colon is `::`. */
const ONE = '/v1/connections/:name(^[^:]+)';

export function addConnectionRoutes(app: App, { bridges }: AdminOptions, inTurn: TakingTurns): void {
  const { connections } = bridges;
  const tags = ['connections'];
  const connectionOf = (name: string): ConnectionView => found(connections.get(name), 'connection', name);

  app.get(
    '/v1/connections',
    {
      schema: {
        summary: 'List connections to outside brokers',
        tags,
        querystring: pageQuery,
        response: { 200: pageOf(connectionSchema), '4xx': problemResponse },
      },
    },
    (request) => paginate(connections.list(), request.query, ({ name }) => name, viewFromConnection),
  );

  app.get(
    ONE,
    {
      schema: {
        summary: 'Get a connection to an outside broker',
        tags,
        params: bridgeNameParams,
        response: { 200: connectionSchema, '4xx': problemResponse },
      },
    },
    (request, reply) => {
      const connection = connectionOf(request.params.name);
      reply.header('etag', etagOf(connection.definition));
      return viewFromConnection(connection);
    },
  );

  app.put(
    ONE,
    {
      schema: {
        summary: 'Create or replace a connection to an outside broker',
        description:
          'Stored before the answer. A secret may be text, `{"env": NAME}`, `{"file": PATH}`, or `{"kept": true}` for the ' +
          'one that is there. With `?dryRun=true` it really connects, tells what came of it, and stores nothing.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: bridgeNameParams,
        headers: preconditions,
        querystring: changeQuery,
        // Checked by the part that knows the kinds of connections.
        body: Type.Unknown({
          description: 'type, and what belongs to it. docs/bridges.md describes all of them.',
        }),
        response: {
          200: Type.Union([connectionSchema, triedSchema]),
          201: connectionSchema,
          '4xx': problemResponse,
        },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const check = (): void => {
        const before = connections.get(name);
        checkPreconditions(request.headers, before && etagOf(before.definition), 'the connection');
        refuseConfigured('connection', before);
      };
      if (request.query.dryRun) {
        check();
        const { created, probe } = await connections.put(name, request.body, { dryRun: true });
        return { dryRun: true as const, created, probe: probe === undefined ? null : viewFromProbe(probe) };
      }
      return inTurn(async () => {
        check();
        const { created } = await connections.put(name, request.body, { dryRun: false });
        const connection = connectionOf(name);
        reply.code(created ? 201 : 200).header('etag', etagOf(connection.definition));
        if (created) reply.header('location', `/v1/connections/${name}`);
        return viewFromConnection(connection);
      });
    },
  );

  app.delete(
    ONE,
    {
      schema: {
        summary: 'Delete a connection to an outside broker',
        description: 'Not while a bridge uses it (409).',
        tags,
        params: bridgeNameParams,
        headers: preconditions,
        querystring: changeQuery,
        response: { 204: Type.Null(), '4xx': problemResponse },
      },
    },
    (request, reply) =>
      inTurn(async () => {
        const { name } = request.params;
        const connection = connectionOf(name);
        checkPreconditions(request.headers, etagOf(connection.definition), 'the connection');
        refuseConfigured('connection', connection);
        if (connection.bridges.length > 0) {
          const detail = `bridges use the connection: ${connection.bridges.join(', ')}`;
          throw problem('conflict', 'path', '/name', detail);
        }
        if (!request.query.dryRun) await refusingName(connections.remove(name));
        reply.code(204);
        return null;
      }),
  );

  app.post(
    `${ONE}::probe`,
    {
      schema: {
        summary: 'Try a connection to an outside broker',
        description: 'Connects as a bridge would, and closes it. Bridges that use it stay as they are.',
        tags,
        params: bridgeNameParams,
        response: { 200: probeSchema, '4xx': problemResponse },
      },
    },
    async (request) => {
      const { name } = connectionOf(request.params.name);
      return viewFromProbe(await refusingName(connections.probe(name)));
    },
  );
}
