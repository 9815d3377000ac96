/**
 * The HTTP API: management, health and metrics. Made by `src/gateway.ts`; started after the protocols listen and
 * stopped last, so that `/readyz` can tell both. Listening alone costs next to nothing: until somebody asks for more than
 * health, `doorway.ts` has the socket, and HTTP, the routes and their libraries are not loaded, because they take a good
 * part of a small gateway's start time and memory. Endpoints: docs/api.md, and `/openapi.json` of a running gateway.
 */

import { lookup } from 'node:dns/promises';
import type { AddressInfo, Server, Socket } from 'node:net';
import { AccessCheck } from './access.ts';
import { openDoorway } from './doorway.ts';
import { Health } from './health.ts';
import type { Admin, AdminOptions } from './options.ts';
import type { AdminServer } from './serving.ts';

export type * from './options.ts';
export { type HttpSettings, httpSettings } from './settings.ts';

/** Time for answers under way when the API stops. */
const STOP_GRACE_MS = 1_000;

export function createAdmin(options: AdminOptions): Admin {
  return new HttpAdmin(options);
}

class HttpAdmin implements Admin {
  readonly #options: AdminOptions;
  #doorway: Server | null = null;
  #bound: AddressInfo | null = null;
  #access: AccessCheck | null = null;
  /** From the first request on. */
  #health: Health | null = null;
  /** Connections that only the doorway knows. */
  readonly #sockets = new Set<Socket>();
  #loading: Promise<AdminServer> | null = null;

  constructor(options: AdminOptions) {
    this.#options = options;
  }

  get address(): Admin['address'] {
    return this.#bound === null ? null : { host: this.#bound.address, port: this.#bound.port };
  }

  async start(): Promise<void> {
    const { host: name, port, requestTimeoutMs, connectionsMax } = this.#options.settings;
    const { address: host } = await lookup(name);
    // Throws before anything listens where it would be open to other machines without a key.
    const access = new AccessCheck(this.#options.settings, host, this.#options.authenticator);
    this.#access = access;
    this.#doorway = await openDoorway({
      host,
      port,
      connectionsMax,
      requestTimeoutMs,
      answer: (path, isVerbose, calledBy) =>
        access.checkHost({ host: calledBy }) === null ? this.#measured.answer(path, isVerbose) : null,
      more: (socket) => this.#serve(socket),
    });
    this.#doorway.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    // A connection that cannot be accepted is no reason to end the process.
    this.#doorway.on('error', (error) =>
      this.#options.logger.warn({ err: error }, 'the HTTP API cannot accept'),
    );
    this.#bound = this.#doorway.address() as AddressInfo;
  }

  get #measured(): Health {
    this.#health ??= new Health(this.#options);
    return this.#health;
  }

  async #serve(socket: Socket): Promise<void> {
    this.#loading ??= this.#load();
    const server = await this.#loading;
    this.#sockets.delete(socket);
    server.take(socket);
  }

  async #load(): Promise<AdminServer> {
    try {
      const { AdminServer } = await import('./serving.ts');
      const server = new AdminServer(this.#options, this.#access as AccessCheck, this.#measured);
      if (this.#doorway !== null) await server.takeOver(this.#doorway);
      return server;
    } catch (error) {
      this.#options.logger.error({ err: error }, 'the HTTP API cannot serve requests');
      // The next request tries again.
      this.#loading = null;
      throw error;
    }
  }

  async stop(): Promise<void> {
    const doorway = this.#doorway;
    if (doorway === null) return;
    this.#doorway = null;
    this.#bound = null;
    const server = (await this.#loading?.catch(() => null)) ?? null;
    // Whether it had taken over the listening socket before the stop began decides whose that is.
    const isTakenOver = server?.isListening === true;
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([
      server?.stop(STOP_GRACE_MS),
      isTakenOver ? undefined : new Promise<void>((resolve) => doorway.close(() => resolve())),
    ]);
    this.#health?.stop();
  }
}
