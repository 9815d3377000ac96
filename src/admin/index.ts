/**
 * The HTTP API: management, health and metrics. Made by `src/gateway.ts`; started after the protocols listen and
 * stopped last, so that `/readyz` can tell both. Importing this file costs little: the server and its libraries
 * load in `start`. Endpoints: docs/api.md, and `/openapi.json` of a running gateway.
 */

import { lookup } from 'node:dns/promises';
import { AccessCheck } from './access.ts';
import type { Admin, AdminOptions } from './options.ts';
import type { AdminServer } from './server.ts';

export type * from './options.ts';
export { type HttpSettings, httpSettings } from './settings.ts';

export function createAdmin(options: AdminOptions): Admin {
  let server: AdminServer | null = null;
  let address: Admin['address'] = null;
  return {
    get address() {
      return address;
    },
    async start() {
      const { settings } = options;
      const { address: host } = await lookup(settings.host);
      // Throws before anything listens where it would be open to other machines without a key.
      const access = new AccessCheck(settings, host);
      const { buildServer } = await import('./server.ts');
      server = await buildServer(options, access);
      await server.app.listen({ host, port: settings.port });
      const bound = server.app.server.address();
      if (bound !== null && typeof bound === 'object') address = { host: bound.address, port: bound.port };
    },
    async stop() {
      const stopping = server;
      server = null;
      address = null;
      stopping?.stop();
      await stopping?.app.close();
    },
  };
}
