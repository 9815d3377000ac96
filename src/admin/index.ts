/**
 * The HTTP API: management, health and metrics. Made by `src/gateway.ts`; started after the protocols listen and
 * stopped last, so that `/readyz` can tell both. Listening alone costs next to nothing: the routes and their
 * libraries load with the first request, because they take a good part of a small gateway's start time and memory.
 * Endpoints: docs/api.md, and `/openapi.json` of a running gateway.
 */

import { lookup } from 'node:dns/promises';
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { Duplex } from 'node:stream';
import { AccessCheck } from './access.ts';
import type { Admin, AdminOptions } from './options.ts';
import { problem, problemFromError } from './problems.ts';
import type { AdminRoutes } from './server.ts';

export type * from './options.ts';
export { type HttpSettings, httpSettings } from './settings.ts';

const PROBLEM_TYPE = 'application/problem+json';
const KEEP_ALIVE_MS = 5_000;
/** Time for answers under way when the API stops. */
const STOP_GRACE_MS = 1_000;

export function createAdmin(options: AdminOptions): Admin {
  return new HttpAdmin(options);
}

class HttpAdmin implements Admin {
  readonly #options: AdminOptions;
  #server: Server | null = null;
  #access: AccessCheck | null = null;
  #loading: Promise<AdminRoutes> | null = null;
  #routes: AdminRoutes | null = null;

  constructor(options: AdminOptions) {
    this.#options = options;
  }

  get address(): Admin['address'] {
    const bound = this.#server?.address();
    return bound === null || typeof bound !== 'object' ? null : { host: bound.address, port: bound.port };
  }

  async start(): Promise<void> {
    const { host: name, port, requestTimeoutMs, connectionsMax } = this.#options.settings;
    const { address: host } = await lookup(name);
    // Throws before anything listens where it would be open to other machines without a key.
    this.#access = new AccessCheck(this.#options.settings, host, this.#options.authenticator);
    const server = createServer(
      {
        requestTimeout: requestTimeoutMs,
        headersTimeout: requestTimeoutMs,
        keepAliveTimeout: KEEP_ALIVE_MS,
        // A request without one is refused by `access.ts`, with a problem.
        requireHostHeader: false,
      },
      (request, response) => this.#handle(request, response),
    );
    server.maxConnections = connectionsMax;
    server.on('clientError', answerUnreadable);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.removeListener('error', reject);
        // A connection that cannot be accepted is no reason to end the process.
        server.on('error', (error) =>
          this.#options.logger.warn({ err: error }, 'the HTTP API cannot accept'),
        );
        resolve();
      });
    });
    this.#server = server;
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    if (this.#server?.listening !== true) response.setHeader('connection', 'close');
    if (this.#routes !== null) {
      this.#routes.handle(request, response);
      return;
    }
    this.#loading ??= this.#load();
    this.#loading.then(
      (routes) => routes.handle(request, response),
      () => {
        const failure = problemFromError(null, () => undefined);
        const body = JSON.stringify(failure.toDetails(request.url ?? ''));
        response.writeHead(failure.status, { 'content-type': PROBLEM_TYPE }).end(body);
      },
    );
  }

  async #load(): Promise<AdminRoutes> {
    try {
      const { buildRoutes } = await import('./server.ts');
      this.#routes = await buildRoutes(this.#options, this.#access as AccessCheck);
      return this.#routes;
    } catch (error) {
      this.#options.logger.error({ err: error }, 'the HTTP API cannot serve requests');
      throw error;
    }
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    this.#routes?.endFeeds();
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const grace = setTimeout(() => server.closeAllConnections(), STOP_GRACE_MS);
    await closed;
    clearTimeout(grace);
    await this.#loading?.then((routes) => routes.stop()).catch(() => undefined);
  }
}

/** What is no HTTP, or too slow or too long for it, never becomes a request: it is answered here, and the end. */
function answerUnreadable(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const refusal =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? problem('request-timeout', 'header', '', 'the request did not arrive within http.requestTimeoutMs')
      : problem('invalid-request', 'header', '', 'this is not HTTP, or its headers are too long');
  const body = JSON.stringify(refusal.toDetails(''));
  const lines = [
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}`,
    'connection: close',
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
}
