/**
 * `/v1/bridges`: what leads messages out to an outside broker or in from one, with its state, its lag and its counters.
 * PUT is idempotent; what stands in the configuration is shown, and its definition can only be changed there. Connections
 * and bridges are changed one after the other, because a bridge needs its connection; what is only tried waits for nobody.
 */

import Type from 'typebox';
import type { BridgeView } from '../bridges/index.ts';
import { type Core, isRouting } from '../core/index.ts';
import {
  bridgeNameParams,
  bridgeSchema,
  forgottenSchema,
  probeSchema,
  refuseConfigured,
  refusingName,
  triedSchema,
  viewFromBridge,
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
const ONE = '/v1/bridges/:name(^[^:]+)';

export function addBridgeRoutes(app: App, { bridges, core }: AdminOptions, inTurn: TakingTurns): void {
  const tags = ['bridges'];
  const bridgeOf = (name: string): BridgeView => found(bridges.get(name), 'bridge', name);

  app.get(
    '/v1/bridges',
    {
      schema: {
        summary: 'List bridges',
        tags,
        querystring: pageQuery,
        response: { 200: pageOf(bridgeSchema), '4xx': problemResponse },
      },
    },
    (request) => paginate(bridges.list(), request.query, ({ name }) => name, viewFromBridge),
  );

  app.get(
    ONE,
    {
      schema: {
        summary: 'Get a bridge',
        tags,
        params: bridgeNameParams,
        response: { 200: bridgeSchema, '4xx': problemResponse },
      },
    },
    (request, reply) => {
      const bridge = bridgeOf(request.params.name);
      reply.header('etag', etagOf(bridge.definition));
      return viewFromBridge(bridge);
    },
  );

  app.put(
    ONE,
    {
      schema: {
        summary: 'Create or replace a bridge',
        description:
          'Stored before the answer; what is absent is at its default. With `?dryRun=true` it really connects, tells what ' +
          'came of it, and stores nothing.',
        consumes: ['application/json', 'application/yaml'],
        tags,
        params: bridgeNameParams,
        headers: preconditions,
        querystring: changeQuery,
        // Checked by the part that knows the kinds of bridges.
        body: Type.Unknown({
          description: 'connection, direction, mappings and more. docs/bridges.md describes all of it.',
          examples: [{ connection: 'site', direction: 'out', mappings: [{ match: 'devices/{device}' }] }],
        }),
        response: {
          200: Type.Union([bridgeSchema, triedSchema]),
          201: bridgeSchema,
          '4xx': problemResponse,
        },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const check = (): void => {
        const before = bridges.get(name);
        checkPreconditions(request.headers, before && etagOf(before.definition), 'the bridge');
        refuseConfigured('bridge', before);
      };
      if (request.query.dryRun) {
        check();
        const { created, probe } = await bridges.put(name, request.body, { dryRun: true });
        return { dryRun: true as const, created, probe: probe === undefined ? null : viewFromProbe(probe) };
      }
      return inTurn(async () => {
        check();
        const { created } = await bridges.put(name, request.body, { dryRun: false });
        const bridge = bridgeOf(name);
        reply.code(created ? 201 : 200).header('etag', etagOf(bridge.definition));
        if (created) reply.header('location', `/v1/bridges/${name}`);
        return viewFromBridge(bridge);
      });
    },
  );

  app.delete(
    ONE,
    {
      schema: {
        summary: 'Delete a bridge with what waits in its buffer',
        description: 'Its connection stays, and so does what it has sent and published.',
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
        const bridge = bridgeOf(name);
        checkPreconditions(request.headers, etagOf(bridge.definition), 'the bridge');
        refuseConfigured('bridge', bridge);
        refuseTarget(core, name);
        if (!request.query.dryRun) await refusingName(bridges.remove(name));
        reply.code(204);
        return null;
      }),
  );

  app.post(
    `${ONE}::probe`,
    {
      schema: {
        summary: 'Try a bridge',
        description: 'Opens a link of its own beside the one that is there, and closes it.',
        tags,
        params: bridgeNameParams,
        response: { 200: probeSchema, '4xx': problemResponse },
      },
    },
    async (request) => {
      const { name } = bridgeOf(request.params.name);
      return viewFromProbe(await refusingName(bridges.probe(name)));
    },
  );

  const switches = [
    ['pause', 'Pause a bridge', 'It disconnects; what it takes waits in its buffer.'],
    ['resume', 'Resume a bridge', 'It connects, and goes on where it stopped.'],
  ] as const;
  for (const [verb, summary, description] of switches) {
    app.post(
      `${ONE}::${verb}`,
      {
        schema: {
          summary,
          description,
          tags,
          params: bridgeNameParams,
          querystring: changeQuery,
          response: { 200: bridgeSchema, '4xx': problemResponse },
        },
      },
      (request) =>
        inTurn(async () => {
          const { name } = bridgeOf(request.params.name);
          if (!request.query.dryRun) await refusingName(bridges[verb](name));
          return viewFromBridge(bridgeOf(name));
        }),
    );
  }

  app.post(
    `${ONE}::reset`,
    {
      schema: {
        summary: 'Reset a bridge',
        description: 'Forgets what waits in its buffer, its counters and its errors, and connects again.',
        tags,
        params: bridgeNameParams,
        querystring: changeQuery,
        response: { 200: forgottenSchema, '4xx': problemResponse },
      },
    },
    (request) =>
      inTurn(async () => {
        const { name, status } = bridgeOf(request.params.name);
        if (request.query.dryRun) return { count: status.lag.messages };
        return { count: await refusingName(bridges.reset(name)) };
      }),
  );
}

/** Also of a trial, which removes nothing that would refuse it. */
function refuseTarget({ rules }: Core, bridge: string): void {
  for (const [mapping, { rule }] of rules.list()) {
    if (!isRouting(rule)) continue;
    if (rule.targets.some(({ kind, name }) => kind === 'bridge' && name === bridge))
      throw problem('conflict', 'path', '/name', `mapping ${mapping} leads to bridge ${bridge}`);
  }
}
