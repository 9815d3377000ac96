/**
 * `/v1/bridges`: what leads messages out to an outside broker or in from one, with its state, its lag and its counters.
 * PUT is idempotent; what stands in the configuration is shown, and its definition can only be changed there. Connections
 * and bridges are changed one after the other, because a bridge needs its connection; what is only tried waits for nobody.
 */

import type { BridgeView } from '../bridges/index.ts';
import {
  bridgeNameParams,
  bridgeSchema,
  forgottenSchema,
  refusingName,
  viewFromBridge,
} from './bridge-schemas.ts';
import { found } from './object-names.ts';
import type { AdminOptions } from './options.ts';
import { addOutsideRoutes, onePathOf } from './outside-routes.ts';
import { changeQuery, type TakingTurns } from './preconditions.ts';
import { problemResponse } from './schemas.ts';
import type { App } from './validation.ts';

const ONE = onePathOf('bridge');

export function addBridgeRoutes(app: App, { bridges }: AdminOptions, inTurn: TakingTurns): void {
  const tags = ['bridges'];
  const bridgeOf = (name: string): BridgeView => found(bridges.get(name), 'bridge', name);

  addOutsideRoutes(
    app,
    {
      what: 'bridge',
      one: 'a bridge',
      many: 'bridges',
      schema: bridgeSchema,
      texts: {
        put:
          'Stored before the answer; what is absent is at its default. With `?dryRun=true` it really connects, tells what ' +
          'came of it, and stores nothing.',
        definition: 'connection, direction, mappings and more. docs/bridges.md describes all of it.',
        examples: [{ connection: 'site', direction: 'out', mappings: [{ match: 'devices/{device}' }] }],
        deleted: 'a bridge with what waits in its buffer',
        delete:
          'Its connection stays, and so does what it has sent and published. Not while a mapping leads to it (409).',
        probe: 'Opens a link of its own beside the one that is there, and closes it.',
      },
      items: bridges,
      show: viewFromBridge,
    },
    inTurn,
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
