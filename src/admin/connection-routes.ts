/**
 * `/v1/connections`: outside brokers that bridges lead to, with credentials that come in and never go out. PUT is
 * idempotent; what stands in the configuration is shown, and can only be changed there. Bridges that use a connection
 * connect again when it changes. Changing one needs the role admin, because a connection says which host the gateway
 * dials and which files it reads secrets from.
 */

import { connectionSchema, viewFromConnection } from './bridge-schemas.ts';
import type { AdminOptions } from './options.ts';
import { addOutsideRoutes } from './outside-routes.ts';
import type { TakingTurns } from './preconditions.ts';
import type { App } from './validation.ts';

export function addConnectionRoutes(app: App, { bridges }: AdminOptions, inTurn: TakingTurns): void {
  addOutsideRoutes(
    app,
    {
      what: 'connection',
      one: 'a connection to an outside broker',
      many: 'connections to outside brokers',
      schema: connectionSchema,
      texts: {
        put:
          'Stored before the answer. A secret may be text, `{"env": NAME}`, `{"file": PATH}`, or `{"kept": true}` for the ' +
          'one that is there. With `?dryRun=true` it really connects, tells what came of it, and stores nothing.',
        definition: 'type, and what belongs to it. docs/bridges.md describes all of them.',
        delete: 'Not while a bridge uses it (409).',
        probe: 'Connects as a bridge would, and closes it. Bridges that use it stay as they are.',
      },
      items: bridges.connections,
      show: viewFromConnection,
    },
    inTurn,
  );
}
